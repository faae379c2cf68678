import assert from "node:assert/strict";
import { test } from "node:test";
import { RealClock } from "../../host/clock.ts";
import { lsn, term } from "../../vocabulary.ts";
import type { Readers } from "../driver.ts";
import { Waiters } from "../waiters.ts";
import { Reads } from "./reads.ts";

test("a read tells the position that was applied, also when the last entry did not touch the database", async () => {
  const clock = new RealClock();
  const outcome = { results: [], lsn: lsn(41), term: term(2), refusedWrite: false };
  const reads = new Reads({
    ...{ clock, applied: new Waiters(clock, lsn(42)) },
    pool: () => ({ run: async () => outcome }) as unknown as Readers,
    lagMs: () => 0,
    hasLease: () => true,
    readIndex: async () => lsn(42),
    committedLsn: () => lsn(42),
    appliedId: () => ({ lsn: lsn(42), term: term(3) }),
  });
  const answer = await reads.run(
    { requests: [], foreignKeys: undefined },
    {
      consistency: { type: "linearizable" },
      minPosition: undefined,
      deadlineMs: undefined,
      signal: new AbortController().signal,
    },
  );
  assert.deepEqual(answer.position, { lsn: 42, term: 3 });
});

test("read transactions begin when a pause is over, and then go on beginning for twice as long", async () => {
  let nowMs = 0;
  const timers: { ms: number; work: () => void }[] = [];
  const after = (ms: number, work: () => void) => {
    timers.push({ ms, work });
    return () => {};
  };
  let begun = 0;
  const session = { run: async () => ({ results: [], ...position }), close: () => {} };
  const position = { lsn: lsn(1), term: term(1) };
  const openSession = async () => {
    begun++;
    return session;
  };
  const pool = { openSession } as unknown as Readers;
  const clock = { nowMs: () => nowMs, after } as unknown as RealClock;
  const reads = new Reads({
    ...{ clock, applied: new Waiters(clock, lsn(1)), pool: () => pool, lagMs: () => 0 },
    ...{ hasLease: () => false, readIndex: async () => lsn(1), committedLsn: () => lsn(1) },
    appliedId: () => position,
  });
  const begin = () => reads.begin({ requests: [] }, { consistency: { type: "stale" } } as never);
  reads.pauseTransactions(1_000);
  const waiting = begin();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(begun, 0);
  assert.deepEqual(
    timers.map(({ ms }) => ms),
    [1_000],
  );
  nowMs = 1_000;
  timers[0]!.work();
  await waiting;
  assert.equal(begun, 1);
  nowMs = 2_999;
  reads.pauseTransactions(1_000);
  await begin();
  assert.equal(begun, 2);
  nowMs = 3_000;
  reads.pauseTransactions(1_000);
  const next = begin();
  reads.pauseTransactions(0);
  await next;
  assert.equal(begun, 3);
});
