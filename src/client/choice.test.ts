import assert from "node:assert/strict";
import { test } from "node:test";
import { type Candidate, type ReadWish, rank } from "./choice.ts";

const plain = { leads: false, lagMs: 0, load: 0, near: true };
const node = (name: string, how: Partial<Candidate<string>> = {}): Candidate<string> => ({
  ...{ node: name, ...plain },
  ...how,
});
const any: ReadWish = { maxLagMs: 1_000, bounded: false };

function check(expected: string, candidates: readonly Candidate<string>[], wish = any): void {
  assert.equal(rank(candidates, wish).join(" "), expected);
}

test("followers before the leader, and the leader before those that are behind", () => {
  const nodes = [node("L", { leads: true }), node("old", { lagMs: 1_001 }), node("b")];
  check("b L old", nodes);
});

test("unknown lag is never taken for zero", () => {
  check("L new", [node("new", { lagMs: undefined }), node("L", { leads: true })]);
});

test("a bound leaves out what is behind it, even when nothing else is left", () => {
  const wish = { ...any, maxLagMs: 50, bounded: true };
  check("L", [node("b", { lagMs: 51 }), node("L", { leads: true })], wish);
  check("", [node("b", { lagMs: 51 }), node("c", { lagMs: undefined })], wish);
});

test("the less loaded, and among equals the order given", () => {
  check("c b", [node("b", { load: 3 }), node("c", { load: 2 })]);
  check("b c", [node("b"), node("c")]);
});

test("near before far, until the near one has much more to do", () => {
  const far = node("far", { near: false });
  check("near far", [far, node("near", { load: 15 })]);
  check("far near", [far, node("near", { load: 17 })]);
});

test("lag weighs like load", () => {
  check("b c", [node("b", { lagMs: 400 }), node("c")]);
  check("c b", [node("b", { lagMs: 900 }), node("c")]);
  check("b c", [node("b", { lagMs: 900 }), node("c", { load: 2 })]);
});
