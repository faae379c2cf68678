import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { RealClock } from "../../host/clock.ts";
import { lsn, term } from "../../vocabulary.ts";
import type { Readers } from "../driver.ts";
import { Waiters } from "../waiters.ts";
import { type ReadOptions, type ReadPorts, Reads } from "./reads.ts";

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
    randomHex: () => "",
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

test("a read transaction of a life that is over is not continued in another client's", async () => {
  const ports = {
    ...{ clock: new RealClock(), applied: new Waiters(new RealClock(), lsn(1)) },
    appliedId: () => ({ lsn: lsn(1), term: term(1) }),
    pool: () => ({
      openSession: async () => ({
        run: async () => ({ results: [], lsn: lsn(1), term: term(1), inTransaction: true }),
        close: () => {},
      }),
    }),
    randomHex: (bytes: number) => randomBytes(bytes).toString("hex"),
  } as unknown as ReadPorts;
  const options = { consistency: { type: "stale" } } as ReadOptions;
  const unit = { requests: [] };
  const { session } = await new Reads(ports).begin(unit, options, "a");
  const restarted = new Reads(ports);
  const other = await restarted.begin(unit, options, "a");
  await assert.rejects(restarted.continue(session!, unit, options), { code: "STREAM_EXPIRED" });
  restarted.close(other.session!);
});
