import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ClientError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import type { Unit } from "../sql/request.ts";
import { newDatabase, unit } from "../sql/test-database.ts";
import { openScratch } from "./connection.ts";
import { ReaderPool, type ReadOutcome } from "./reader-pool.ts";

const main = fileURLToPath(new URL("./test-reader-main.ts", import.meta.url));
const runaway = unit(
  "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n",
);

/** A database with rows 1 to 10 at position 5@2, a pool on it, and a connection that changes it. */
function open(size = 1, statementMs?: number) {
  const path = newDatabase();
  const db = openScratch(path);
  db.exec("create table t(a); insert into t select value from json_each('[1,2,3,4,5,6,7,8,9,10]')");
  db.exec("update sqlite_paceline set term = 2, lsn = 5");
  const pool = ReaderPool.open(main, path, size, { statementMs });
  const run = (each: Unit, patienceMs?: number, signal = new AbortController().signal) =>
    pool.run(each, { patienceMs, signal });
  return { path, db, pool, run, [Symbol.dispose]: () => pool.close() };
}

const hasCode = (code: string) => (error: unknown) =>
  error instanceof ClientError && error.code === code;

const count = unit("select count(*) from t");

function counted(outcome: ReadOutcome): number {
  const [result] = outcome.results.map((each) => JSON.parse(each));
  return Number(result.response.result.rows[0][0].value);
}

// Mostly waiting, for processes and deadlines: so all at once.
describe("a pool of readers", { concurrency: true }, () => {
  test("units are read at the position they say, and cannot write", async () => {
    using subject = open();
    const { run, db } = subject;
    const outcome = await run(count);
    assert.deepEqual([counted(outcome), outcome.lsn, outcome.term], [10, 5, 2]);
    db.exec("begin; insert into t values(11); update sqlite_paceline set lsn = 6; commit");
    const next = await run(count);
    assert.deepEqual([counted(next), next.lsn], [11, 6]);
    db.exec("alter table t add column b");
    const wider = await run(unit("select * from t limit 1"));
    assert.match(wider.results[0]!, /"name":"b"/);
    for (const sql of ["insert into t(a) values(1)", "pragma user_version = 1", "vacuum"]) {
      const refused = await run(unit(sql));
      assert.equal(refused.refusedWrite, true, sql);
      assert.match(refused.results[0]!, /"code":"SQLITE_READONLY"/);
    }
    assert.equal((await run(count)).refusedWrite, false);
    const left = await run(unit("begin", "select 1"));
    assert.equal(left.inTransaction, true);
    const after = await run(unit({ type: "get_autocommit" }));
    assert.match(after.results[0]!, /"is_autocommit":true/);
  });

  test("integrity_check looks at search indexes as they are, which stock SQLite does not", async () => {
    using subject = open();
    const { run, db, path } = subject;
    db.exec("create virtual table f using fts5(body)");
    const stock = new DatabaseSync(path, { readOnly: true });
    const search = unit("select count(*) from f where f match 'one'");
    const checks = ["pragma integrity_check", "PRAGMA main.quick_check(3)"];
    const said = (text: string) => JSON.parse(text).response.result.rows[0][0].value;
    let falseAlarms = 0;
    for (let round = 0; round < 5; round++) {
      // Both know the index as it is now. Then it changes.
      assert.equal(counted(await run(search)), round);
      stock.prepare("select count(*) from f where f match 'one'").get();
      db.exec("insert into f(body) values('one two'); insert into f(f) values('optimize')");
      for (const check of [...checks, "select * from pragma_integrity_check"]) {
        assert.equal(said((await run(unit(check))).results[0]!), "ok", check);
        if (Object.values(stock.prepare(check).get()!)[0] !== "ok") falseAlarms++;
      }
    }
    // If this is 0, SQLite has mended it, and Executor need not do it any more.
    assert.equal(falseAlarms, 15);
    // What is wrong is still said.
    db.enableDefensive(false);
    db.exec("delete from f_data where id > 10");
    assert.match(said((await run(unit(checks[0]!))).results[0]!), /fts5|malformed/);
    stock.close();
  });

  test("a runaway query is cut at its deadline, and everybody else is answered", async () => {
    using subject = open(2);
    const { run, pool } = subject;
    await run(count);
    const slow = [run(runaway, 300), run(runaway, 300)];
    const quick = Array.from({ length: 30 }, () => run(count));
    const timedOut = slow.map((each) => assert.rejects(each, hasCode("STATEMENT_TIMEOUT")));
    await Promise.all(timedOut);
    for (const each of quick) assert.equal(counted(await each), 10);
    assert.equal(pool.counters.kills, 2);
  });

  test("patience shortens the operator's bound, never lengthens it, and never to nothing", async () => {
    using subject = open(3, 1_500);
    const { run } = subject;
    await run(count);
    const cutAfterMs = async (patienceMs?: number) => {
      const begun = performance.now();
      await assert.rejects(run(runaway, patienceMs), hasCode("STATEMENT_TIMEOUT"));
      return performance.now() - begun;
    };
    const [usual, patient, hasty] = await Promise.all(
      [undefined, 40_000, 1].map((patienceMs) => cutAfterMs(patienceMs)),
    );
    assert.ok(usual! >= 1_400 && usual! < 30_000, `${usual} ms by the operator's bound`);
    assert.ok(patient! >= 1_400 && patient! < 30_000, `${patient} ms with more patience`);
    assert.ok(hasty! >= limits.patienceMinMs - 100, `${hasty} ms with 1 ms of patience`);
  });

  test("units of a reader that is killed are run again", async () => {
    using subject = open();
    const { run, pool } = subject;
    await run(count);
    const slow = run(
      unit(
        "with recursive n(x) as (select 1 union all select x + 1 from n limit 3000000) select count(*) from n",
      ),
    );
    const behind = Array.from({ length: 3 }, () => run(count));
    await sleep(30);
    process.kill(pool.pids[0]!, "SIGKILL");
    assert.equal(counted(await slow), 3_000_000);
    for (const each of behind) assert.equal(counted(await each), 10);
  });

  test("a session keeps its read view until it ends", async () => {
    using subject = open();
    const { run, db, pool } = subject;
    const session = await pool.openSession();
    const begun = await session.run(unit("BEGIN TRANSACTION READONLY"));
    assert.equal(begun.inTransaction, true);
    assert.equal(counted(await session.run(count)), 10);
    db.exec("begin; insert into t values(11); update sqlite_paceline set lsn = 6; commit");
    const same = await session.run(count);
    assert.deepEqual([counted(same), same.lsn], [10, 5]);
    assert.equal(counted(await run(count)), 11);
    const write = await session.run(unit("insert into t(a) values(1)"));
    assert.match(write.results[0]!, /SQLITE_READONLY/);
    assert.equal(write.refusedWrite, false);
    const ended = await session.run(unit("commit"));
    assert.equal(ended.inTransaction, false);
    session.close();
    await assert.rejects(session.run(count), hasCode("TRANSACTION_LOST"));
    const again = await pool.openSession();
    assert.equal(counted(await again.run(count)), 11);
    again.close();
  });

  test("BEGIN and savepoints take no view; the first statement that reads does", async () => {
    using subject = open();
    const { db, pool } = subject;
    const session = await pool.openSession();
    const opened = await session.run(unit("begin", "savepoint A", "savepoint É", "select 1"));
    // Of the letters of a name, SQLite knows those of ASCII as large and small.
    assert.deepEqual([opened.hasRead, opened.transaction?.savepoints], [false, ["a", "É"]]);
    db.exec("begin; insert into t values(11); update sqlite_paceline set lsn = 6; commit");
    const read = await session.run(count);
    assert.deepEqual([counted(read), read.lsn], [11, 6]);
    const other = await session.run(unit("release é"));
    assert.match(other.results[0]!, /no such savepoint: é/);
    session.close();
  });

  test("a write in a plain transaction is refused without a trace; as SQLite does, if it is late", async () => {
    using subject = open();
    const session = await subject.pool.openSession();
    await session.run(unit("begin", "select count(*) from t", "savepoint a"));
    const refused = await session.run(unit("savepoint b", "commit", "insert into t(a) values(1)"));
    assert.equal(refused.refusedWrite, true);
    const { lsn, term, transaction } = await session.run(count);
    assert.deepEqual(transaction, { begun: true, readonly: false, savepoints: ["a"] });
    const late = await session.run({
      ...unit("savepoint b", "insert into t(a) values(1)", "select count(*) from t"),
      snapshot: { lsn, term },
    });
    assert.equal(late.refusedWrite, false);
    assert.match(late.results[1]!, /"database is locked".*"SQLITE_BUSY".*SQLITE_BUSY_SNAPSHOT/);
    assert.match(late.results[2]!, /"value":"10"/);
    assert.deepEqual(late.transaction?.savepoints, ["a", "b"]);
    // It is over when the client says so, whatever the unit tries then.
    const over = await session.run({
      ...unit("insert into t(a) values(1)", "rollback", "insert into t(a) values(1)"),
      snapshot: { lsn, term },
    });
    assert.deepEqual([over.refusedWrite, over.transaction], [false, undefined]);
    assert.match(over.results[2]!, /SQLITE_BUSY_SNAPSHOT/);
    session.close();
  });

  test("a session that is closed in the middle of a statement is gone, with its process", async () => {
    using subject = open();
    const session = await subject.pool.openSession();
    const running = assert.rejects(session.run(runaway), hasCode("TRANSACTION_LOST"));
    await sleep(50);
    session.close();
    await running;
    assert.equal(counted(await subject.run(count)), 10);
  });

  test("what is not wanted any more is not run", async () => {
    using subject = open();
    const { run } = subject;
    await run(count);
    const slow = assert.rejects(run(runaway, 250), hasCode("STATEMENT_TIMEOUT"));
    await sleep(20);
    const abort = new AbortController();
    const waiting = run(count, 5_000, abort.signal);
    abort.abort(new Error("gone"));
    await assert.rejects(waiting, /gone/);
    await assert.rejects(run(count, 5_000, abort.signal), /gone/);
    await slow;
  });

  test("reopening replaces every process and loses no unit", async () => {
    using subject = open();
    const { run, pool } = subject;
    await run(count);
    const before = pool.pids;
    const waiting = Array.from({ length: 20 }, () => run(count));
    await pool.reopen();
    for (const each of waiting) assert.equal(counted(await each), 10);
    assert.equal(counted(await run(count)), 10);
    for (let i = 0; i < 50 && pool.pids.some((pid) => before.includes(pid)); i++) await sleep(10);
    assert.ok(!pool.pids.some((pid) => before.includes(pid)));
  });

  test("a database that cannot be opened is told instead of waited for", async () => {
    const pool = ReaderPool.open(main, "/nonexistent/main.sqlite", 1);
    const { signal } = new AbortController();
    await assert.rejects(pool.run(count, { patienceMs: 1_000, signal }), hasCode("STORAGE"));
    pool.close();
    await assert.rejects(pool.run(count, { patienceMs: 1_000, signal }), hasCode("NOT_READY"));
  });
});

// Beside others it would take all the processor.
test("who finds all sessions taken waits for one", async () => {
  using subject = open();
  const { pool } = subject;
  const sessions = [];
  while (sessions.length < limits.readersMax - 1) sessions.push(await pool.openSession());
  const gone = new AbortController();
  const patient = new AbortController().signal;
  const impatient = assert.rejects(pool.openSession(gone.signal), hasCode("OVERLOADED"));
  const waiting = pool.openSession(patient);
  gone.abort();
  await impatient;
  sessions.pop()!.close();
  const served = await waiting;
  assert.equal(counted(await served.run(count)), 10);
  const never = assert.rejects(pool.openSession(patient), hasCode("NOT_READY"));
  pool.close();
  await never;
});
