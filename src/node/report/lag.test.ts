import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../../host/clock.ts";
import { type Lsn, lsn, term } from "../../vocabulary.ts";
import { Lag, type LagLog, lagBytes } from "./lag.ts";

class HandClock implements Clock {
  ms = 1_000;
  nowMs(): number {
    return this.ms;
  }
  wallMs(): number {
    return this.ms;
  }
  every(): () => void {
    return () => {};
  }
  after(): () => void {
    return () => {};
  }
  turn(): void {}
}

test("entries: what the leader was heard to have committed and is not applied", () => {
  const lag = new Lag(new HandClock());
  assert.equal(lag.lagEntries(false), undefined, "nothing was heard yet, and that is not zero");
  lag.heard(lsn(10), term(1), 0);
  lag.applied(lsn(7));
  assert.equal(lag.lagEntries(false), 3);
  lag.applied(lsn(12));
  assert.equal(lag.lagEntries(false), 0, "applied beyond the last word of the leader");
  assert.equal(lag.lagEntries(true), 0);
});

test("a silent link: milliseconds grow although no entry is known to be missing", () => {
  const clock = new HandClock();
  const lag = new Lag(clock);
  lag.heard(lsn(10), term(1), 0);
  lag.applied(lsn(10));
  assert.equal(lag.lagMs(false), 0);
  clock.ms += 5_000;
  assert.equal(lag.lagEntries(false), 0);
  assert.equal(lag.lagMs(false), 5_000);
});

test("bytes: the log's own count, and its mean entry for what it does not have", () => {
  // Entries 11 to 20, of 100 bytes each.
  const log: LagLog = {
    base: { lsn: lsn(10), term: term(1) },
    last: { lsn: lsn(20), term: term(1) },
    bytes: 1_000,
    bytesAfter: (from: Lsn) => (20 - Math.min(20, Math.max(10, from))) * 100,
  };
  const check = (from: number, to: number, expected: number): void =>
    assert.equal(lagBytes(log, lsn(from), lsn(to)), expected, `${from} to ${to}`);
  check(15, 15, 0);
  check(18, 15, 0);
  check(15, 18, 300);
  check(10, 20, 1_000);
  check(18, 25, 700);
  check(5, 12, 700);
  check(2, 5, 300);
  check(25, 30, 500);
});
