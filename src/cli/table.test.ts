// Tables as a terminal shows them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatTable } from "./table.ts";

test("columns are as wide as what they show, numbers to the right", () => {
  const rows = [
    ["1", "日本", "a\nb\u0007"],
    ["22", "é😀", "x".repeat(12)],
  ];
  assert.deepEqual(formatTable(["n", "word", ""], rows, { right: [0], cellMax: 8 }), [
    " n  word",
    "──  ────  ────────",
    " 1  日本  a⏎b\\x07",
    "22  é😀   xxxxxxx…",
  ]);
});
