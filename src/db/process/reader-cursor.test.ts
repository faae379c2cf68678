// Cursors on a reader process of their own: piece by piece, of one moment, bounded, and given back.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ClientError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import type { Unit } from "../sql/request.ts";
import { newDatabase, unit } from "../sql/test-database.ts";
import { openScratch } from "./connection.ts";
import { ReaderPool, type ReaderSession, type ReadOutcome } from "./reader-pool.ts";

const main = fileURLToPath(new URL("./test-reader-main.ts", import.meta.url));
const hasCode = (code: string) => (error: unknown) =>
  error instanceof ClientError && error.code === code;

function open(statementMs?: number) {
  const path = newDatabase();
  const db = openScratch(path);
  db.exec("create table t(a); insert into t select value from json_each('[1,2,3]')");
  const pool = ReaderPool.open(main, path, 1, { statementMs });
  return { db, pool, [Symbol.dispose]: () => pool.close() };
}

function batch(...sqls: string[]): Unit {
  const steps = sqls.map((sql) => ({
    stmt: { sql, args: [], namedArgs: [], wantRows: true },
    condition: undefined,
  }));
  return unit({ type: "batch", steps });
}

const numbers = (count: number) =>
  "with recursive n(i) as (select 1 union all select i + 1 from n " +
  `where i < ${count}) select i, printf('%.200c', 'x') from n`;

async function* piecesOf(session: ReaderSession, asked: Unit): AsyncGenerator<ReadOutcome> {
  for (let ask: "cursor" | "next" = "cursor"; ; ask = "next") {
    const outcome = await session.run(asked, ask);
    yield outcome;
    if (outcome.piece?.more !== true) return;
  }
}

const entriesOf = (outcomes: readonly ReadOutcome[]) =>
  Buffer.concat(outcomes.map(({ piece }) => piece!.bytes))
    .toString()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("a cursor", { concurrency: true }, () => {
  test("comes in pieces of bounded size, all of one moment, errors and skipped steps included", async () => {
    using subject = open();
    const { db, pool } = subject;
    const session = await pool.openSession();
    const outcomes: ReadOutcome[] = [];
    const asked = batch(numbers(20_000), "select * from nowhere", "select count(*) from t");
    for await (const outcome of piecesOf(session, asked)) {
      outcomes.push(outcome);
      db.exec("insert into t values(4)");
      assert.ok(outcome.piece!.bytes.byteLength < limits.cursorPieceBytes + 1_000);
    }
    assert.ok(outcomes.length > 10);
    const entries = entriesOf(outcomes);
    assert.equal(entries.filter(({ type }) => type === "row").length, 20_001);
    assert.equal(entries.at(-2).row[0].value, "3", "what was there when it began");
    assert.match(entries.find(({ type }) => type === "step_error").error.message, /nowhere/);
    assert.equal(outcomes.at(-1)!.inTransaction, false);
    session.close();
    const other = await pool.openSession();
    const [after] = await Array.fromAsync(piecesOf(other, batch("select count(*) from t")));
    assert.notEqual(entriesOf([after!])[1].row[0].value, "3");
    other.close();
  });

  test("that is left in the middle lets go of its moment and its process", async () => {
    using subject = open();
    const { db, pool } = subject;
    const session = await pool.openSession();
    await session.run(batch(numbers(1_000_000)), "cursor");
    const { pids } = pool;
    session.close();
    db.exec("insert into t values(4)");
    const outcome = await pool.run(unit("select count(*) from t"), {
      patienceMs: undefined,
      signal: new AbortController().signal,
    });
    assert.match(outcome.results[0]!, /"value":"4"/);
    assert.deepEqual(pool.pids.filter((pid) => pids.includes(pid)).length, pids.length);
  });

  test("has the time of a statement for each piece, and for no longer", async () => {
    using subject = open(600);
    const session = await subject.pool.openSession();
    const slow =
      "select count(*) from (with recursive n(i) as (select 1 union all select i + 1 from n) select i from n)";
    const asked = batch(numbers(20_000), slow);
    let pieces = 0;
    await assert.rejects(async () => {
      for await (const _ of piecesOf(session, asked)) {
        pieces++;
        if (pieces < 4) await sleep(400);
      }
    }, hasCode("STATEMENT_TIMEOUT"));
    assert.ok(pieces > 5, "a client that takes its time costs the statement nothing");
  });

  test("an answer too large for one piece is given up, and says so", async () => {
    using subject = open();
    const { signal } = new AbortController();
    const options = { patienceMs: undefined, signal, answerBytesMax: 10_000 };
    const cut = await subject.pool.run(batch(numbers(10_000)), options);
    assert.deepEqual([cut.isCut, cut.results], [true, []]);
    const whole = await subject.pool.run(batch(numbers(10)), options);
    assert.deepEqual([whole.isCut, whole.results.length], [false, 1]);
  });

  test("waits in line for a process, and leaves the line when its client does", async () => {
    using subject = open();
    const { pool } = subject;
    const { signal } = new AbortController();
    const held = await Promise.all(
      Array.from({ length: limits.readersMax - 1 }, () => pool.openSession()),
    );
    await assert.rejects(pool.openSession(), hasCode("OVERLOADED"));
    const gone = new AbortController();
    const leaving = pool.openSession(gone.signal);
    const order: number[] = [];
    const waiting = [1, 2].map(async (i) => {
      const session = await pool.openSession(signal);
      order.push(i);
      return session;
    });
    await sleep(50);
    gone.abort();
    await assert.rejects(leaving, hasCode("OVERLOADED"));
    assert.deepEqual(order, []);
    held[0]!.close();
    held[1]!.close();
    const admitted = await Promise.all(waiting);
    assert.deepEqual(order, [1, 2]);
    const [outcome] = await Array.fromAsync(piecesOf(admitted[1]!, batch("select 1")));
    assert.equal(outcome!.piece!.more, false);
  });
});
