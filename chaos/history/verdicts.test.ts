/** Every family of keys has a checker that sees a lie: histories of a store that tells the truth, and one lie in each. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../src/base/prng.ts";
import type { HistoryEvent, Json } from "../../src/sim/checkers/history.ts";
import {
  type Effect,
  runStore,
  tableEffect,
  type Wish,
} from "../../src/sim/checkers/test-store.ts";
import { bankOpening } from "../load/bank.ts";
import { checkWindow } from "./verdicts.ts";

const effectOfBank: Effect = (table, { op, value }) => {
  const balances = { ...bankOpening, ...(table.get("bank") as Record<string, number>) };
  if (op === "read") return balances;
  const { from, to, amount } = value as { from: string; to: string; amount: number };
  balances[from]! -= amount;
  balances[to]! += amount;
  table.set("bank", balances);
  return true;
};

type Family = { readonly wish: (prng: Prng, next: () => number) => Wish; readonly effect?: Effect };

const families: Record<string, Family> = {
  "cell-0/3": {
    wish: (prng, next) => {
      const key = "cell-0/3";
      const dice = prng.integer(0, 3);
      if (dice === 0) return { op: "read", key };
      if (dice === 1) return { op: "write", key, value: next() };
      return { op: "cas", key, value: [next() - 1, next()] };
    },
  },
  "list/3": {
    wish: (prng, next) => {
      const part = (): Json =>
        prng.chance(0.5) ? ["r", prng.integer(0, 3), null] : ["append", prng.integer(0, 3), next()];
      return { op: "txn", key: "list/3", value: [part(), part()] };
    },
    effect: (table, { op, value }) =>
      tableEffect(table, {
        op,
        value: (value as [string, number, Json][]).map(([f, key, v]) => [f, String(key), v]),
      }),
  },
  "bank/3": {
    wish: (prng) => {
      const key = "bank/3";
      if (prng.chance(0.4)) return { op: "read", key, value: "linearizable" };
      const from = prng.integer(0, 8);
      const to = (from + prng.integer(1, 8)) % 8;
      const value = { from: String(from), to: String(to), amount: prng.integer(1, 9) };
      return { op: "transfer", key, value };
    },
    effect: effectOfBank,
  },
  "session/3": {
    wish: (prng, next) => {
      const key = "session/3";
      return prng.chance(0.5) ? { op: "append", key, value: next() } : { op: "read", key };
    },
    effect: (table, wish) =>
      wish.op === "read" ? (table.get("session/3") ?? []) : tableEffect(table, wish),
  },
};

function historyOf(name: string, seed: number): HistoryEvent[] {
  const prng = new Prng(seed);
  let value = 0;
  const { wish, effect = tableEffect } = families[name]!;
  const next = () => ++value;
  const ran = { prng, clients: 4, operations: 200, lost: 0.03, alone: true };
  return runStore({ ...ran, wish: () => wish(prng, next), effect });
}

for (const key of Object.keys(families)) {
  test(`${key}: the truth passes`, () => {
    for (let seed = 1; seed <= 20; seed++) {
      const events = historyOf(key, seed);
      const { operations, findings } = checkWindow({ key, events });
      assert.deepEqual(findings, []);
      assert.ok(operations >= 200);
    }
  });

  test(`${key}: one false answer is found`, () => {
    for (let seed = 1; seed <= 20; seed++) {
      const events = historyOf(key, seed);
      const lie = key === "bank/3" ? withTornRead(events) : withOldAnswer(events);
      const { findings } = checkWindow({ key, events: lie });
      assert.notEqual(findings.length, 0, `seed ${seed}`);
    }
  });
}

test("a history that is itself wrong is no pass", () => {
  const [first] = historyOf("cell-0/3", 1);
  const { findings } = checkWindow({ key: "cell-0/3", events: [first!, first!] });
  assert.equal(findings[0]?.kind, "undecided");
});

/** One read of a bank saw one half of a transfer. */
function withTornRead(events: readonly HistoryEvent[]): HistoryEvent[] {
  const torn = events.findLast(({ op, type }) => op === "read" && type === "ok")!;
  const balances = torn.value as Record<string, number>;
  const value = { ...balances, "3": balances["3"]! + 5 };
  return events.map((event) => (event === torn ? { ...torn, value } : event));
}

/** A late read gives what an early one of the same client gave, at the position of the early one. */
function withOldAnswer(events: readonly HistoryEvent[]): HistoryEvent[] {
  const firstPart = ({ value }: HistoryEvent): Json[] => (value as Json[][])[0]!;
  const isTxn = events[0]!.op === "txn";
  const reads = events.filter(
    (event) =>
      event.type === "ok" && (event.op === "read" || (isTxn && firstPart(event)[0] === "r")),
  );
  for (const late of [...reads].reverse()) {
    const early = reads.find(
      (read) =>
        read.process === late.process && (!isTxn || firstPart(read)[1] === firstPart(late)[1]),
    )!;
    if (JSON.stringify(early.value) === JSON.stringify(late.value)) continue;
    const value = isTxn ? [firstPart(early), ...(late.value as Json[]).slice(1)] : early.value;
    return events.map((event) => (event === late ? { ...late, value, lsn: early.lsn } : event));
  }
  throw new Error("no two reads of one client differ");
}
