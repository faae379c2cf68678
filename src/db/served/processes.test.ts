/** The served database among other processes: stock readers, foreign writers, kills, and the leader's scratch. */

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { execFileSync, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { serialize } from "node:v8";
import type { Batch } from "../../../test/db/leader.ts";
import {
  genesis,
  Leader,
  openBank,
  temporaryDirectory,
  transfer,
} from "../../../test/db/leader.ts";
import { CorruptionError } from "../../base/errors.ts";
import { Prng } from "../../base/prng.ts";
import type { EntryId, Lsn, Term } from "../../vocabulary.ts";
import type { PageSet } from "../../wal/page-set.ts";
import { ForeignWriteError } from "./applier.ts";
import { layoutOf } from "./layout.ts";
import { openParts } from "./opening.ts";
import { Served } from "./served.ts";

const accounts = 40;
const sum = accounts * 100;
const fixture = (name: string) =>
  fileURLToPath(new URL(`../../../test/db/${name}`, import.meta.url));

type ReaderReport = { reads: number; lastLsn: number; problems: string[] };

/** Starts a foreign reader of `path`; the returned function stops it and gives its report. */
async function startReader(path: string): Promise<() => Promise<ReaderReport>> {
  const child = spawn(process.execPath, [fixture("reader-child.ts"), path, String(sum)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
  });
  await once(child.stdout, "data");
  return async () => {
    child.stdin.write("stop\n");
    await once(child, "close");
    return JSON.parse(text.trim().split("\n").at(-1)!) as ReaderReport;
  };
}

async function bankBatches(dir: string, count: number): Promise<[Batch[], Uint8Array]> {
  const image = genesis(dir);
  const leader = await Leader.start(join(dir, "leader"), image);
  const prng = new Prng(7);
  const batches = [leader.commit((c) => openBank(c, accounts))];
  while (batches.length < count) {
    const vacuums = batches.length % 50 === 49;
    batches.push(vacuums ? leader.vacuum() : leader.commit((c) => transfer(c, prng, accounts)));
  }
  leader.connection.close();
  return [batches, image.pages];
}

function integrityOf(path: string): unknown {
  const connection = new DatabaseSync(path, { readOnly: true });
  const result = connection.prepare("PRAGMA integrity_check").get()?.["integrity_check"];
  connection.close();
  return result;
}

test("a foreign reader sees whole transactions through applies and checkpoints", async () => {
  using dir = temporaryDirectory();
  const [batches, pages] = await bankBatches(dir.path, 250);
  const follower = join(dir.path, "follower");
  await Served.create(follower, { pageSize: 4096, pages });
  const served = await Served.open(follower);
  await served.apply(batches[0]!.set, batches[0]!.position, batches[0]!.checksum);
  const stop = await startReader(served.path);
  let emptied = 0;
  for (const batch of batches.slice(1)) {
    await served.apply(batch.set, batch.position, batch.checksum);
    if (batch.position.lsn % 10 === 0) {
      const mode = (["passive", "restart", "truncate"] as const)[batch.position.lsn % 3]!;
      const result = await served.checkpoint(mode);
      if (result.frames === 0) emptied++;
    }
    if (batch.position.lsn % 3 === 0) await pause(2);
  }
  await pause(30);
  const report = await stop();
  assert.deepEqual(report.problems, []);
  assert.ok(report.reads > 50, `${report.reads} reads`);
  assert.equal(report.lastLsn, 250);
  assert.ok(emptied > 0, "the WAL was never emptied");
  assert.equal(integrityOf(served.path), "ok");
  await served.close();
});

/** Runs the applier to the end of the batches and kills it `kills` times on the way. */
async function applyWithKills(follower: string, file: string, kills: number): Promise<void> {
  const prng = new Prng(11);
  for (let done = false; !done; ) {
    const child = spawn(process.execPath, [fixture("applier-child.ts"), follower, file]);
    let text = "";
    const collect = (chunk: Buffer) => {
      text += chunk;
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    const closed = once(child, "close");
    await Promise.race([once(child.stdout, "data"), closed]);
    if (kills > 0) {
      await Promise.race([pause(prng.integer(0, 90)), closed]);
      if (child.kill("SIGKILL")) kills--;
    }
    await closed;
    done = text.includes("done");
    assert.ok(done || child.signalCode === "SIGKILL", text);
  }
  assert.equal(kills, 0, "finished too early");
}

for (const withReader of [true, false]) {
  // With a reader -shm stays as the dead applier left it; without one SQLite's recovery makes it anew from the WAL.
  const where = withReader ? "under a foreign reader" : "alone";
  test(`kill -9 of the applier at any point, ${where}`, async () => {
    using dir = temporaryDirectory();
    const [batches, pages] = await bankBatches(dir.path, 400);
    const follower = join(dir.path, "follower");
    await Served.create(follower, { pageSize: 4096, pages });
    const first = await Served.open(follower);
    await first.apply(batches[0]!.set, batches[0]!.position, batches[0]!.checksum);
    const stop = withReader ? await startReader(first.path) : undefined;
    await first.close();
    const file = join(dir.path, "batches");
    writeFileSync(file, serialize(batches));
    await applyWithKills(follower, file, withReader ? 10 : 4);
    const report = await stop?.();
    assert.deepEqual(report?.problems ?? [], []);

    const served = await Served.open(follower);
    assert.deepEqual(served.position(), batches.at(-1)!.position);
    assert.deepEqual(served.checksum(), batches.at(-1)!.checksum);
    assert.equal(integrityOf(served.path), "ok");
    await served.close();
  });
}

/** Runs SQL in another process; gives what it printed. */
function foreign(path: string, sql: string, readOnly = false): string {
  const program = `
    const { DatabaseSync } = require("node:sqlite");
    try {
      const c = new DatabaseSync(process.argv[1], { readOnly: ${readOnly}, timeout: 100 });
      console.log(JSON.stringify(c.prepare(process.argv[2]).all()));
      c.close();
    } catch (error) { console.log(error.message); }`;
  return execFileSync(process.execPath, ["-e", program, path, sql], { encoding: "utf8" }).trim();
}

test("a foreign writer is refused, and its close leaves the WAL alone", async () => {
  using dir = temporaryDirectory();
  const [batches, pages] = await bankBatches(dir.path, 3);
  const follower = join(dir.path, "follower");
  await Served.create(follower, { pageSize: 4096, pages });
  const served = await Served.open(follower);
  for (const b of batches) await served.apply(b.set, b.position, b.checksum);
  assert.equal(foreign(served.path, "UPDATE account SET balance = 0"), "database is locked");
  await served.checkpoint("truncate");
  assert.equal(foreign(served.path, "DELETE FROM account"), "database is locked");
  assert.equal(foreign(served.path, "SELECT count(*) AS n FROM account"), `[{"n":${accounts}}]`);
  assert.ok(existsSync(`${served.path}-wal`));
  await served.checkpoint("passive");
  await served.close();
});

test("a changed wal-index is reported, and nothing is applied any more", async () => {
  using dir = temporaryDirectory();
  const [batches, pages] = await bankBatches(dir.path, 3);
  const follower = join(dir.path, "follower");
  await Served.create(follower, { pageSize: 4096, pages });
  const reports: string[] = [];
  const served = await Served.open(follower, {
    onForeignWrite: (error) => reports.push(error.message),
  });
  for (const b of batches.slice(0, 2)) await served.apply(b.set, b.position, b.checksum);
  const shm = `${served.path}-shm`;
  // Another process does it: opening and closing the file in ours would drop our locks.
  execFileSync("dd", ["if=/dev/zero", `of=${shm}`, "bs=1", "seek=8", "count=4", "conv=notrunc"], {
    stdio: "ignore",
  });
  const last = batches[2]!;
  await assert.rejects(served.apply(last.set, last.position, last.checksum), CorruptionError);
  assert.equal(reports.length, 1);
  await assert.rejects(served.checkpoint("passive"), CorruptionError);
  await served.close();
});

for (const emptied of [false, true]) {
  const how = emptied ? "before the WAL was emptied" : "while the lock was free";
  test(`a foreign write ${how} does not pass for ours`, async () => {
    using dir = temporaryDirectory();
    const [batches, pages] = await bankBatches(dir.path, 2);
    const follower = join(dir.path, "follower");
    await Served.create(follower, { pageSize: 4096, pages });
    const parts = await openParts(layoutOf(follower), undefined);
    await parts.applier.begin();
    const { set } = batches[0]!;
    parts.applier.append(set.pgnos, set.pages, set.pageCount);
    parts.lock.release();
    const path = layoutOf(follower).db;
    assert.equal(foreign(path, "UPDATE account SET balance = 0 WHERE id = 1"), "[]");
    if (emptied) assert.equal(parts.checkpointer.truncateNow(), true);
    assert.equal(parts.lock.acquireNow(), true);
    const look = () => (emptied ? parts.applier.restarted() : parts.applier.assertUntouched());
    assert.throws(look, ForeignWriteError);
    await parts.checkpointer.close();
    parts.lock.close();
    await parts.files.close();
  });
}

test("the lock connection never says ROLLBACK", () => {
  const source = readFileSync(new URL("./connections/write-lock.ts", import.meta.url), "utf8");
  const statements = [...source.matchAll(/exec\("([^"]*)"\)/g)].map((match) => match[1]);
  assert.deepEqual(statements, ["PRAGMA wal_autocheckpoint = 0", "COMMIT", "BEGIN IMMEDIATE"]);
});

test("the sqlite3 command line tool reads it", {
  skip: !existsSync("/usr/bin/sqlite3"),
}, async () => {
  using dir = temporaryDirectory();
  const [batches, pages] = await bankBatches(dir.path, 60);
  const follower = join(dir.path, "follower");
  await Served.create(follower, { pageSize: 4096, pages });
  const served = await Served.open(follower);
  for (const b of batches) {
    await served.apply(b.set, b.position, b.checksum);
    if (b.position.lsn % 12 !== 0) continue;
    const sql =
      "SELECT sum(balance) FROM account; SELECT lsn FROM sqlite_paceline; PRAGMA quick_check";
    const text = execFileSync("/usr/bin/sqlite3", ["-readonly", served.path, sql], {
      encoding: "utf8",
    });
    assert.deepEqual(text.trim().split("\n"), [String(sum), String(b.position.lsn), "ok"]);
    if (b.position.lsn % 24 === 0) await served.checkpoint("restart");
  }
  await served.close();
});

/** The leader's writer in a process of its own. */
class WriterChild {
  readonly #child: ChildProcess = fork(fixture("writer-child.ts"), {
    serialization: "advanced",
  });

  async ask(message: object): Promise<{ set?: PageSet; error?: string }> {
    this.#child.send(message);
    const [reply] = await once(this.#child, "message");
    return reply;
  }

  async kill(): Promise<void> {
    const closed = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await closed;
  }
}

/**
 * A leader: writes go to the scratch, and to the served name a few batches later. Returns the first complaint, or
 * undefined. With `emptyWal` the scratch starts without the frames that the file lacks.
 */
async function lead(
  served: Served,
  rounds: number,
  emptyWal: boolean,
): Promise<string | undefined> {
  let lsn = served.position().lsn as number;
  for (let round = 0; round < rounds; round++) {
    const { path } = await served.makeScratch();
    if (emptyWal) rmSync(`${path}-wal`, { force: true });
    const writer = new WriterChild();
    try {
      await writer.ask({ open: path });
      const behind: [PageSet, EntryId][] = [];
      for (let i = 0; i < 60; i++) {
        lsn++;
        const { set, error } = await writer.ask({ transfer: lsn, accounts });
        if (set === undefined) return error ?? "nothing captured";
        behind.push([set, { lsn: lsn as Lsn, term: 2 as Term }]);
        if (behind.length > 3) await served.apply(...behind.shift()!, undefined);
        if (i % 7 === 3) await served.checkpoint(i % 14 === 3 ? "restart" : "passive");
      }
      for (const [set, position] of behind) await served.apply(set, position, undefined);
    } finally {
      await writer.kill();
    }
  }
  return undefined;
}

test("the scratch starts as a copy of the served WAL and goes on while checkpoints run below", async () => {
  using dir = temporaryDirectory();
  const [batches, pages] = await bankBatches(dir.path, 30);
  const follower = join(dir.path, "follower");
  await Served.create(follower, { pageSize: 4096, pages });
  const served = await Served.open(follower);
  for (const b of batches) await served.apply(b.set, b.position, b.checksum);
  const stop = await startReader(served.path);
  assert.equal(await lead(served, 3, false), undefined);
  const report = await stop();
  assert.deepEqual(report.problems, []);
  assert.deepEqual((await served.scrub()).damaged, []);
  assert.equal(integrityOf(served.path), "ok");
  await served.close();
});

test("a scratch that starts with an empty WAL goes wrong: the test above can fail", async () => {
  using dir = temporaryDirectory();
  const [batches, pages] = await bankBatches(dir.path, 30);
  const follower = join(dir.path, "follower");
  await Served.create(follower, { pageSize: 4096, pages });
  const served = await Served.open(follower);
  for (const b of batches) {
    // The file has most of it, the WAL the rest.
    if (b.position.lsn === 25) assert.ok((await served.checkpoint("truncate")).complete);
    await served.apply(b.set, b.position, b.checksum);
  }
  const complaint = await lead(served, 3, true).catch((error: Error) => error.message);
  const integrity = (() => {
    try {
      return integrityOf(served.path);
    } catch (error) {
      return error;
    }
  })();
  assert.ok(complaint !== undefined || integrity !== "ok", "nothing went wrong");
  await served.close();
});
