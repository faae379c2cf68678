import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CorruptionError } from "../base/errors.ts";
import { Prng } from "../base/prng.ts";
import { encodeChangeset } from "./encode-changeset.ts";
import { namedSteps } from "./named-steps.ts";
import type { RecordedTransaction, Step } from "./steps.ts";
import { decodeTransactions, encodeTransactions } from "./steps-codec.ts";
import type { SqlValue } from "./values.ts";

/** From 0 to n - 1. */
const below = (prng: Prng, n: number) => prng.integer(0, n);

const value: fc.Arbitrary<SqlValue> = fc.oneof(
  fc.constant(null),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.double({ noNaN: true }),
  fc.string({ unit: "grapheme" }),
  fc.uint8Array({ maxLength: 40 }),
);
const values = fc.array(value, { maxLength: 5 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    type: fc.constant("table" as const),
    table: fc.string(),
    columns: fc.array(fc.string(), { maxLength: 4 }),
  }),
  fc.record({ type: fc.constant("changeset" as const), bytes: fc.uint8Array({ maxLength: 600 }) }),
  fc.record({
    type: fc.constant("sequence" as const),
    table: fc.string(),
    value: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
  }),
  fc.record({
    type: fc.constant("statement" as const),
    why: fc.string(),
    statement: fc.record({
      sql: fc.string(),
      args: values,
      namedArgs: fc.array(fc.record({ name: fc.string(), value }), { maxLength: 3 }),
      foreignKeys: fc.boolean(),
      failed: fc.boolean(),
      isUnsure: fc.boolean(),
      captured: values,
      lastRowid: fc.option(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), {
        nil: undefined,
      }),
    }),
  }),
);
const transactions: fc.Arbitrary<RecordedTransaction[]> = fc.array(
  fc.record({ steps: fc.array(step, { maxLength: 6 }) }),
  { maxLength: 6 },
);

test("transactions come out as they went in", () => {
  const check = (wanted: RecordedTransaction[]) => {
    const found = decodeTransactions(encodeTransactions(wanted));
    assert.deepEqual(normal(found), normal(wanted));
  };
  fc.assert(fc.property(transactions, check), { seed: 4, numRuns: 300 });
  check([
    { steps: Array.from({ length: 500 }, () => ({ type: "table", table: "t", columns: ["a"] })) },
  ]);
});

/** Views, copies and Buffers of the same bytes are the same; objects of fast-check have no prototype. */
function normal(value: unknown): unknown {
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : value;
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString("hex")}'`;
  if (Array.isArray(value)) return value.map(normal);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, normal(each)]));
}

test("damaged bytes give CorruptionError or another content, nothing else", () => {
  const prng = new Prng(11);
  for (const sample of fc.sample(transactions, { seed: 9, numRuns: 40 })) {
    const whole = encodeTransactions(sample);
    for (let round = 0; round < 60; round++) {
      const bytes = new Uint8Array(whole);
      bytes[below(prng, bytes.length)] = below(prng, 256);
      const cut = bytes.subarray(
        0,
        below(prng, 4) === 0 ? below(prng, bytes.length) : bytes.length,
      );
      try {
        decodeTransactions(cut);
      } catch (error) {
        assert.ok(error instanceof CorruptionError, String(error));
      }
    }
  }
});

test("rows are named by the last list of columns before them, across transactions", () => {
  const bytes = (n: bigint) =>
    encodeChangeset([
      {
        format: "changeset",
        table: "t",
        primaryKey: new Uint8Array([1, 0]),
        changes: [{ operation: "insert", indirect: false, before: undefined, after: [n, "x"] }],
      },
    ]);
  const table = (...columns: string[]): Step => ({ type: "table", table: "t", columns });
  const named = namedSteps([
    { steps: [table("id", "a"), { type: "changeset", bytes: bytes(1n) }] },
    { steps: [{ type: "changeset", bytes: bytes(2n) }, table("id", "b")] },
    { steps: [{ type: "changeset", bytes: bytes(3n) }] },
  ]);
  const columns = named.flat().map((each) => (each.type === "row" ? each.columns : undefined));
  assert.deepEqual(columns, [
    ["id", "a"],
    ["id", "a"],
    ["id", "b"],
  ]);
});
