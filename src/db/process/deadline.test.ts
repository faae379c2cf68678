import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "../../limits.ts";
import { Deadline } from "./deadline.ts";

const poll = limits.progressPollMs;

/** How many polls it takes until something is overrun; `step` says what the process does at each. */
function pollsUntil(
  step: (poll: number) => { statements: number; unit: number | undefined },
  statementMs: number,
): [number, string | undefined] {
  const deadline = new Deadline(step(0));
  for (let n = 1; n < 10_000; n++) {
    const overrun = deadline.observe(step(n), poll, statementMs);
    if (overrun !== undefined) return [n, overrun];
  }
  return [0, undefined];
}

test("one statement may take its time and no longer", () => {
  assert.deepEqual(
    pollsUntil(() => ({ statements: 4, unit: 1 }), 10 * poll),
    [10, "statement"],
  );
  const slow = (n: number) => ({ statements: n < 8 ? 1 : 2, unit: 1 });
  assert.deepEqual(pollsUntil(slow, 10 * poll), [18, "statement"]);
});

test("many quick statements of one unit end at the bound of a transaction", () => {
  const busy = (n: number) => ({ statements: n, unit: 1 });
  assert.deepEqual(pollsUntil(busy, 10 * poll), [limits.transactionMs / poll, "unit"]);
  const many = (n: number) => ({ statements: n, unit: n });
  assert.deepEqual(pollsUntil(many, 10 * poll), [0, undefined]);
});

test("between units only the longer bound holds", () => {
  const committing = () => ({ statements: 9, unit: undefined });
  assert.deepEqual(pollsUntil(committing, 10 * poll), [limits.transactionMs / poll, "unit"]);
});

test("a machine that slept is not held against a statement", () => {
  const deadline = new Deadline({ statements: 1, unit: 1 });
  const progress = { statements: 1, unit: 1 };
  assert.equal(deadline.observe(progress, 3_600_000, 10 * poll), undefined);
});
