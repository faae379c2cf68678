/**
 * Nodes that the log cannot help: an empty one, one that was away for too long, one whose file has rotted. Tests run this
 * on a few megabytes, `npm run proof` on five hundred.
 */

import { closeSync, openSync, readSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { sleep, type TestCluster } from "./cluster.ts";
import { Load } from "./load.ts";
import { rowsOf } from "./sql.ts";

/** Grows a table of incompressible rows until the database has about `bytes`. */
export async function fill(cluster: TestCluster, bytes: number): Promise<void> {
  const url = cluster.url(await cluster.leader());
  await rowsOf(url, "CREATE TABLE IF NOT EXISTS filler (id INTEGER PRIMARY KEY, body BLOB)");
  const perWrite = 2_000_000;
  for (let done = 0; done < bytes; done += perWrite) {
    const sql = `INSERT INTO filler (body) WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 500)
      SELECT randomblob(3900) FROM n`;
    await rowsOf(url, sql, [], { timeoutMs: 60_000 });
  }
}

/** A join that takes longer has failed. */
const joinMsMax = 90_000;

export type JoinReport = {
  readonly databaseBytes: number;
  readonly seconds: number;
  readonly writesPerSecondBefore: number;
  readonly writesPerSecondDuring: number;
  /** With the same three nodes as before: the new one is stopped for it. */
  readonly writesPerSecondAfter: number;
  /** Lines that told how far it was. */
  readonly progressLines: number;
  readonly summary: string;
};

/** An empty node joins under write load, until it is a voter. */
export async function joinUnderLoad(
  cluster: TestCluster,
  options: { clients: number; beforeMs: number },
): Promise<JoinReport> {
  const leader = await cluster.leader();
  await Load.prepare(cluster.url(leader));
  const originals = cluster.urls;
  const load = new Load(() => originals, options.clients);
  await sleep(options.beforeMs / 2);
  const startCount = load.written.ok.size;
  await sleep(options.beforeMs);
  const before = ((load.written.ok.size - startCount) * 1_000) / options.beforeMs;
  const joinMs = performance.now();
  const joinCount = load.written.ok.size;
  await cluster.join("d", leader);
  await isVoter(cluster, "d");
  const seconds = (performance.now() - joinMs) / 1_000;
  const during = (load.written.ok.size - joinCount) / seconds;
  await cluster.kill("d", "SIGTERM");
  await sleep(options.beforeMs / 10);
  const endCount = load.written.ok.size;
  await sleep(options.beforeMs);
  const after = ((load.written.ok.size - endCount) * 1_000) / options.beforeMs;
  const output = cluster.output("d");
  cluster.restart("d");
  await load.stop();
  await cluster.settled();
  for (const url of cluster.urls) await load.check(url);
  const lines = output.split("\n").filter((line) => line.includes("page sync from"));
  return {
    databaseBytes: statSync(join(cluster.nodes[0]!.dir, "db", "main.sqlite")).size,
    seconds,
    writesPerSecondBefore: Math.round(before),
    writesPerSecondDuring: Math.round(during),
    writesPerSecondAfter: Math.round(after),
    progressLines: lines.filter((line) => line.includes("%")).length,
    summary: lines.at(-1) ?? "",
  };
}

async function isVoter(cluster: TestCluster, id: string): Promise<void> {
  const untilMs = performance.now() + joinMsMax;
  while (performance.now() < untilMs) {
    const status = await cluster.statusOf(await cluster.leader());
    if (status?.nodes.some((n) => n.id === id && n.kind === "voter") === true) return;
    await sleep(100);
  }
  throw new Error(`${id} is not a voter yet\n${cluster.output(id).slice(-3_000)}`);
}

export type RepairReport = {
  readonly pages: number;
  readonly bytes: number;
  readonly line: string;
};

/** Stops a follower, flips bytes in its database file, starts it again; it must repair itself. */
export async function flipAndRepair(cluster: TestCluster, flips: number): Promise<RepairReport> {
  const leader = await cluster.leader();
  const node = cluster.nodes.find((n) => n.id !== leader)!;
  await cluster.kill(node.id, "SIGTERM");
  flipBytes(join(node.dir, "db", "main.sqlite"), flips);
  const from = cluster.output(node.id).length;
  cluster.restart(node.id);
  return await repaired(cluster, node.id, from);
}

/** A follower is away while more is written than the log keeps. */
export async function awayTooLong(
  cluster: TestCluster,
  write: () => Promise<void>,
): Promise<RepairReport> {
  const leader = await cluster.leader();
  const node = cluster.nodes.find((n) => n.id !== leader)!;
  await cluster.kill(node.id);
  await write();
  const from = cluster.output(node.id).length;
  cluster.restart(node.id);
  return await repaired(cluster, node.id, from);
}

/** Waits for the page sync of a node that was just started, whose output had `from` characters before. */
async function repaired(cluster: TestCluster, id: string, from: number): Promise<RepairReport> {
  const untilMs = performance.now() + 120_000;
  while (performance.now() < untilMs) {
    const match = /page sync from .* done .*: (\d+) pages differed, (\d+) bytes moved/.exec(
      cluster.output(id).slice(from),
    );
    if (match !== null) return { pages: Number(match[1]), bytes: Number(match[2]), line: match[0] };
    await sleep(50);
  }
  throw new Error(`${id} was not repaired\n${cluster.output(id).slice(-3_000)}`);
}

function flipBytes(path: string, flips: number): void {
  const { size } = statSync(path);
  const fd = openSync(path, "r+");
  const byte = Buffer.alloc(1);
  for (let i = 0; i < flips; i++) {
    const at = Math.floor(Math.random() * size);
    readSync(fd, byte, 0, 1, at);
    byte[0]! ^= 0x40;
    writeSync(fd, byte, 0, 1, at);
  }
  closeSync(fd);
}
