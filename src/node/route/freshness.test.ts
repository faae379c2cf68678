import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../../base/errors.ts";
import { RealClock } from "../../host/clock.ts";
import { type Lsn, lsn } from "../../vocabulary.ts";
import { Waiters } from "../waiters.ts";
import { Freshness } from "./freshness.ts";

function ground(readIndex: () => Promise<Lsn>) {
  const clock = new RealClock();
  const applied = new Waiters(clock, lsn(5));
  let asked = 0;
  const freshness = new Freshness({
    ...{ clock, applied, lagMs: () => 0 },
    readIndex: () => {
      asked += 1;
      return readIndex();
    },
  });
  return { freshness, applied, asked: () => asked };
}

const isTooStale = (error: unknown) => error instanceof ClientError && error.code === "TOO_STALE";

test("one question serves the reads whose bound reaches back to it, and those that come meanwhile", async () => {
  const { freshness, asked } = ground(async () => lsn(5));
  await Promise.all([freshness.atMost(5_000), freshness.atMost(5_000), freshness.atMost(5_000)]);
  await freshness.atMost(5_000);
  assert.equal(asked(), 1);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await freshness.atMost(1);
  assert.equal(asked(), 2);
});

test("what is missing is waited for, and missed in the end", async () => {
  const { freshness, applied } = ground(async () => lsn(6));
  setTimeout(() => applied.reach(lsn(6)), 10);
  await freshness.atMost(1);
  await assert.rejects(ground(async () => lsn(9)).freshness.atMost(1), isTooStale);
});

test("a copy that nobody vouches for is too stale, however small its lag seems", async () => {
  const refused = ground(() => Promise.reject(new ClientError("NO_LEADER", "none")));
  await assert.rejects(refused.freshness.atMost(1_000), isTooStale);
  const silent = ground(() => new Promise<Lsn>(() => {}));
  await assert.rejects(silent.freshness.atMost(1), isTooStale);
  // A later question may be answered.
  await assert.rejects(refused.freshness.atMost(1_000), isTooStale);
  assert.equal(refused.asked(), 2);
});
