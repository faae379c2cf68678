// The fate of proposed entries, and what their clients are told.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { type EntryId, lsn, term } from "../../vocabulary.ts";
import { Outcomes } from "./outcomes.ts";

/** A clock whose only timer fires when told. */
function timers(): { clock: Clock; fire(): void } {
  const pending = new Set<() => void>();
  const after = (_ms: number, f: () => void) => {
    pending.add(f);
    return () => pending.delete(f);
  };
  const clock = { nowMs: () => 0, wallMs: () => 0, every: after, after } as unknown as Clock;
  return {
    clock,
    fire: () => {
      for (const f of [...pending]) f();
    },
  };
}

const at = (n: number, t: number): EntryId => ({ lsn: lsn(n), term: term(t) });

async function codeOf(fate: Promise<void>): Promise<string> {
  try {
    await fate;
    return "ok";
  } catch (error) {
    assert.ok(error instanceof ClientError);
    return error.code;
  }
}

test("the same entry applied is an acknowledgement", async () => {
  const outcomes = new Outcomes(timers().clock, 1_000);
  const fate = codeOf(outcomes.of(at(5, 2), 100));
  assert.equal(outcomes.bytes, 100);
  outcomes.applied(at(4, 2));
  outcomes.applied(at(5, 2));
  assert.equal(await fate, "ok");
  assert.equal(outcomes.bytes, 0);
});

test("another entry at its place means that surely nothing happened", async () => {
  const outcomes = new Outcomes(timers().clock, 1_000);
  const fate = codeOf(outcomes.of(at(5, 2), 100));
  outcomes.applied(at(5, 3));
  assert.equal(await fate, "NOT_LEADER");
});

test("time that runs out is an unknown outcome, never a failure", async () => {
  const { clock, fire } = timers();
  const outcomes = new Outcomes(clock, 1_000);
  const fate = codeOf(outcomes.of(at(5, 2), 100));
  fire();
  assert.equal(await fate, "UNKNOWN_OUTCOME");
  outcomes.applied(at(5, 2));
});

test("a jump by page sync leaves the outcome unknown up to there, and open beyond", async () => {
  const outcomes = new Outcomes(timers().clock, 1_000);
  const before = codeOf(outcomes.of(at(5, 2), 1));
  const beyond = codeOf(outcomes.of(at(6, 2), 1));
  outcomes.jumpedTo(lsn(5));
  assert.equal(await before, "UNKNOWN_OUTCOME");
  outcomes.applied(at(6, 2));
  assert.equal(await beyond, "ok");
});

test("an entry proposed again at the same place makes the first one unknown, and its bytes leave", async () => {
  const outcomes = new Outcomes(timers().clock, 1_000);
  const first = codeOf(outcomes.of(at(5, 2), 80));
  const second = codeOf(outcomes.of(at(5, 4), 1));
  assert.equal(outcomes.bytes, 1);
  outcomes.applied(at(5, 4));
  assert.deepEqual([await first, await second], ["UNKNOWN_OUTCOME", "ok"]);
  assert.equal(outcomes.bytes, 0);
});

test("waiting for few bytes ends when they are few, whoever settled last", async () => {
  const { clock, fire } = timers();
  const outcomes = new Outcomes(clock, 1_000);
  const older = codeOf(outcomes.of(at(5, 2), 80));
  const newer = codeOf(outcomes.of(at(6, 2), 10));
  let isFew = false;
  const few = outcomes.atMost(64).then(() => {
    isFew = true;
  });
  // The newest one meets its fate first; the older bytes are still there.
  outcomes.applied(at(6, 2));
  assert.equal(await newer, "ok");
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isFew, false);
  fire();
  await few;
  assert.equal(await older, "UNKNOWN_OUTCOME");
  await outcomes.atMost(0);
});
