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
