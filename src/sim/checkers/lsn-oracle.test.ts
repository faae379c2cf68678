import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "../../base/prng.ts";
import type { Json } from "./history.ts";
import { checkPositions, type OracleAnomaly, type OracleOptions } from "./lsn-oracle.ts";
import type { Operation } from "./operations.ts";
import { byHand, type Hand, runPaired, tableEffect, type Wish } from "./test-store.ts";

const options: OracleOptions = { nowMs: () => performance.now(), budgetMs: 20_000 };

/** Operations at an LSN, in term 1 unless said otherwise. */
const at = (lsn: number, term = 1): Partial<Hand> => ({ pos: [lsn, term] });
const w = (p: number, value: Json, more: Partial<Hand> = {}): Hand => {
  return { p, op: "write", key: "x", in: value, ...more };
};
const r = (p: number, out: Json, more: Partial<Hand> = {}): Hand => {
  return { p, op: "read", key: "x", out, ...more };
};
const cas = (p: number, from: Json, to: Json, more: Partial<Hand> = {}): Hand => {
  return { p, op: "cas", key: "x", in: [from, to], out: true, ...more };
};
const append = (p: number, value: Json, more: Partial<Hand> = {}): Hand => {
  return { p, op: "append", key: "x", in: value, ...more };
};
const txn = (p: number, parts: Json[][], more: Partial<Hand> = {}): Hand => {
  return { p, op: "txn", in: parts, out: parts, ...more };
};
const overlap: Partial<Hand> = { at: [0, 100] };

type Case = readonly [string, readonly Hand[], readonly OracleAnomaly[], Partial<OracleOptions>?];

const bad: readonly Case[] = [
  ["an answer without position", [w(1, 1)], ["no-position"]],
  ["two terms at one LSN", [w(1, 1, at(1, 1)), r(2, 1, at(1, 2))], ["two-terms"]],
  [
    "a split brain acknowledges the same LSN twice",
    [w(1, 1, { ...at(5, 1), ...overlap }), w(2, 2, { ...at(5, 2), ...overlap })],
    ["two-terms"],
  ],
  ["the term falls", [w(1, 1, at(1, 3)), w(2, 2, at(2, 2))], ["term-falls"]],
  ["the term falls between reads", [r(1, null, at(4, 3)), r(2, null, at(6, 2))], ["term-falls"]],
  [
    "a stale read that is honest about it",
    [w(1, 1, at(1)), w(2, 2, at(2)), r(3, 1, at(1))],
    ["stale-position"],
  ],
  ["a read older than another read", [r(1, null, at(7)), r(2, null, at(6))], ["stale-position"]],
  [
    "a write at an LSN that was acknowledged before",
    [w(1, 1, at(3)), w(2, 2, at(3))],
    ["reused-lsn"],
  ],
  [
    "a write below what was acknowledged before",
    [w(1, 1, at(3)), w(2, 2, at(2)), r(3, 1, at(3))],
    ["reused-lsn"],
  ],
  [
    "a write into an entry that a read has shown",
    [r(1, null, at(3)), w(2, 2, at(3))],
    ["reused-lsn", "old-value"],
  ],
  ["a lost write", [w(1, 1, at(1)), w(2, 2, at(2)), r(3, 1, at(2))], ["old-value"]],
  ["a lost first write", [w(1, 1, at(1)), r(3, null, at(2))], ["old-value"]],
  ["a lost append", [append(1, 1, at(1)), append(2, 2, at(2)), r(3, [2], at(2))], ["old-value"]],
  [
    "a lost append, seen much later",
    [append(1, 1, at(1)), append(2, 2, at(2)), r(3, [1], at(9))],
    ["old-value"],
  ],
  [
    "a read shows more than its position",
    [w(1, 1, at(1)), w(2, 2, { ...at(3), at: [10, 90] }), r(3, 2, { ...at(2), at: [20, 30] })],
    ["future-value"],
  ],
  [
    "a list shows more than its position",
    [append(1, 1, { ...at(3), at: [10, 90] }), r(3, [1], { ...at(2), at: [20, 30] })],
    ["future-value"],
  ],
  [
    "a failed write is seen",
    [w(1, 1, at(1)), w(2, 2, { type: "fail" }), r(3, 2, at(2))],
    ["failed-value"],
  ],
  ["a failed append is seen", [append(1, 1, { type: "fail" }), r(3, [1], at(2))], ["failed-value"]],
  ["a value from nowhere", [w(1, 1, at(1)), r(3, 9, at(1))], ["wrong-value"]],
  [
    "a list in the wrong order",
    [append(1, 1, at(1)), append(2, 2, at(2)), r(3, [2, 1], at(2))],
    ["wrong-value"],
  ],
  ["an append applied twice", [append(1, 1, at(1)), r(3, [1, 1], at(2))], ["wrong-value"]],
  [
    "a comparison that cannot have succeeded",
    [w(1, 1, at(1)), cas(2, 2, 3, at(2))],
    ["wrong-value"],
  ],
  [
    "a comparison that cannot have failed",
    [w(1, 1, at(1)), cas(2, 1, 3, { ...at(2), out: false })],
    ["wrong-value"],
  ],
  [
    "an unknown write is seen, then unseen",
    [w(1, 1, at(1)), w(2, 2, { type: "info" }), r(3, 2, at(2)), r(3, 1, at(3))],
    ["old-value"],
  ],
  [
    "an unknown write is seen below where it can be",
    [w(1, 1, at(5)), w(2, 2, { type: "info" }), r(3, 2, { ...at(4) })],
    ["stale-position", "old-value"],
  ],
  [
    "an unknown write whose LSN is known is seen too early",
    [
      w(1, 1, at(1)),
      w(2, 2, { type: "info", pos: [8, 1], at: [12, 95] }),
      r(3, 2, { ...at(4), at: [20, 30] }),
    ],
    ["future-value"],
  ],
  [
    "a transaction that is seen by half",
    [
      txn(
        1,
        [
          ["w", "x", 1],
          ["w", "y", 1],
        ],
        at(2),
      ),
      txn(
        2,
        [
          ["r", "x", 1],
          ["r", "y", null],
        ],
        at(2),
      ),
    ],
    ["old-value"],
  ],
  [
    "two writes in an entry that holds one",
    [w(1, 1, { ...at(5), ...overlap }), w(2, 2, { ...at(5), ...overlap })],
    ["shared-lsn"],
    { groupCommit: false },
  ],
  [
    "two readers of one LSN disagree",
    [
      w(1, 1, { ...at(5), ...overlap }),
      w(2, 2, { ...at(5), ...overlap }),
      r(3, 1, { ...at(5), at: [110, 120] }),
      r(4, 2, { ...at(5), at: [111, 121] }),
    ],
    ["old-value"],
  ],
];

const good: readonly Case[] = [
  ["nothing", [], []],
  [
    "writes of one entry in any order",
    [
      w(1, 1, { ...at(5), ...overlap }),
      w(2, 2, { ...at(5), ...overlap }),
      r(3, 1, { ...at(5), at: [110, 120] }),
    ],
    [],
  ],
  [
    "a read of an old state while a write is acknowledged",
    [w(1, 1, at(1)), w(2, 2, { ...at(2), at: [10, 30] }), r(3, 1, { ...at(1), at: [20, 40] })],
    [],
  ],
  [
    "a stale read that may be stale",
    [w(1, 1, at(1)), w(2, 2, at(2)), r(3, 1, at(1))],
    [],
    { isLinearizable: () => false },
  ],
  [
    "an unknown write between known ones",
    [
      w(1, 1, at(1)),
      w(2, 2, { type: "info" }),
      r(3, 1, at(1)),
      r(3, 2, at(2)),
      w(4, 4, at(3)),
      r(3, 4, at(3)),
    ],
    [],
  ],
  [
    "an unknown append under a known one",
    [
      append(1, 1, at(1)),
      append(2, 2, { type: "info" }),
      append(3, 3, at(3)),
      r(4, [1, 2, 3], at(3)),
    ],
    [],
  ],
  [
    "a failed comparison in the middle of its entry",
    [
      w(1, 1, { ...at(5), ...overlap }),
      cas(2, 0, 9, { ...at(5), ...overlap, out: false }),
      w(3, 0, { ...at(5), ...overlap }),
      r(4, 0, { ...at(5), at: [110, 120] }),
    ],
    [],
  ],
];

describe("positions and what was read at them", () => {
  for (const [claim, hands, names, more] of bad) {
    test(claim, () => {
      const verdict = checkPositions(byHand(hands), { ...options, ...more });
      assert.equal(verdict.valid, false);
      assert.deepEqual(Object.keys(verdict.counts).sort(), [...names].sort());
    });
  }
  for (const [claim, hands, , more] of good) {
    test(`right: ${claim}`, () => {
      assert.deepEqual(checkPositions(byHand(hands), { ...options, ...more }).anomalies, []);
    });
  }
});

const kinds = ["registers", "lists", "transactions", "list transactions"] as const;
type Kind = (typeof kinds)[number];

function wishes(prng: Prng, kind: Kind): () => Wish {
  let count = 0;
  return () => {
    const key = `k${prng.integer(0, 3)}`;
    if (kind === "transactions" || kind === "list transactions") {
      const write = kind === "transactions" ? "w" : "append";
      const value = Array.from({ length: prng.integer(1, 4) }, (): Json[] => {
        const name = `k${prng.integer(0, 3)}`;
        return prng.chance(0.5) ? ["r", name, null] : [write, name, count++];
      });
      return { op: "txn", value };
    }
    if (prng.chance(0.4)) return { op: "read", key };
    if (kind === "lists") return { op: "append", key, value: count++ };
    if (prng.chance(0.2)) return { op: "cas", key, value: [Math.max(0, count - 1), count++] };
    return { op: "write", key, value: count++ };
  };
}

function randomHistory(seed: number, kind: Kind): Operation[] {
  const prng = new Prng(seed);
  const refuse = prng.child();
  return runPaired({
    prng,
    clients: prng.integer(1, 9),
    operations: 80,
    wish: wishes(prng.child(), kind),
    lost: prng.chance(0.5) ? 0.08 : 0,
    alone: prng.chance(0.3),
    effect: (rows, wish) => (refuse.chance(0.05) ? undefined : tableEffect(rows, wish)),
  });
}

describe("random positions", () => {
  for (const kind of kinds) {
    test(`350 right histories of ${kind} pass`, () => {
      for (let seed = 0; seed < 350; seed++) {
        const verdict = checkPositions(randomHistory(seed, kind), options);
        assert.equal(verdict.valid, true, `seed ${seed}: ${verdict.anomalies[0]?.text}`);
      }
    });
  }

  test("an answer from another moment is caught", () => {
    let tried = 0;
    for (let seed = 0; seed < 400; seed++) {
      const prng = new Prng(seed);
      const operations = randomHistory(seed, "registers");
      const reads = operations.filter(
        ({ op, outcome, output }) => op === "read" && outcome === "ok" && output !== null,
      );
      if (reads.length < 5 || operations.some(({ outcome }) => outcome === "info")) continue;
      const victim = reads[prng.integer(0, reads.length)]!;
      const others = reads.filter(
        ({ key, output, lsn }) =>
          key === victim.key && output !== victim.output && lsn !== victim.lsn,
      );
      if (others.length === 0) continue;
      tried++;
      const { output } = others[prng.integer(0, others.length)]!;
      const changed = operations.map((op): Operation => (op === victim ? { ...op, output } : op));
      assert.equal(checkPositions(changed, options).valid, false, `seed ${seed}`);
    }
    assert.ok(tried > 100, `${tried} tried`);
  });

  test("100,000 operations of 32 clients on three keys", () => {
    const prng = new Prng(3);
    const operations = runPaired({
      prng,
      clients: 32,
      operations: 100_000,
      wish: wishes(prng.child(), "registers"),
      effect: tableEffect,
      lost: 0.001,
    });
    const startMs = performance.now();
    const verdict = checkPositions(operations, options);
    assert.deepEqual(verdict.anomalies, []);
    assert.ok(performance.now() - startMs < 6000, "takes about a second");
  });
});
