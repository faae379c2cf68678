import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "../../base/prng.ts";
import { HistoryError, type Json } from "./history.ts";
import type { Operation } from "./operations.ts";
import { checkSessionPositions, checkSessions, type SessionAnomaly } from "./sessions.ts";
import { byHand, type Hand, runPaired, tableEffect, type Wish } from "./test-store.ts";

const append = (p: number, element: Json, more: Partial<Hand> = {}): Hand => {
  return { p, op: "append", key: "x", in: element, ...more };
};
const read = (p: number, out: Json, more: Partial<Hand> = {}): Hand => {
  return { p, op: "read", key: "x", out, ...more };
};
const pos = (lsn: number): Partial<Hand> => ({ pos: [lsn, 1] });

type Case = readonly [string, readonly Hand[], readonly SessionAnomaly[]];

const bad: readonly Case[] = [
  ["a read shows less than before", [append(1, 1), read(2, [1]), read(2, [])], ["monotonic-reads"]],
  [
    "a read shows no rows after some",
    [append(1, 1), read(2, [1]), read(2, null)],
    ["monotonic-reads"],
  ],
  [
    "a read shows the older half",
    [append(1, 1), append(1, 2), read(2, [1, 2]), read(2, [1])],
    ["monotonic-reads"],
  ],
  [
    "a read misses an element in the middle",
    [append(1, 1), append(3, 2), append(4, 3), read(2, [1, 2, 3]), read(2, [1, 3])],
    ["monotonic-reads"],
  ],
  [
    "two elements change places",
    [append(1, 1), append(3, 2), read(2, [1, 2]), read(2, [2, 1])],
    ["monotonic-reads"],
  ],
  [
    "reads go back and forth",
    [append(1, 1), read(2, [1]), read(2, []), read(2, [1])],
    ["monotonic-reads"],
  ],
  ["own write unseen", [append(1, 1), read(1, [])], ["read-your-writes"]],
  ["second own write unseen", [append(1, 1), append(1, 2), read(1, [1])], ["read-your-writes"]],
  [
    "own write unseen after other reads",
    [append(1, 1), read(2, [1]), append(2, 2), read(2, [1])],
    ["read-your-writes"],
  ],
  [
    "own write seen, then unseen",
    [append(1, 1), read(1, [1]), read(1, [])],
    ["monotonic-reads", "read-your-writes"],
  ],
  [
    "writes of one change places",
    [append(1, 1), append(1, 2), read(2, [2, 1])],
    ["monotonic-writes"],
  ],
  [
    "the second write without the first",
    [append(1, 1), append(1, 2), read(2, [2])],
    ["monotonic-writes"],
  ],
  [
    "the third write without the second",
    [append(1, 1), append(1, 2), append(1, 3), read(2, [1, 3])],
    ["monotonic-writes"],
  ],
  [
    "an unknown write without the one before",
    [append(1, 1), append(1, 2, { type: "info" }), read(2, [2])],
    ["monotonic-writes"],
  ],
  [
    "an answer before the question",
    [append(1, 1), read(2, [1]), append(2, 2), read(3, [2, 1])],
    ["writes-follow-reads"],
  ],
  [
    "an answer without the question",
    [append(1, 1), read(2, [1]), append(2, 2), read(3, [2])],
    ["writes-follow-reads"],
  ],
];

const good: readonly Case[] = [
  ["another session may see less", [append(1, 1), read(1, [1]), read(2, [])], []],
  ["another key", [append(1, 1), read(1, [], { key: "y" })], []],
  [
    "an unknown own write need not be seen",
    [append(1, 1, { type: "info" }), read(1, []), read(1, [1])],
    [],
  ],
  ["a failed own write", [append(1, 1, { type: "fail" }), read(1, [])], []],
  [
    "foreign elements in between",
    [append(1, 1), append(2, 9), append(1, 2), read(3, [1, 9, 2])],
    [],
  ],
];

const badPositions: readonly Case[] = [
  ["reads go back", [read(1, [], pos(5)), read(1, [], pos(4))], ["monotonic-reads"]],
  [
    "reads go back on another key",
    [read(1, [], pos(5)), read(1, [], { ...pos(4), key: "y" })],
    ["monotonic-reads"],
  ],
  [
    "reads go back twice",
    [read(1, [], pos(5)), read(1, [], pos(6)), read(1, [], pos(5))],
    ["monotonic-reads"],
  ],
  [
    "reads go back with others between",
    [read(1, [], pos(5)), read(2, [], pos(3)), read(1, [], pos(4))],
    ["monotonic-reads"],
  ],
  ["own write unseen", [append(1, 1, pos(5)), read(1, [], pos(4))], ["read-your-writes"]],
  [
    "own write unseen on another key",
    [append(1, 1, pos(5)), read(1, [], { ...pos(4), key: "y" })],
    ["read-your-writes"],
  ],
  [
    "own transaction unseen",
    [
      { p: 1, op: "txn", in: [["w", "x", 1]], out: [["w", "x", 1]], ...pos(5) },
      read(1, [], pos(4)),
    ],
    ["read-your-writes"],
  ],
  ["writes go back", [append(1, 1, pos(5)), append(1, 2, pos(4))], ["monotonic-writes"]],
  [
    "two writes of one session in one entry",
    [append(1, 1, pos(5)), append(1, 2, pos(5))],
    ["monotonic-writes"],
  ],
  [
    "a write into the entry it has read",
    [read(1, [], pos(5)), append(1, 2, pos(5))],
    ["writes-follow-reads"],
  ],
  [
    "a write below what it has read",
    [read(1, [], pos(5)), append(1, 2, pos(4))],
    ["writes-follow-reads"],
  ],
  [
    "a comparison below what it has read",
    [read(1, [], pos(5)), { p: 1, op: "cas", key: "x", in: [1, 2], out: true, ...pos(5) }],
    ["writes-follow-reads"],
  ],
  [
    "a failed comparison older than a read",
    [read(1, [], pos(5)), { p: 1, op: "cas", key: "x", in: [1, 2], out: false, ...pos(4) }],
    ["monotonic-reads"],
  ],
  [
    "a reading transaction older than a read",
    [
      read(1, [], pos(5)),
      { p: 1, op: "txn", in: [["r", "x", null]], out: [["r", "x", null]], ...pos(4) },
    ],
    ["monotonic-reads"],
  ],
];

const goodPositions: readonly Case[] = [
  ["another session may be behind", [append(1, 1, pos(5)), read(2, [], pos(4))], []],
  [
    "several reads of one entry",
    [append(1, 1, pos(5)), read(1, [], pos(5)), read(1, [], pos(5))],
    [],
  ],
  ["answers without position", [append(1, 1, pos(5)), read(1, [])], []],
];

describe("sessions, by value", () => {
  checkCases(checkSessions, bad, good);
  test("a workload that appends an element twice is refused", () => {
    assert.throws(() => checkSessions(byHand([append(1, 1), append(2, 1)])), HistoryError);
  });
});

describe("sessions, by position", () =>
  checkCases(checkSessionPositions, badPositions, goodPositions));

function checkCases(
  check: typeof checkSessions,
  wrong: readonly Case[],
  right: readonly Case[],
): void {
  for (const [claim, hands, names] of wrong) {
    test(claim, () => {
      const verdict = check(byHand(hands));
      assert.equal(verdict.valid, false);
      assert.deepEqual(Object.keys(verdict.counts).sort(), [...names].sort());
    });
  }
  for (const [claim, hands] of right) {
    test(`right: ${claim}`, () => assert.deepEqual(check(byHand(hands)).anomalies, []));
  }
}

function randomHistory(seed: number): Operation[] {
  const prng = new Prng(seed);
  const draw = prng.child();
  let count = 0;
  const wish = (): Wish => {
    const key = `k${draw.integer(0, 2)}`;
    return draw.chance(0.5) ? { op: "read", key } : { op: "append", key, value: count++ };
  };
  return runPaired({
    prng,
    clients: prng.integer(1, 9),
    operations: 60,
    wish,
    lost: prng.chance(0.5) ? 0.1 : 0,
    effect: (rows, wanted) => (draw.chance(0.05) ? undefined : tableEffect(rows, wanted)),
  });
}

describe("random sessions", () => {
  test("1,000 right histories pass", () => {
    for (let seed = 0; seed < 1000; seed++) {
      const operations = randomHistory(seed);
      for (const check of [checkSessions, checkSessionPositions]) {
        const verdict = check(operations);
        assert.equal(verdict.valid, true, `seed ${seed}: ${verdict.anomalies[0]?.text}`);
      }
    }
  });

  test("a session that is moved to a node behind is caught by both", () => {
    let caught = 0;
    for (let seed = 0; seed < 100; seed++) {
      const operations = randomHistory(seed);
      const changed = operations.map((operation): Operation => {
        if (operation.op !== "read" || operation.outcome !== "ok") return operation;
        const list = (operation.output ?? []) as Json[];
        const own = operations.some(
          (other) =>
            other.process === operation.process &&
            other.key === operation.key &&
            other.op === "append" &&
            other.outcome === "ok" &&
            other.index < operation.index &&
            other.input === list.at(-1),
        );
        return own ? { ...operation, output: list.slice(0, -1), lsn: 0 } : operation;
      });
      if (changed.every((operation, i) => operation === operations[i])) continue;
      caught++;
      assert.ok("read-your-writes" in checkSessions(changed).counts, `seed ${seed}`);
      assert.ok("read-your-writes" in checkSessionPositions(changed).counts, `seed ${seed}`);
    }
    assert.ok(caught > 50);
  });
});
