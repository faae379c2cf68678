import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "../../base/prng.ts";
import { type BankAnomaly, checkBank } from "./bank.ts";
import { HistoryError, type Json } from "./history.ts";
import { byHand, type Effect, type Hand, runPaired, type Wish } from "./test-store.ts";

const initial = { a: 10, b: 10, c: 0 };
const options = { initial, mayBeNegative: false, isLinearizable: () => true };

const move = (
  p: number,
  from: string,
  to: string,
  more: Partial<Hand> & { amount?: number } = {},
): Hand => {
  const { amount = 1, ...rest } = more;
  return { p, op: "transfer", in: { from, to, amount }, ...rest };
};
const read = (p: number, [a, b, c]: readonly Json[], more: Partial<Hand> = {}): Hand => {
  return { p, op: "read", out: { a: a!, b: b!, c: c! }, ...more };
};

const bad: readonly (readonly [string, readonly Hand[], readonly BankAnomaly[]])[] = [
  ["money is made", [read(1, [10, 11, 0])], ["wrong-total", "impossible-balance"]],
  ["money is lost", [read(1, [9, 10, 0])], ["wrong-total", "impossible-balance"]],
  [
    "half a transfer, taken and not given",
    [move(1, "a", "b", { at: [0, 50] }), read(2, [9, 10, 0], { at: [10, 20] })],
    ["wrong-total"],
  ],
  [
    "half a transfer, given and not taken",
    [move(1, "a", "b", { at: [0, 50] }), read(2, [10, 11, 0], { at: [10, 20] })],
    ["wrong-total"],
  ],
  [
    "two accounts of different moments",
    [
      move(1, "a", "b", { at: [0, 50] }),
      move(2, "b", "c", { at: [0, 50] }),
      read(3, [9, 10, 0], { at: [10, 20] }),
    ],
    ["wrong-total"],
  ],
  ["an account below zero", [move(1, "c", "a"), read(2, [11, 10, -1])], ["negative-balance"]],
  ["an account is missing", [{ p: 1, op: "read", out: { a: 10, b: 10 } }], ["missing-account"]],
  ["nothing is read", [{ p: 1, op: "read", out: null }], ["missing-account"]],
  [
    "an account too many",
    [{ p: 1, op: "read", out: { a: 10, b: 10, c: 0, d: 0 } }],
    ["unexpected-account"],
  ],
  ["a balance that is text", [read(1, ["10", 10, 0])], ["bad-balance", "wrong-total"]],
  ["a balance that is null", [read(1, [10, 10, null])], ["bad-balance"]],
  [
    "a balance with a fraction",
    [read(1, [9.5, 10.5, 0])],
    ["bad-balance", "wrong-total", "impossible-balance"],
  ],
  [
    "an acknowledged transfer is lost",
    [move(1, "a", "b"), read(2, [10, 10, 0])],
    ["impossible-balance"],
  ],
  ["a transfer happens twice", [move(1, "a", "b"), read(2, [8, 12, 0])], ["impossible-balance"]],
  [
    "a refused transfer happens",
    [move(1, "a", "b", { type: "fail" }), read(2, [9, 11, 0])],
    ["impossible-balance"],
  ],
  [
    "a transfer before it was asked for",
    [read(2, [9, 11, 0]), move(1, "a", "b")],
    ["impossible-balance"],
  ],
  [
    "a transfer to the wrong account",
    [move(1, "a", "b"), read(2, [9, 10, 1])],
    ["impossible-balance"],
  ],
  [
    "an unknown transfer happens twice",
    [move(1, "a", "b", { type: "info" }), read(2, [8, 12, 0])],
    ["impossible-balance"],
  ],
];

const good: readonly (readonly [string, readonly Hand[]])[] = [
  ["before any transfer", [read(1, [10, 10, 0])]],
  [
    "a concurrent transfer may be seen or not",
    [
      move(1, "a", "b", { at: [0, 50] }),
      read(2, [10, 10, 0], { at: [10, 20] }),
      read(3, [9, 11, 0], { at: [12, 22] }),
    ],
  ],
  [
    "an unknown transfer may be seen late",
    [move(1, "a", "b", { type: "info" }), read(2, [10, 10, 0]), read(3, [9, 11, 0])],
  ],
  ["a transfer to oneself", [move(1, "a", "a"), read(2, [10, 10, 0])]],
];

describe("bank", () => {
  for (const [claim, hands, names] of bad) {
    test(claim, () => {
      const verdict = checkBank(byHand(hands), options);
      assert.equal(verdict.valid, false);
      assert.deepEqual(Object.keys(verdict.counts).sort(), [...names].sort());
    });
  }
  for (const [claim, hands] of good) {
    test(`right: ${claim}`, () =>
      assert.deepEqual(checkBank(byHand(hands), options).anomalies, []));
  }
  test("a stale read may be stale, but whole", () => {
    const stale = { ...options, isLinearizable: () => false };
    assert.equal(checkBank(byHand([move(1, "a", "b"), read(2, [10, 10, 0])]), stale).valid, true);
    assert.equal(checkBank(byHand([move(1, "a", "b"), read(2, [9, 10, 0])]), stale).valid, false);
  });
  test("a workload with an account that does not exist is refused", () => {
    assert.throws(() => checkBank(byHand([move(1, "a", "z")]), options), HistoryError);
  });
});

const effect: Effect = (table, { op, value }) => {
  const balance = (account: string): number =>
    (table.get(account) as number | undefined) ?? initial[account as "a"];
  if (op === "read") return { a: balance("a"), b: balance("b"), c: balance("c") };
  const { from, to, amount } = value as { from: string; to: string; amount: number };
  if (balance(from) < amount) return undefined;
  table.set(from, balance(from) - amount);
  table.set(to, balance(to) + amount);
  return true;
};

function run(seed: number, change: Effect) {
  const prng = new Prng(seed);
  const draw = prng.child();
  const account = () => ["a", "b", "c"][draw.integer(0, 3)]!;
  const wish = (): Wish => {
    if (draw.chance(0.4)) return { op: "read" };
    return {
      op: "transfer",
      value: { from: account(), to: account(), amount: draw.integer(1, 5) },
    };
  };
  const lost = prng.chance(0.5) ? 0.1 : 0;
  return runPaired({
    prng,
    clients: prng.integer(1, 9),
    operations: 60,
    wish,
    lost,
    effect: change,
  });
}

describe("random banks", () => {
  test("1,000 right histories pass", () => {
    for (let seed = 0; seed < 1000; seed++) {
      const verdict = checkBank(run(seed, effect), options);
      assert.equal(verdict.valid, true, `seed ${seed}: ${verdict.anomalies[0]?.text}`);
    }
  });

  test("a bank that forgets to give is caught", () => {
    for (let seed = 0; seed < 100; seed++) {
      let broken = 0;
      const operations = run(seed, (table, wish) => {
        const answer = effect(table, wish);
        const { to } = (wish.value ?? {}) as { to?: string };
        if (wish.op === "transfer" && answer === true && broken++ === 3) {
          table.set(to!, (table.get(to!) as number) - 1);
        }
        if (wish.op === "read" && broken > 3) broken = 100;
        return answer;
      });
      if (broken >= 100) assert.equal(checkBank(operations, options).valid, false, `seed ${seed}`);
    }
  });
});
