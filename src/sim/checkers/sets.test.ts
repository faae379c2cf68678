import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "../../base/prng.ts";
import { HistoryError, type Json } from "./history.ts";
import { checkSets, type SetAnomaly } from "./sets.ts";
import { byHand, type Hand, runPaired, tableEffect, type Wish } from "./test-store.ts";

const add = (p: number, element: Json, more: Partial<Hand> = {}): Hand => {
  return { p, op: "add", key: "s", in: element, ...more };
};
const read = (p: number, out: Json, more: Partial<Hand> = {}): Hand => {
  return { p, op: "read", key: "s", out, ...more };
};

const bad: readonly (readonly [string, readonly Hand[], readonly SetAnomaly[]])[] = [
  ["lost", [add(1, 1), add(2, 2), read(3, [2])], ["lost"]],
  ["all lost", [add(1, 1), read(3, [])], ["lost"]],
  ["no rows", [add(1, 1), read(3, null)], ["lost"]],
  ["lost in the middle", [add(1, 1), add(1, 2), add(1, 3), read(3, [1, 3])], ["lost"]],
  ["lost after it was seen", [add(1, 1), read(3, [1]), read(3, [])], ["lost"]],
  [
    "an unknown one lost after it was seen",
    [add(1, 1, { type: "info" }), read(3, [1]), read(4, [])],
    ["lost"],
  ],
  [
    "seen by one reader, then unseen by another while it is under way",
    [add(1, 1, { at: [0, 90] }), read(2, [1], { at: [10, 20] }), read(3, [], { at: [30, 40] })],
    ["lost"],
  ],
  ["stale", [add(1, 1), read(2, []), read(3, [1])], ["stale"]],
  ["stale after it was seen", [add(1, 1), read(2, [1]), read(3, []), read(2, [1])], ["stale"]],
  ["flickers", [add(1, 1), read(2, []), read(2, [1]), read(2, []), read(2, [1])], ["stale"]],
  ["from nowhere", [add(1, 1), read(2, [1, 7])], ["phantom"]],
  ["from another set", [add(1, 1), add(1, 2, { key: "t" }), read(2, [1, 2])], ["phantom"]],
  ["another type", [add(1, 1), read(2, [1, "1"])], ["phantom"]],
  ["a failed one", [add(1, 1, { type: "fail" }), read(2, [1])], ["failed"]],
  ["before it was asked for", [read(2, [1]), add(1, 1), read(2, [1])], ["early"]],
  ["twice", [add(1, 1), read(2, [1, 1])], ["duplicate"]],
  ["twice, and another lost", [add(1, 1), add(1, 2), read(2, [1, 1])], ["duplicate", "lost"]],
];

const good: readonly (readonly [string, readonly Hand[]])[] = [
  ["empty", [read(1, [])]],
  ["any order", [add(1, 1), add(1, 2), read(1, [2, 1])]],
  [
    "concurrent",
    [add(1, 1, { at: [0, 90] }), read(2, [], { at: [10, 20] }), read(3, [1], { at: [12, 22] })],
  ],
  ["unknown, seen late", [add(1, 1, { type: "info" }), read(2, []), read(3, [1])]],
];

describe("sets", () => {
  for (const [claim, hands, names] of bad) {
    test(claim, () => {
      const verdict = checkSets(byHand(hands));
      assert.equal(verdict.valid, false);
      assert.deepEqual(Object.keys(verdict.counts).sort(), [...names].sort());
    });
  }
  for (const [claim, hands] of good) {
    test(`right: ${claim}`, () => assert.deepEqual(checkSets(byHand(hands)).anomalies, []));
  }
  test("a stale read may be stale, but what it showed stays", () => {
    const isLinearizable = ({ process }: { process: number | string }): boolean => process !== 9;
    assert.equal(checkSets(byHand([add(1, 1), read(9, [])]), isLinearizable).valid, true);
    const seen = byHand([add(1, 1, { type: "info" }), read(9, [1]), read(2, [])]);
    assert.deepEqual(checkSets(seen, isLinearizable).counts, { lost: 1 });
  });
  test("a workload that adds an element twice is refused", () => {
    assert.throws(() => checkSets(byHand([add(1, 1), add(2, 1)])), HistoryError);
  });

  test("1,000 right histories pass", () => {
    for (let seed = 0; seed < 1000; seed++) {
      const prng = new Prng(seed);
      const draw = prng.child();
      let count = 0;
      const wish = (): Wish => {
        const key = `k${draw.integer(0, 2)}`;
        return draw.chance(0.4) ? { op: "read", key } : { op: "add", key, value: count++ };
      };
      const operations = runPaired({
        prng,
        clients: prng.integer(1, 9),
        operations: 60,
        wish,
        lost: prng.chance(0.5) ? 0.1 : 0,
        effect: (rows, wanted) => (draw.chance(0.05) ? undefined : tableEffect(rows, wanted)),
      });
      const verdict = checkSets(operations);
      assert.equal(verdict.valid, true, `seed ${seed}: ${verdict.anomalies[0]?.text}`);
    }
  });
});
