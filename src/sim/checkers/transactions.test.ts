import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "../../base/prng.ts";
import { HistoryError, type Json } from "./history.ts";
import { type Operation, pairHistory } from "./operations.ts";
import { byHand, type Hand, runPaired, runStore, tableEffect, type Wish } from "./test-store.ts";
import {
  checkTransactions,
  type TransactionAnomaly,
  type TransactionModel,
} from "./transactions.ts";

/** A transaction in short: `x+1` appends 1 to x, `x:12` reads [1, 2], `x:` reads nothing. */
function txn(p: number, parts: string, more: Partial<Hand> = {}): Hand {
  const all = parts.split(" ").map((part): Json[] => {
    const [key, sign, ...rest] = part;
    if (sign === "+") return ["append", key!, Number(rest.join(""))];
    return ["r", key!, rest.length === 0 ? null : rest.map(Number)];
  });
  const asked = all.map(([f, key, value]): Json[] => [f!, key!, f === "r" ? null : value!]);
  return { p, op: "txn", in: asked, out: all, ...more };
}

/** All at once, so that the clock orders nothing. */
function together(...hands: readonly Hand[]): Hand[] {
  return hands.map((hand, i) => ({ at: [i, 100 + i], ...hand }));
}

type Case = readonly [
  claim: string,
  hands: readonly Hand[],
  names: readonly TransactionAnomaly[],
  model?: TransactionModel,
];

const bad: readonly Case[] = [
  [
    "G0: writes interleave over two keys",
    together(txn(1, "x+1 y+1"), txn(2, "x+2 y+2"), txn(3, "x:12 y:21")),
    ["G0"],
  ],
  [
    "G0: a foreign append in the middle of a transaction",
    together(txn(1, "x+1 x+3"), txn(2, "x+2"), txn(3, "x:123")),
    ["G0"],
  ],
  [
    "G1a: read of a failed append",
    together(txn(1, "x+1", { type: "fail" }), txn(2, "x:1")),
    ["G1a"],
  ],
  [
    "G1a: a failed append under later ones",
    together(txn(1, "x+1", { type: "fail" }), txn(2, "x+2"), txn(3, "x:12")),
    ["G1a"],
  ],
  [
    "G1b: half a transaction",
    together(txn(1, "x+1 x+2"), txn(2, "x:1"), txn(3, "x:12")),
    ["G1b", "G-single"],
  ],
  [
    "G1b: half a transaction, the other half never read",
    together(txn(1, "x+1 x+2"), txn(2, "x:1")),
    ["G1b", "G-single"],
  ],
  ["G1c: two see each other", together(txn(1, "x+1 y:1"), txn(2, "y+1 x:1")), ["G1c"]],
  [
    "G1c: a ring of three",
    together(txn(1, "x+1 z:1"), txn(2, "y+1 x:1"), txn(3, "z+1 y:1")),
    ["G1c"],
  ],
  [
    "G-single: read skew",
    together(txn(1, "x+1 y+1"), txn(2, "x: y:1"), txn(3, "x:1")),
    ["G-single"],
  ],
  [
    "G-single: read skew with an append that nobody read",
    together(txn(1, "x+1 y+1"), txn(2, "x: y:1")),
    ["G-single"],
  ],
  ["G2: write skew", together(txn(1, "x: y+1"), txn(2, "y: x+1"), txn(3, "x:1 y:1")), ["G2"]],
  ["G2: write skew, never read", together(txn(1, "x: y+1"), txn(2, "y: x+1")), ["G2"]],
  [
    "G2: long fork",
    together(txn(1, "x+1"), txn(2, "y+1"), txn(3, "x:1 y:"), txn(4, "x: y:1")),
    ["G2"],
  ],
  [
    "lost update: the first append survives below the second",
    together(txn(1, "x: x+1"), txn(2, "x: x+2"), txn(3, "x:12")),
    ["lost-update", "G-single"],
  ],
  [
    "lost update: one append is gone",
    together(txn(1, "x: x+1"), txn(2, "x: x+2"), txn(3, "x:2")),
    ["lost-update", "G-single"],
  ],
  [
    "incompatible order",
    together(txn(1, "x+1"), txn(2, "x+2"), txn(3, "x:12"), txn(4, "x:21")),
    ["incompatible-order"],
  ],
  ["duplicate", together(txn(1, "x+1"), txn(2, "x:11")), ["duplicate-element"]],
  ["element from nowhere", together(txn(1, "x+1"), txn(2, "x:19")), ["unwritten-element"]],
  ["internal: own append not seen", together(txn(1, "x+1 x:")), ["internal"]],
  ["internal: two reads differ", together(txn(1, "x+1"), txn(2, "x: x:1")), ["internal"]],
  ["realtime: a stale read", [txn(1, "x+1"), txn(2, "x:")], ["G-single-realtime"]],
  [
    "realtime: an acknowledged append is lost",
    [txn(1, "x+1"), txn(2, "x+2"), txn(3, "x:2")],
    ["G-single-realtime", "G0-realtime"],
  ],
  [
    "realtime: a stale read long after",
    [txn(1, "x+1"), txn(3, "y+1"), txn(4, "y:1"), txn(3, "z+1"), txn(2, "x:")],
    ["G-single-realtime"],
  ],
  [
    "realtime: a stale read, with a long transaction and one that began before",
    [
      txn(1, "x+1", { at: [0, 10] }),
      txn(2, "y+1", { at: [5, 30] }),
      txn(3, "z+1", { at: [20, 100] }),
      txn(4, "x:", { at: [40, 50] }),
    ],
    ["G-single-realtime"],
  ],
  [
    "G-single: half of an unknown transaction",
    together(txn(1, "x+1 y+1", { type: "info" }), txn(2, "x:1 y:")),
    ["G-single"],
  ],
  [
    "realtime: appends in the wrong order",
    [txn(1, "x+1"), txn(2, "x+2"), txn(3, "x:21")],
    ["G0-realtime"],
  ],
  ["realtime: read before it was written", [txn(1, "x:1"), txn(2, "x+1")], ["G1c-realtime"]],
  [
    "process: a client does not see its own append",
    [txn(1, "x+1"), txn(1, "x:")],
    ["G-single-process"],
    "sequential",
  ],
  [
    "process: reads go back",
    together(txn(2, "x+1")).concat([
      txn(1, "x:1", { at: [10, 11] }),
      txn(1, "x:", { at: [12, 13] }),
    ]),
    ["G-single-process"],
  ],
  [
    "process: appends of one client change places",
    [txn(1, "x+1"), txn(1, "x+2"), txn(2, "x:21")],
    ["G0-process"],
  ],
  [
    "realtime: clients disagree on what is newer, with two gaps",
    [
      txn(1, "x+1", { at: [0, 10] }),
      txn(2, "y:", { at: [20, 30] }),
      txn(3, "y+1", { at: [0, 15] }),
      txn(4, "x:", { at: [20, 31] }),
    ],
    ["G-single-realtime"],
  ],
];

const good: readonly Case[] = [
  ["nothing", [], []],
  ["one after the other", [txn(1, "x+1"), txn(2, "x:1 x+2"), txn(3, "x:12")], []],
  ["own appends, read in between", [txn(1, "x+1 x:1 x+2 x:12 y:")], []],
  [
    "an unknown append is seen late",
    [txn(1, "x+1", { type: "info" }), txn(2, "x:"), txn(3, "x:1")],
    [],
  ],
  ["an unknown append is never seen", [txn(1, "x+1", { type: "info" }), txn(2, "x:")], []],
  [
    "an unknown append of a client is seen after a later read of the same client",
    [txn(1, "x+1", { type: "info" }), txn(1, "x:"), txn(2, "x:1")],
    [],
  ],
  ["a failed append is never seen", [txn(1, "x+1", { type: "fail" }), txn(2, "x:")], []],
  [
    "concurrent, so the order is free",
    together(txn(1, "x+1"), txn(2, "x:"), txn(3, "x+2"), txn(4, "x:21")),
    [],
  ],
  ["a stale read is serializable", [txn(1, "x+1"), txn(2, "x:")], [], "serializable"],
  ["a stale read of another client is sequential", [txn(1, "x+1"), txn(2, "x:")], [], "sequential"],
  ["a read and an append that nobody read yet", together(txn(1, "x: x+1"), txn(2, "x:")), []],
];

describe("list-append transactions", () => {
  for (const [claim, hands, names, model] of bad) {
    test(claim, () => {
      const verdict = checkTransactions(byHand(hands), model);
      assert.equal(verdict.valid, false);
      assert.deepEqual(
        Object.keys(verdict.counts).sort(),
        [...names].sort(),
        JSON.stringify(verdict.anomalies.map((a) => a.text)),
      );
    });
  }
  for (const [claim, hands, , model] of good) {
    test(`right: ${claim}`, () => {
      assert.deepEqual(checkTransactions(byHand(hands), model).anomalies, []);
    });
  }
  test("a workload that appends an element twice is refused", () => {
    assert.throws(() => checkTransactions(byHand([txn(1, "x+1"), txn(2, "x+1")])), HistoryError);
  });
});

/** Transactions over keys that change with time, as in Elle. */
function wishes(prng: Prng, perKey: number): () => Wish {
  let count = 0;
  return () => {
    const value = Array.from({ length: prng.integer(1, 5) }, (): Json[] => {
      const key = `k${Math.floor(count / perKey) + prng.integer(0, 3)}`;
      return prng.chance(0.5) ? ["r", key, null] : ["append", key, count++];
    });
    return { op: "txn", value };
  };
}

describe("random transactions", () => {
  test("1,000 right histories pass", () => {
    for (let seed = 0; seed < 1000; seed++) {
      const prng = new Prng(seed);
      const refuse = prng.child();
      const operations = runPaired({
        prng,
        clients: prng.integer(1, 9),
        operations: 60,
        wish: wishes(prng.child(), 20),
        lost: prng.chance(0.5) ? 0.1 : 0,
        effect: (rows, wish) => (refuse.chance(0.05) ? undefined : tableEffect(rows, wish)),
      });
      const verdict = checkTransactions(operations);
      assert.equal(verdict.valid, true, `seed ${seed}: ${verdict.anomalies[0]?.text}`);
    }
  });

  test("a store that forgets acknowledged appends is caught, whatever the seed", () => {
    for (let seed = 0; seed < 200; seed++) {
      const prng = new Prng(seed);
      const forget = prng.child();
      let forgotten = 0;
      const events = runStore({
        prng,
        clients: 4,
        operations: 200,
        wish: wishes(prng.child(), 30),
        effect: (rows, wish) => {
          if (!forget.chance(0.05)) return tableEffect(rows, wish);
          const copy = new Map(rows);
          const answer = tableEffect(copy, wish);
          if ((wish.value as Json[][]).some(([f]) => f === "append")) forgotten++;
          return answer;
        },
      });
      const verdict = checkTransactions(pairHistory(events));
      if (forgotten > 4) assert.equal(verdict.valid, false, `seed ${seed}`);
    }
  });

  test("reads from a state two transactions old are caught", () => {
    for (let seed = 0; seed < 200; seed++) {
      const prng = new Prng(seed);
      const stale = prng.child();
      const states: Map<string, Json>[] = [];
      let wrong = 0;
      const operations = runPaired({
        prng,
        clients: 3,
        operations: 200,
        wish: wishes(prng.child(), 50),
        effect: (rows, wish) => {
          const isRead = (wish.value as Json[][]).every(([f]) => f === "r");
          if (isRead && stale.chance(0.2) && states.length > 12) {
            wrong++;
            return tableEffect(states.at(-12)!, wish);
          }
          const answer = tableEffect(rows, wish);
          states.push(new Map(rows));
          return answer;
        },
      });
      if (wrong > 8) assert.equal(checkTransactions(operations).valid, false, `seed ${seed}`);
    }
  });

  test("what is flagged has no serial order, and nearly all that has none is flagged", () => {
    let [wrong, flagged] = [0, 0];
    for (let seed = 0; seed < 4000; seed++) {
      const prng = new Prng(seed);
      const operations = runPaired({
        prng,
        clients: 4,
        operations: 6,
        wish: wishes(prng.child(), 1000),
        lost: prng.chance(0.3) ? 0.2 : 0,
        effect: tableEffect,
      });
      const changed = operations.map((operation) => spoil(operation, prng));
      const verdict = checkTransactions(changed);
      const expected = existsOrder(changed, new Map());
      if (expected) assert.deepEqual(verdict.anomalies, [], `seed ${seed}`);
      else {
        wrong++;
        if (verdict.valid === false) flagged++;
      }
    }
    assert.ok(wrong > 500, `${wrong} are wrong`);
    assert.ok(flagged >= 0.97 * wrong, `${flagged} flagged of ${wrong}`);
  });

  test("100,000 transactions", () => {
    const prng = new Prng(5);
    const operations = runPaired({
      prng,
      clients: 10,
      operations: 100_000,
      wish: wishes(prng.child(), 100),
      effect: tableEffect,
      lost: 0.01,
    });
    const startMs = performance.now();
    assert.equal(checkTransactions(operations).valid, true);
    assert.ok(performance.now() - startMs < 6000, "takes about a second");
  });
});

/** Now and then a read gives less than it should. */
function spoil(operation: Operation, prng: Prng): Operation {
  if (operation.outcome !== "ok" || !prng.chance(0.15)) return operation;
  const output = (operation.output as [string, string, Json][]).map(([f, key, value]): Json[] => {
    const isShort = f === "r" && Array.isArray(value) && prng.chance(0.7);
    return [f, key, isShort ? value.slice(0, -1) : value];
  });
  return { ...operation, output };
}

/** The definition: some transaction that may come first, and an order of the rest. */
function existsOrder(left: readonly Operation[], rows: Map<string, Json>): boolean {
  if (left.every(({ outcome }) => outcome === "info")) return true;
  const end = Math.min(...left.map(({ returnedAt }) => returnedAt));
  return left.some((operation) => {
    if (operation.invokedAt > end) return false;
    const after = new Map(rows);
    const answer = tableEffect(after, { op: "txn", value: operation.input });
    const text = (output: Json | undefined): string =>
      JSON.stringify(output).replaceAll("[]", "null");
    if (operation.outcome === "ok" && text(answer) !== text(operation.output)) return false;
    return existsOrder(
      left.filter((other) => other !== operation),
      after,
    );
  });
}
