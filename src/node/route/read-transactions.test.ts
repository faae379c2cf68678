// Transactions that have written nothing: what they take, where they go, and what is said when they are gone.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { Condition, Unit } from "../../db/sql/request.ts";
import { limits } from "../../limits.ts";
import { lsn, term } from "../../vocabulary.ts";
import { type ReadTransactionPorts, ReadTransactions } from "./read-transactions.ts";
import type { RunOptions } from "./run.ts";

const options = { consistency: { type: "session" } } as RunOptions;
const at = { lsn: lsn(7), term: term(2) };

function unit(...sql: string[]): Unit {
  return {
    requests: sql.map((text) => ({
      type: "execute",
      stmt: { sql: text, args: [], namedArgs: [], wantRows: true },
    })),
  };
}

function textsOf({ requests }: Unit): string {
  return requests
    .map((request) => (request.type === "execute" ? request.stmt.sql : "?"))
    .join("; ");
}

/** A reader that does what it is told, on paper; a leader that says whether it was overtaken. */
function setup(state: { overtaken?: boolean; refuses?: RegExp } = {}) {
  const log: string[] = [];
  const timers: (() => void)[] = [];
  const results = ({ requests }: Unit) => requests.map(() => "{}");
  const reader = {
    run: async (asked: Unit) => {
      const text = textsOf(asked);
      log.push(`read ${text}${asked.snapshot === undefined ? "" : " late"}`);
      const refusedWrite = state.refuses?.test(text) === true && asked.snapshot === undefined;
      const ended = /COMMIT/.test(text);
      const transaction = ended ? undefined : { begun: true, readonly: false, savepoints: ["s"] };
      const left = {
        inTransaction: !ended,
        transaction,
        wrote: false,
        refusedWrite,
        hasRead: true,
      };
      return { results: results(asked), ...left, ...at };
    },
    close: () => log.push("close"),
  };
  const ports: ReadTransactionPorts = {
    self: "a",
    clock: {
      after: (ms, work) => {
        assert.equal(ms, limits.transactionIdleMs);
        timers.push(work);
        return () => timers.splice(timers.indexOf(work), 1);
      },
    },
    reads: {
      begin: async (asked) => ({ reader, outcome: await reader.run(asked) }),
    },
    randomHex: (bytes) => randomBytes(bytes).toString("hex"),
    route: (asked, wanted) => {
      log.push(`route ${wanted.begin}`);
      return transactions.begin(asked, wanted);
    },
    write: async (asked) => {
      const { snapshot } = asked;
      log.push(`write ${textsOf(asked)} at ${snapshot === undefined ? "any" : snapshot.lsn}`);
      const overtaken = state.overtaken === true;
      const position = { lsn: lsn(9), term: term(2) };
      return { results: overtaken ? [] : results(asked), position, session: "w.b.1", overtaken };
    },
  };
  const transactions = new ReadTransactions(ports);
  return { log, timers, transactions, ports };
}

test("BEGIN alone takes nothing, and goes with what comes next", async () => {
  const { log, timers, transactions } = setup();
  const begun = transactions.open(unit("BEGIN"), options)!;
  assert.equal(JSON.parse(begun.results[0]!).type, "ok");
  assert.deepEqual(log, []);
  const read = await transactions.continue(begun.session!, unit("SELECT * FROM t"), options);
  assert.equal(read.results.length, 1);
  assert.deepEqual(log, ["route deferred", "read BEGIN; SELECT * FROM t"]);
  await transactions.continue(read.session!, unit("COMMIT"), options);
  assert.deepEqual(log.slice(2), ["read COMMIT", "close"]);
  assert.equal(timers.length, 0);
  // Nothing else is taken for an opening.
  for (const sql of ["BEGIN IMMEDIATE", "SELECT 1", "COMMIT", "EXPLAIN BEGIN"]) {
    assert.equal(transactions.open(unit(sql), options), undefined, sql);
  }
  const unused = transactions.open(unit("SAVEPOINT x"), options)!;
  const rolledBack = await transactions.continue(unused.session!, unit("ROLLBACK"), options);
  assert.equal(rolledBack.session, undefined);
  assert.equal(log.length, 4);
});

test("the first write takes the transaction to the leader, with its view and its savepoints", async () => {
  const { log, transactions } = setup();
  const { session } = await transactions.begin(unit("BEGIN", "SELECT 1 FROM t"), options);
  const written = await transactions.continue(session!, unit("DELETE FROM t"), options);
  assert.deepEqual(log.slice(1), ['write BEGIN; SAVEPOINT "s"; DELETE FROM t at 7', "close"]);
  assert.equal(written.session, "w.b.1");
  assert.equal(written.results.length, 1);
});

test("a write that a reader finds goes the same way", async () => {
  const { log, transactions } = setup({ refuses: /odd/ });
  const { session } = await transactions.begin(unit("BEGIN", "SELECT 1 FROM t"), options);
  const written = await transactions.continue(session!, unit("odd"), options);
  assert.deepEqual(log.slice(1), ["read odd", 'write BEGIN; SAVEPOINT "s"; odd at 7', "close"]);
  assert.equal(written.session, "w.b.1");
});

test("when something was committed since, the unit runs on the view that it has", async () => {
  const { log, transactions } = setup({ overtaken: true });
  const { session } = await transactions.begin(unit("BEGIN", "SELECT 1 FROM t"), options);
  const late = await transactions.continue(session!, unit("DELETE FROM t"), options);
  assert.equal(log.at(-1), "read DELETE FROM t late");
  assert.equal(late.session, session);
  assert.equal(late.position.lsn, 9, "the next try reads no older state");
});

test("what follows COMMIT in a request is not bound to the view", async () => {
  const { log, transactions } = setup();
  const { session } = await transactions.begin(unit("BEGIN", "SELECT 1 FROM t"), options);
  const answer = await transactions.continue(session!, unit("COMMIT", "SELECT 2"), options);
  assert.deepEqual(log.slice(1), ["close", "route undefined", "read SELECT 2"]);
  assert.equal(answer.results.length, 2);
});

test("what follows ROLLBACK in a batch is not bound to the view, if that is sure to run", async () => {
  const { log, transactions } = setup();
  const stmtOf = (sql: string) => ({ sql, args: [], namedArgs: [], wantRows: true });
  const first = async (condition: Condition | undefined) => {
    const { session } = await transactions.begin(unit("BEGIN", "SELECT 1 FROM t"), options);
    const steps = [
      { stmt: stmtOf("ROLLBACK"), condition },
      { stmt: stmtOf("DELETE FROM t"), condition: undefined },
    ];
    await transactions.continue(session!, { requests: [{ type: "batch", steps }] }, options);
    return log.at(-2);
  };
  assert.equal(await first(undefined), 'write BEGIN; SAVEPOINT "s"; ? at any');
  assert.equal(await first({ type: "is_autocommit" }), 'write BEGIN; SAVEPOINT "s"; ? at 7');
});

test("a transaction that expired says so; one of another life is lost, and nobody else's", async () => {
  const { timers, transactions, ports, log } = setup();
  const gone = (await transactions.begin(unit("BEGIN", "SELECT 1 FROM t"), options)).session!;
  timers[0]!();
  assert.equal(log.at(-1), "close");
  const again = (of: ReadTransactions) => of.continue(gone, unit("SELECT 1"), options);
  await assert.rejects(again(transactions), { code: "TRANSACTION_TIMEOUT" });
  const restarted = new ReadTransactions(ports);
  await restarted.begin(unit("BEGIN", "SELECT 1 FROM t"), options);
  await assert.rejects(again(restarted), { code: "TRANSACTION_LOST" });
});

test("a transaction whose request fails is over, and its reader is free", async () => {
  const { log, timers, transactions, ports } = setup();
  const begun = await transactions.begin(unit("BEGIN", "SELECT * FROM t"), options);
  ports.write = async () => {
    throw new Error("no leader");
  };
  const write = unit("INSERT INTO t VALUES (1)");
  await assert.rejects(transactions.continue(begun.session!, write, options), /no leader/);
  assert.equal(log.at(-1), "close");
  assert.deepEqual(timers, []);
  const gone = { code: "TRANSACTION_LOST" };
  await assert.rejects(transactions.continue(begun.session!, unit("SELECT 1"), options), gone);
});
