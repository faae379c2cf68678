import assert from "node:assert/strict";
import { test } from "node:test";
import type { List } from "./list.ts";
import { listOf, ways } from "./make/lists.ts";
import type { Difference } from "./play.ts";
import { shrunk } from "./shrink.ts";
import { printed } from "./texts.ts";

test("a list is what its seed says, today and tomorrow", () => {
  for (let seed = 1; seed < 50; seed++) {
    assert.equal(printed(listOf(seed)), printed(listOf(seed)));
    assert.notEqual(printed(listOf(seed)), printed(listOf(seed + 1)));
  }
});

test("lists are sent in every way, and every parameter has a value unless one is to lack", () => {
  const lists = Array.from({ length: 300 }, (_, seed) => listOf(seed));
  assert.deepEqual(new Set(lists.map(({ way }) => way)), new Set(ways));
  for (const { sends } of lists) {
    for (const { statement } of sends.flatMap((s) => s.requests).flatMap((r) => r.steps)) {
      for (const { value } of statement.args) assert.notEqual(value, undefined);
      assert.doesNotMatch(statement.sql, /[⟦⟧]/);
    }
  }
});

test("what differs is shrunk to the statement that makes the difference", async () => {
  const list = listOf(7);
  const statements = list.sends.flatMap((s) => s.requests).flatMap((r) => r.steps);
  const culprit = statements.at(-3)!.statement.plain;
  const play = async (smaller: List): Promise<Difference | undefined> => {
    const left = smaller.sends.flatMap((s) => s.requests).flatMap((r) => r.steps);
    const found = left.some(({ statement }) => statement.plain === culprit);
    return found ? { what: "culprit", detail: "" } : undefined;
  };
  const { list: smallest } = await shrunk(list, { what: "culprit", detail: "" }, play);
  const left = smallest.sends.flatMap((s) => s.requests).flatMap((r) => r.steps);
  assert.deepEqual(
    left.map(({ statement }) => statement.plain),
    [culprit],
  );
});
