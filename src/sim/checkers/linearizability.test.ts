import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "../../base/prng.ts";
import type { Json } from "./history.ts";
import { checkLinearizability } from "./linearizability.ts";
import type { Operation } from "./operations.ts";
import { type Model, setModel, tableModel } from "./search/models.ts";
import { byHand, type Hand, runPaired, tableEffect, type Wish } from "./test-store.ts";

const options = (model: Model) => ({ model, nowMs: () => performance.now(), budgetMs: 20_000 });
const table = options(tableModel());
const sets = options(setModel);

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
const add = (p: number, value: Json, more: Partial<Hand> = {}): Hand => {
  return { p, op: "add", key: "x", in: value, ...more };
};

const bad: Record<string, readonly Hand[]> = {
  "stale read": [w(1, 1), w(2, 2), r(3, 1)],
  "lost write": [w(1, 1), r(2, null)],
  "value out of nowhere": [w(1, 1), r(2, 7)],
  "value of a failed write": [w(1, 1), w(2, 2, { type: "fail" }), r(3, 2)],
  "read from the future": [r(1, 1), w(2, 1)],
  "reads go back while a write is under way": [
    w(1, 1),
    w(2, 2, { at: [10, 100] }),
    r(3, 2, { at: [20, 30] }),
    r(4, 1, { at: [40, 50] }),
  ],
  "two readers see two writes in different orders": [
    w(1, 1, { at: [0, 100] }),
    w(2, 2, { at: [0, 100] }),
    r(3, 1, { at: [10, 20] }),
    r(3, 2, { at: [30, 40] }),
    r(4, 2, { at: [11, 21] }),
    r(4, 1, { at: [31, 41] }),
  ],
  "two comparisons with one value succeed": [w(1, 0), cas(2, 0, 1), cas(3, 0, 2)],
  "two concurrent comparisons with one value succeed": [
    w(1, 0, { at: [0, 1] }),
    cas(2, 0, 1, { at: [10, 90] }),
    cas(3, 0, 2, { at: [11, 91] }),
  ],
  "a comparison fails that cannot": [w(1, 0), cas(2, 0, 1, { out: false })],
  "a comparison succeeds that cannot": [w(1, 5), cas(2, 0, 1)],
  "an unknown write is seen, unseen, and seen again": [
    w(1, 1),
    w(2, 2, { type: "info", at: [12, 13] }),
    r(3, 2),
    r(3, 1),
    r(3, 2),
  ],
  "an unknown write is seen before it began": [r(1, 2), w(2, 2, { type: "info" })],
  "a write that must have happened before a comparison cannot hide behind a later write": [
    w(1, 1),
    w(3, 7, { at: [10, 90] }),
    w(2, 9, { at: [12, 20] }),
    cas(4, 1, 5, { at: [30, 40] }),
  ],
  "lost append": [append(1, 1), append(2, 2), r(3, [2])],
  "appends in the wrong order": [append(1, 1), append(2, 2), r(3, [2, 1])],
  "append seen twice": [append(1, 1), r(3, [1, 1])],
  "append goes away": [append(1, 1), append(2, 2), r(3, [1, 2]), r(3, [1])],
  "an element inserted before what was read": [
    append(1, 1),
    r(2, [1]),
    append(3, 2, { type: "info", at: [12, 13] }),
    append(4, 3),
    r(2, [1, 3]),
    r(2, [1, 2, 3]),
  ],
  "a lost write behind twenty good ones": [
    ...Array.from({ length: 20 }, (_, i) => [w(1, i), r(2, i)]).flat(),
    w(1, 20),
    r(2, 19),
  ],
};

const badSets: Record<string, readonly Hand[]> = {
  "lost addition": [add(1, 1), add(2, 2), r(3, [2])],
  "addition goes away": [
    add(1, 1, { at: [0, 90] }),
    r(2, [1], { at: [10, 20] }),
    r(2, [], { at: [30, 40] }),
  ],
  "element out of nowhere": [add(1, 1), r(2, [1, 9])],
  "refused element": [add(1, 1, { type: "fail" }), r(2, [1])],
  "readers disagree": [
    add(1, 1, { at: [0, 90] }),
    add(2, 2, { at: [0, 90] }),
    r(3, [1], { at: [10, 20] }),
    r(4, [2], { at: [12, 22] }),
  ],
};

const good: Record<string, readonly Hand[]> = {
  nothing: [],
  "a concurrent write may be seen or not": [
    w(1, 1),
    w(2, 2, { at: [20, 90] }),
    r(3, 1, { at: [30, 35] }),
    r(4, 2, { at: [40, 45] }),
  ],
  "an unknown write may happen late": [
    w(1, 1),
    w(2, 2, { type: "info" }),
    r(3, 1),
    r(3, 2),
    r(4, 2),
  ],
  "an unknown write may never happen": [w(1, 1), w(2, 2, { type: "info" }), r(3, 1), r(3, 1)],
  "an unknown comparison that did not fit": [w(1, 1), cas(2, 3, 4, { type: "info" }), r(3, 1)],
  "a write hidden behind another": [
    w(1, 1, { at: [0, 50] }),
    w(2, 2, { at: [0, 50] }),
    r(3, 1, { at: [60, 61] }),
  ],
  "a hidden write is the one that counts at the end": [
    w(1, 1, { at: [0, 50] }),
    w(2, 2, { at: [0, 50] }),
    w(3, 3, { at: [0, 50] }),
    r(4, 3, { at: [10, 20] }),
    r(4, 2, { at: [60, 61] }),
  ],
  "empty list, null and no rows are one": [r(1, []), r(1, null), append(1, 1), r(1, [1])],
  "an unknown append in the middle": [
    append(1, 1),
    append(2, 2, { type: "info" }),
    append(3, 3),
    r(4, [1, 2, 3]),
  ],
  "a failed comparison explained by an unknown write": [
    w(1, 1),
    w(2, 2, { type: "info" }),
    cas(3, 1, 5, { out: false }),
    r(3, 2),
  ],
};

describe("what is not linearizable", () => {
  for (const [claim, hands] of Object.entries(bad)) {
    test(claim, () => {
      const verdict = checkLinearizability(byHand(hands), table);
      assert.equal(verdict.valid, false);
      assert.deepEqual(verdict.counts, { "not-linearizable": 1 });
      assert.notEqual(verdict.anomalies[0]!.operations.length, 0);
    });
  }
  for (const [claim, hands] of Object.entries(badSets)) {
    test(`set: ${claim}`, () => {
      assert.equal(checkLinearizability(byHand(hands), sets).valid, false);
    });
  }
});

describe("what is linearizable", () => {
  for (const [claim, hands] of Object.entries(good)) {
    test(claim, () => {
      const verdict = checkLinearizability(byHand(hands), table);
      assert.deepEqual(
        verdict.anomalies.map(({ text }) => text),
        [],
      );
    });
  }
});

/** Unique values, or a handful of them, where nothing is hidden by its name. */
function wishes(prng: Prng, kind: "unique" | "few" | "list" | "set"): () => Wish {
  let count = 0;
  return () => {
    const key = `k${prng.integer(0, 2)}`;
    if (prng.chance(0.4)) return { op: "read", key };
    if (kind === "list") return { op: "append", key, value: count++ };
    if (kind === "set") return { op: "add", key, value: count++ };
    const value = kind === "few" ? prng.integer(0, 3) : count++;
    if (prng.chance(0.3))
      return { op: "cas", key, value: [prng.integer(0, Math.max(3, count)), value] };
    return { op: "write", key, value };
  };
}

function randomHistory(seed: number, kind: "unique" | "few" | "list" | "set"): Operation[] {
  const prng = new Prng(seed);
  const clients = prng.integer(1, 7);
  const lost = prng.chance(0.5) ? 0.08 : 0;
  const wish = wishes(prng.child(), kind);
  const refuse = prng.child();
  return runPaired({
    prng,
    clients,
    operations: 60,
    wish,
    lost,
    effect: (rows, wanted) => (refuse.chance(0.03) ? undefined : tableEffect(rows, wanted)),
  });
}

describe("random histories", () => {
  for (const kind of ["unique", "few", "list", "set"] as const) {
    test(`250 right ones of kind ${kind} pass`, () => {
      for (let seed = 0; seed < 250; seed++) {
        const verdict = checkLinearizability(
          randomHistory(seed, kind),
          kind === "set" ? sets : table,
        );
        assert.equal(verdict.valid, true, `seed ${seed}: ${verdict.anomalies[0]?.text}`);
      }
    });
  }

  test("the search agrees with trying every order", () => {
    let wrong = 0;
    for (let seed = 0; seed < 5000; seed++) {
      const prng = new Prng(seed * 7 + 1);
      const kind = (["unique", "few", "few", "list"] as const)[seed % 4]!;
      const wish = wishes(prng.child(), kind);
      const operations = runPaired({
        prng,
        clients: 5,
        operations: 9,
        wish: () => ({ ...wish(), key: "x" }),
        lost: 0.25,
        effect: tableEffect,
      });
      const changed = operations.map((operation) => spoil(operation, prng));
      const expected = existsOrder(changed, new Map());
      assert.equal(checkLinearizability(changed, table).valid, expected, `seed ${seed}`);
      if (!expected) wrong++;
    }
    assert.ok(wrong > 500 && wrong < 4500, `${wrong} of 5000 are wrong`);
  });
});

/** Now and then another answer. */
function spoil(operation: Operation, prng: Prng): Operation {
  if (operation.outcome !== "ok" || !prng.chance(0.15)) return operation;
  if (operation.op === "cas") return { ...operation, output: operation.output !== true };
  if (operation.op !== "read") return operation;
  const { output } = operation;
  if (Array.isArray(output)) return { ...operation, output: output.slice(0, -1) };
  return { ...operation, output: prng.integer(0, 4) };
}

/** The definition: some operation that may come first, and an order of the rest. */
function existsOrder(left: readonly Operation[], rows: Map<string, Json>): boolean {
  if (left.every(({ outcome }) => outcome === "info")) return true;
  const end = Math.min(...left.map(({ returnedAt }) => returnedAt));
  return left.some((operation) => {
    if (operation.invokedAt > end) return false;
    const { op, key, input, output, outcome } = operation;
    const after = new Map(rows);
    const answer = tableEffect(after, { op, value: input, key: key! });
    const fits = outcome === "info" || op === "write" || op === "append" || same(answer, output);
    return (
      fits &&
      existsOrder(
        left.filter((other) => other !== operation),
        after,
      )
    );
  });
}

function same(a: Json | undefined, b: Json): boolean {
  const plain = (value: Json | undefined): Json | undefined =>
    Array.isArray(value) && value.length === 0 ? null : value;
  return JSON.stringify(plain(a)) === JSON.stringify(plain(b));
}

describe("size", () => {
  const run = (clients: number, operations: number, kind: "unique" | "few") => {
    const prng = new Prng(11);
    const wish = wishes(prng.child(), kind);
    const one = () => ({ ...wish(), key: "x" });
    return runPaired({ prng, clients, operations, wish: one, effect: tableEffect });
  };

  test("10,000 operations of 5 clients on one key, unique and few values", () => {
    for (const kind of ["unique", "few"] as const) {
      const operations = run(5, 10_000, kind);
      const startMs = performance.now();
      assert.equal(checkLinearizability(operations, table).valid, true);
      assert.ok(performance.now() - startMs < 3000, "takes a fraction of a second");
    }
  });

  test("2,000 operations of 20 clients on one key", () => {
    const operations = run(20, 2000, "unique");
    assert.equal(checkLinearizability(operations, table).valid, true);
  });

  test("the end of the budget is said, and one hard key does not hide the fault of another", () => {
    const late: Operation[] = byHand([w(1, 1, { key: "y" }), r(2, 3, { key: "y" })]);
    // Forty concurrent writes of four values, and a read that fits none: 2^40 configurations.
    const hard = byHand([
      ...Array.from({ length: 40 }, (_, i) => w(i, i % 4, { at: [0, 100] })),
      ...[0, 1, 2, 3].map((i) => r(50 + i, i, { at: [200 + i * 10, 205 + i * 10] })),
    ]);
    const both = [...hard, ...late.map((op) => ({ ...op, index: op.index + hard.length }))];
    let ms = 0;
    const verdict = checkLinearizability(both, {
      model: tableModel(),
      nowMs: () => ms++,
      budgetMs: 40,
    });
    assert.equal(verdict.valid, false);
    assert.deepEqual(verdict.counts, { "not-linearizable": 1, undecided: 1 });
    const small = checkLinearizability(hard, { ...table, memoryMax: 1000 });
    assert.equal(small.valid, "unknown");
  });
});
