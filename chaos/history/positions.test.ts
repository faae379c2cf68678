/** The oracle over hand-made answers: each lie is named, and a true history passes. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { HistoryEvent, Json } from "../../src/sim/checkers/history.ts";
import { PositionOracle } from "./positions.ts";

type Step = {
  readonly p: string;
  readonly op?: string;
  readonly type?: HistoryEvent["type"];
  readonly value?: Json;
  readonly at?: readonly [number, number];
};

function anomaliesOf(steps: readonly Step[]): string[] {
  const found: string[] = [];
  const oracle = new PositionOracle((name) => found.push(name));
  for (const [i, { p, op = "write", type = "invoke", value, at }] of steps.entries()) {
    const place = { lsn: at?.[0], term: at?.[1] };
    const event = { process: p, op, type, value, key: "register/1", atNs: i, node: "a" };
    oracle.add({ ...event, ...place });
  }
  return found;
}

function done(p: string, at: readonly [number, number], more: Partial<Step> = {}): Step[] {
  const { op = "write", value } = more;
  return [
    { p, op, ...(value === undefined ? {} : { value }) },
    { p, op, type: "ok", at },
  ];
}

const read = { op: "read" } as const;

test("a true history passes", () => {
  const steps = [
    ...done("a", [1, 1]),
    ...done("b", [1, 1], read),
    ...done("b", [2, 1]),
    ...done("c", [1, 1], { op: "read", value: "stale" }),
    ...done("a", [4, 3]),
    ...done("a", [4, 3], read),
  ];
  assert.deepEqual(anomaliesOf(steps), []);
});

test("writes that were under way together may share an entry", () => {
  const steps: Step[] = [
    { p: "a" },
    { p: "b" },
    { p: "a", type: "ok", at: [5, 1] },
    { p: "b", type: "ok", at: [5, 1] },
  ];
  assert.deepEqual(anomaliesOf(steps), []);
});

test("a linearizable read below what was told is stale", () => {
  assert.deepEqual(anomaliesOf([...done("a", [2, 1]), ...done("b", [1, 1], read)]), [
    "stale-position",
  ]);
});

test("what was told after a read began does not bind it", () => {
  const steps: Step[] = [
    { p: "b", op: "read" },
    ...done("a", [2, 1]),
    { p: "b", op: "read", type: "ok", at: [1, 1] },
  ];
  assert.deepEqual(anomaliesOf(steps), []);
});

test("a write at a position that was told before is a second history", () => {
  assert.deepEqual(anomaliesOf([...done("a", [2, 1]), ...done("b", [2, 1])]), ["reused-lsn"]);
});

test("a comparison that failed and a transaction that only reads are reads", () => {
  const swap: Step[] = [
    { p: "b", op: "cas", value: [1, 2] },
    { p: "b", op: "cas", type: "ok", value: false, at: [2, 1] },
  ];
  const reads = done("c", [2, 1], { op: "txn", value: [["r", 1, null]] });
  assert.deepEqual(anomaliesOf([...done("a", [2, 1]), ...swap, ...reads]), []);
});

test("a read below the position it asked for", () => {
  const steps: Step[] = [
    { p: "a", op: "read", value: "session", at: [7, 1] },
    { p: "a", op: "read", type: "ok", at: [6, 1] },
  ];
  assert.deepEqual(anomaliesOf(steps), ["below-asked"]);
});

test("two terms at one LSN, and a term that falls", () => {
  const stale = { op: "read", value: "stale" } as const;
  assert.deepEqual(anomaliesOf([...done("a", [2, 1]), ...done("b", [2, 3], stale)]), ["two-terms"]);
  assert.deepEqual(anomaliesOf([...done("a", [2, 4]), ...done("b", [3, 3], stale)]), [
    "term-falls",
  ]);
});

test("an answer without position", () => {
  assert.deepEqual(anomaliesOf([{ p: "a" }, { p: "a", type: "ok" }]), ["no-position"]);
});
