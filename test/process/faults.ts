/**
 * Faults on real processes under load, each followed by the same audit. Tests run a few, proofs run many.
 *
 *   audit   no acknowledged write is missing on any node, no refused one is there; checksums and positions are equal;
 *           after a graceful stop the database files are byte-identical
 */

import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { gapAround } from "../../bench/failover.ts";
import { type ClusterOptions, sleep, TestCluster } from "./cluster.ts";
import { Load } from "./load.ts";
import { execute, rowsOf } from "./sql.ts";

export type FaultOptions = {
  readonly clients: number;
  readonly times: number;
  /** Three voters unless said otherwise. */
  readonly cluster?: ClusterOptions;
  /** Told after each fault. */
  readonly tell?: (line: string) => void;
};

export type FaultReport = {
  /** Client-observed pause around each fault: last ok to next ok, ms. */
  readonly pausesMs: readonly number[];
  readonly acked: number;
  readonly refused: number;
  readonly unknown: number;
};

/**
 * One fault: breaks something and waits until it is over. `atMs` is when it was done, monotonic; `pauseMs` how long
 * nothing was acknowledged, where the load cannot tell because its clients hang with the node.
 */
type Fault = (cluster: TestCluster) => Promise<{ atMs: number; pauseMs?: number }>;

export const faults = {
  /** SIGKILL of the leader; it is started again once another node leads. */
  async killLeader(cluster: TestCluster) {
    const leader = await cluster.leader();
    const atMs = performance.now();
    await cluster.kill(leader);
    await cluster.leader();
    await sleep(300);
    cluster.restart(leader);
    return { atMs };
  },

  async killFollower(cluster: TestCluster) {
    const leader = await cluster.leader();
    const follower = cluster.nodes.find((n) => n.id !== leader)!.id;
    const atMs = performance.now();
    await cluster.kill(follower);
    await sleep(500);
    cluster.restart(follower);
    return { atMs };
  },

  async killAll(cluster: TestCluster) {
    const atMs = performance.now();
    await Promise.all(cluster.nodes.map((n) => cluster.kill(n.id)));
    for (const node of cluster.nodes) cluster.restart(node.id);
    await cluster.leader();
    return { atMs };
  },

  /** SIGSTOP of the leader for five seconds; it wakes into a cluster with another leader. */
  async pauseLeader(cluster: TestCluster) {
    const old = await cluster.leader();
    const atMs = performance.now();
    await cluster.kill(old, "SIGSTOP");
    return { atMs, pauseMs: await checkWokenLeader(cluster, old) };
  },
} as const satisfies Record<string, Fault>;

/** Runs one kind of fault several times under load on a cluster of its own, then audits. Throws on any violation. */
export async function runFaults(
  kind: keyof typeof faults,
  options: FaultOptions,
): Promise<FaultReport> {
  const cluster = await TestCluster.start(options.cluster);
  try {
    await Load.prepare(cluster.url(await cluster.leader()));
    const load = new Load(
      () => cluster.nodes.filter((n) => cluster.isRunning(n.id)).map((n) => cluster.url(n.id)),
      options.clients,
    );
    const pausesMs: number[] = [];
    for (let i = 0; i < options.times; i++) {
      await sleep(1_000);
      await cluster.recovered();
      const before = load.written.ok.size;
      const fault: Fault = faults[kind];
      const { atMs, pauseMs: told } = await fault(cluster);
      while (load.written.ok.size < before + 50) await sleep(5);
      await sleep(700);
      const pauseMs = Math.round(told ?? gapAround(load.written.okTimesMs, atMs));
      pausesMs.push(pauseMs);
      options.tell?.(`${kind} ${i + 1}: ${pauseMs} ms without an acknowledgement`);
    }
    await load.stop();
    await audit(cluster, load);
    const { ok, failed, unknown } = load.written;
    return { pausesMs, acked: ok.size, refused: failed.size, unknown: unknown.size };
  } catch (error) {
    const tails = cluster.nodes.map((n) => `--- ${n.id}\n${cluster.output(n.id).slice(-3_000)}`);
    throw new Error(`${kind}: ${(error as Error).message}\n${tails.join("\n")}`, { cause: error });
  } finally {
    await cluster.stop();
  }
}

/** Every copy against the records, then the files against each other. Leaves the cluster stopped, its data kept. */
export async function audit(cluster: TestCluster, load: Load): Promise<void> {
  await cluster.settled();
  for (const url of cluster.urls) {
    await load.check(url);
    const [[answer]] = (await rowsOf(url, "PRAGMA integrity_check")) as [[string]];
    if (answer !== "ok") throw new Error(`${url}: integrity_check says ${answer}`);
  }
  await cluster.stop({ keep: true });
  assertIdenticalFiles(cluster);
}

/** After a graceful stop: no WAL is left, and all database files are the same bytes. */
export function assertIdenticalFiles(cluster: TestCluster): void {
  const sums = cluster.dataNodes.map((node) => {
    const path = join(node.dir, "db", "main.sqlite");
    const wal = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
    if (wal > 0) throw new Error(`${path}-wal still has ${wal} bytes after a graceful stop`);
    return `${createHash("sha256").update(readFileSync(path)).digest("hex")} ${path}`;
  });
  if (new Set(sums.map((s) => s.split(" ")[0])).size !== 1) {
    throw new Error(`database files differ:\n${sums.join("\n")}`);
  }
}

/**
 * While the old leader is stopped: a new one acknowledges a write; reads and writes are sent to the stopped one and wait in its
 * sockets. After it wakes none of its linearizable answers may lack that write, and nothing it says is acknowledged
 * may be missing (the load's records see to that). Returns how long it took until the first acknowledgement.
 */
async function checkWokenLeader(cluster: TestCluster, old: string): Promise<number> {
  const others = cluster.nodes.filter((n) => n.id !== old).map((n) => cluster.url(n.id));
  const oldUrl = cluster.url(old);
  const mark = `mark-${performance.now()}`;
  const headers = { "paceline-consistency": "linearizable" };
  const stoppedMs = performance.now();
  let marked = false;
  while (!marked && performance.now() - stoppedMs < 4_500) {
    const client = -1 - Math.floor(Math.random() * 1e9);
    const outcome = await execute(others[0]!, "INSERT INTO written VALUES (?, 0, ?)", [
      client,
      mark,
    ]);
    marked = outcome.type === "ok";
  }
  const pauseMs = performance.now() - stoppedMs;
  if (!marked) throw new Error("no new leader took a write while the old one was stopped");
  const sql = "SELECT count(*) FROM written WHERE filler = ?";
  const queued = Array.from({ length: 8 }, () => execute(oldUrl, sql, [mark], { headers }));
  await sleep(Math.max(0, 5_000 - (performance.now() - stoppedMs)));
  await cluster.kill(old, "SIGCONT");
  const fresh = Array.from({ length: 8 }, () => execute(oldUrl, sql, [mark], { headers }));
  for (const outcome of await Promise.all([...queued, ...fresh])) {
    if (outcome.type === "ok" && outcome.rows[0]![0] !== 1) {
      throw new Error("the woken leader served a stale linearizable read");
    }
  }
  return pauseMs;
}
