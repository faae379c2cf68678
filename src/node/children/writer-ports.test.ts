// What the writer's process finds out about a run: too large for an entry, or on a disk that takes no more.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ProgressFile, ProgressWriter } from "../../db/process/progress.ts";
import { Scratch } from "../../db/process/writer-child.ts";
import type { Recording } from "../../db/record/recording.ts";
import { RunFailure, storageSign } from "../../db/scratch/run-failure.ts";
import type { RunSession } from "../../db/sql/group-commit.ts";
import { newDatabase, unit } from "../../db/sql/test-database.ts";
import { limits } from "../../limits.ts";
import { lsn, term } from "../../vocabulary.ts";
import { writerPorts } from "./writer-ports.ts";

type Bound = { transactionBytesMax?: number; diskReserveBytes?: number };

/** A scratch under other limits. */
function subject(t: { after(end: () => void): void }, bound: Bound, recording?: Recording) {
  const before = { ...limits };
  Object.assign(limits, bound);
  t.after(() => Object.assign(limits, before));
  const progress = new ProgressWriter(new ProgressFile().fd);
  const scratch = new Scratch({ path: newDatabase(), recording }, writerPorts, { progress });
  let position = 0;
  return (sql: readonly string[], session: RunSession = "none") => {
    position++;
    const units = [unit(...sql)];
    const request = { lsn: lsn(position), term: term(1), units, committedAtMs: 0, session };
    const { reply, body } = scratch.run(request);
    assert.ok(reply.type === "done");
    return { ...reply, body };
  };
}

const failsFor = (reason: string) => (error: unknown) =>
  error instanceof RunFailure && error.reason === reason;
const blobs = (count: number) =>
  `INSERT INTO t SELECT randomblob(100000) FROM json_each(json_array(${Array(count).fill(0)}))`;

test("an AUTOINCREMENT without numbers left is the client's affair, though SQLite calls it a full disk", (t) => {
  const run = subject(t, {});
  run(["CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT)"]);
  run(["INSERT INTO a VALUES (9223372036854775807)"]);
  const { outcomes, body } = run(["INSERT INTO a DEFAULT VALUES", "INSERT INTO a VALUES (1)"]);
  const [refused, taken] = outcomes[0]!.results;
  assert.match(refused!, /"code":"SQLITE_FULL"/);
  assert.match(taken!, /"type":"ok"/);
  assert.ok(body !== undefined);
});

test("the same error on a disk without room ends the run", (t) => {
  const run = subject(t, { diskReserveBytes: Number.MAX_SAFE_INTEGER });
  run(["CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT)"]);
  run(["INSERT INTO a VALUES (9223372036854775807)"]);
  assert.throws(() => run(["INSERT INTO a DEFAULT VALUES"]), failsFor("disk"));
});

test("text that looks like an answer about the disk is text", (t) => {
  const run = subject(t, { diskReserveBytes: Number.MAX_SAFE_INTEGER });
  const { outcomes } = run([`SELECT '{"code":"SQLITE_FULL"}', "SQLITE_IOERR"`]);
  assert.equal(outcomes.length, 1);
});

test("which errors of SQLite are about storage", () => {
  const [read, noMemory, noTempPath, noTempDir, full, cantopen, constraint] = [
    266, 3082, 6410, 270, 13, 14, 2067,
  ];
  assert.deepEqual([read, full, cantopen].map(storageSign), ["failing", "perhaps", "perhaps"]);
  const others = [noMemory, noTempPath, noTempDir, constraint].map(storageSign);
  assert.deepEqual(others, [undefined, undefined, undefined, undefined]);
});

test("a transaction of more pages than an entry holds fails, and none is encoded", (t) => {
  const run = subject(t, { transactionBytesMax: 1024 * 1024 });
  run(["CREATE TABLE t (v)"]);
  assert.ok(run([blobs(9)]).body !== undefined);
  assert.throws(() => run([blobs(11)]), failsFor("too-large"));
});

test("an open transaction fails as soon as it has let go of too many pages", (t) => {
  const run = subject(t, { transactionBytesMax: 1024 * 1024 });
  run(["CREATE TABLE t (v)"]);
  assert.equal(run(["BEGIN", blobs(5)]).open, true);
  // The cache of a writer is 64 MiB; what does not fit is in the WAL.
  const grow = () => {
    for (let n = 0; n < 100; n++) run([blobs(10)], "continue");
  };
  assert.throws(grow, failsFor("too-large"));
});

test("a record that followers would refuse to unpack is too large, however small it is packed", (t) => {
  const recording = { logKind: "pages", changes: true, statements: false } as const;
  const run = subject(t, { transactionBytesMax: 1024 * 1024 }, recording);
  run(["CREATE TABLE t (id INTEGER PRIMARY KEY, v)"]);
  run(["INSERT INTO t VALUES (1, zeroblob(900000))"]);
  // One page set, but twice the row in what is recorded: before and after.
  assert.throws(() => run(["UPDATE t SET v = zeroblob(900001)"]), failsFor("too-large"));
});
