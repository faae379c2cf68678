/**
 * Quorum arithmetic against a naive twin that tries all sets, and the one property it is for: majorities overlap.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { electionResult, majority, reachedByMajority } from "./quorum.ts";

const options = { seed: 20_260_101, numRuns: 500 };
const values = fc.array(fc.nat({ max: 20 }), { minLength: 1, maxLength: 7 });

/** The highest candidate value such that more than half of the values are at least that. */
function naiveReached(all: readonly number[]): number {
  const reached = all.filter((x) => all.filter((y) => y >= x).length * 2 > all.length);
  return Math.max(...reached);
}

test("what a majority has reached is what the naive twin finds", () => {
  fc.assert(
    fc.property(values, (all) => {
      assert.equal(reachedByMajority([...all]), naiveReached(all));
    }),
    options,
  );
});

test("nothing is ever reached by nobody", () => {
  assert.equal(reachedByMajority([]), Number.NEGATIVE_INFINITY);
});

test("one more acknowledgement never moves the mark back", () => {
  fc.assert(
    fc.property(values, fc.nat(), fc.nat({ max: 5 }), (all, at, by) => {
      const later = all.map((value, i) => (i === at % all.length ? value + by : value));
      assert.ok(reachedByMajority(later) >= reachedByMajority([...all]));
    }),
    options,
  );
});

test("majorities overlap, also after one member came or went", () => {
  for (let n = 1; n < 20; n++) {
    assert.ok(2 * majority(n) > n);
    // Sets of n and n + 1 members share n: both majorities must not fit in side by side.
    assert.ok(majority(n) + majority(n + 1) > n + 1);
  }
});

test("an election is decided exactly when no further answer can change it", () => {
  const answers = fc.array(fc.constantFrom("granted", "reserved", "refused", "missing"), {
    minLength: 1,
    maxLength: 5,
  });
  fc.assert(
    fc.property(answers, (all) => {
      const outcomes = completions(all).map(naiveWon);
      const expected = outcomes.every((won) => won)
        ? "won"
        : outcomes.some((won) => won)
          ? "open"
          : "lost";
      const count = (answer: string) => all.filter((a) => a === answer).length;
      const tally = {
        voters: all.length,
        granted: count("granted"),
        reserved: count("reserved"),
        refused: count("refused"),
      };
      assert.equal(electionResult(tally), expected);
    }),
    options,
  );
});

function naiveWon(all: readonly string[]): boolean {
  const granted = all.filter((answer) => answer === "granted").length;
  return granted * 2 > all.length || all.every((answer) => answer !== "refused");
}

/** Every way in which the missing answers can come in. */
function completions(all: readonly string[]): string[][] {
  const at = all.indexOf("missing");
  if (at < 0) return [[...all]];
  return ["granted", "reserved", "refused"].flatMap((answer) =>
    completions(all.map((a, i) => (i === at ? answer : a))),
  );
}
