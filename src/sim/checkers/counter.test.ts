import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "../../base/prng.ts";
import { type CounterAnomaly, checkCounter } from "./counter.ts";
import { HistoryError, type Json } from "./history.ts";
import { byHand, type Effect, type Hand, runPaired, type Wish } from "./test-store.ts";

const add = (p: number, amount: Json, more: Partial<Hand> = {}): Hand => {
  return { p, op: "add", key: "n", in: amount, ...more };
};
const read = (p: number, out: Json, more: Partial<Hand> = {}): Hand => {
  return { p, op: "read", key: "n", out, ...more };
};

const bad: readonly (readonly [string, readonly Hand[], readonly CounterAnomaly[]])[] = [
  ["a lost addition", [add(1, 1), add(2, 1), read(3, 1)], ["counter-too-low"]],
  ["all additions lost", [add(1, 1), read(3, 0)], ["counter-too-low"]],
  ["below zero", [read(1, -1)], ["counter-too-low"]],
  ["an addition counted twice", [add(1, 1), read(3, 2)], ["counter-too-high"]],
  [
    "an unknown addition counted twice",
    [add(1, 1, { type: "info" }), read(3, 2)],
    ["counter-too-high"],
  ],
  ["a failed addition counted", [add(1, 1, { type: "fail" }), read(3, 1)], ["counter-too-high"]],
  ["an addition counted before it was asked for", [read(3, 1), add(1, 1)], ["counter-too-high"]],
  [
    "more than the concurrent ones allow",
    [add(1, 1, { at: [0, 50] }), read(3, 2, { at: [10, 20] })],
    ["counter-too-high"],
  ],
  ["a stale read", [add(1, 5), read(2, 5), add(1, 5), read(2, 5)], ["counter-too-low"]],
  [
    "goes back while an addition is under way",
    [add(1, 1, { at: [0, 90] }), read(2, 1, { at: [10, 20] }), read(3, 0, { at: [30, 40] })],
    ["counter-went-back"],
  ],
  [
    "goes back after an unknown addition",
    [add(1, 1, { type: "info" }), read(2, 1), read(3, 0)],
    ["counter-went-back"],
  ],
  ["a lost subtraction", [add(1, 5), add(2, -3), read(3, 5)], ["counter-too-high"]],
  ["a subtraction counted twice", [add(1, 5), add(2, -1), read(3, 3)], ["counter-too-low"]],
  [
    "a failed subtraction counted",
    [add(1, 5), add(2, -1, { type: "fail" }), read(3, 4)],
    ["counter-too-low"],
  ],
  ["text", [read(1, "0")], ["counter-no-number"]],
  ["no row", [read(1, null)], ["counter-no-number"]],
  [
    "one of two counters",
    [add(1, 1), add(1, 7, { key: "m" }), read(2, 7), read(2, 7, { key: "m" })],
    ["counter-too-high"],
  ],
];

const good: readonly (readonly [string, readonly Hand[]])[] = [
  ["zero", [read(1, 0)]],
  [
    "some of the concurrent ones",
    [add(1, 1, { at: [0, 90] }), add(2, 2, { at: [0, 90] }), read(3, 2, { at: [10, 20] })],
  ],
  ["an unknown one seen late", [add(1, 1, { type: "info" }), read(2, 0), read(3, 1)]],
  [
    "up and down",
    [
      add(1, 5),
      add(2, -3, { at: [20, 90] }),
      read(3, 5, { at: [30, 40] }),
      read(3, 2, { at: [50, 60] }),
    ],
  ],
];

describe("counter", () => {
  for (const [claim, hands, names] of bad) {
    test(claim, () => {
      const verdict = checkCounter(byHand(hands));
      assert.equal(verdict.valid, false);
      assert.deepEqual(Object.keys(verdict.counts).sort(), [...names].sort());
    });
  }
  for (const [claim, hands] of good) {
    test(`right: ${claim}`, () => assert.deepEqual(checkCounter(byHand(hands)).anomalies, []));
  }
  test("a workload that adds no number is refused", () => {
    assert.throws(() => checkCounter(byHand([add(1, "1")])), HistoryError);
  });

  test("1,000 right histories pass", () => {
    const effect: Effect = (table, { op, key = "", value }) => {
      const now = (table.get(key) as number | undefined) ?? 0;
      if (op === "read") return now;
      if ((value as number) % 7 === 6) return undefined;
      table.set(key, now + (value as number));
      return true;
    };
    for (let seed = 0; seed < 1000; seed++) {
      const prng = new Prng(seed);
      const draw = prng.child();
      const least = prng.chance(0.5) ? 1 : -9;
      const wish = (): Wish => {
        const key = `k${draw.integer(0, 2)}`;
        return draw.chance(0.4)
          ? { op: "read", key }
          : { op: "add", key, value: draw.integer(least, 10) };
      };
      const lost = prng.chance(0.5) ? 0.1 : 0;
      const operations = runPaired({
        prng,
        clients: prng.integer(1, 9),
        operations: 60,
        wish,
        lost,
        effect,
      });
      const verdict = checkCounter(operations);
      assert.equal(verdict.valid, true, `seed ${seed}: ${verdict.anomalies[0]?.text}`);
    }
  });
});
