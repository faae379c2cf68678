/**
 * Changes as JSON, exactly: every value of SQLite has one form, and comes back as what it was.
 *
 *   null       NULL                            "text"               text
 *   1, -7      an integer up to 2^53           {"integer": "…"}     a larger one
 *   1.5        a float with a fraction         {"float": "1"}       a float without one, and infinities
 *   {"blob": "base64"}                         {"text": "base64"}   text that is no UTF-8
 *
 * One event of the stream:
 *
 *   { position, committedAt, transactions: [ [ step, … ], … ] }
 *
 *   step   { op: "insert" | "update" | "delete", table, key: [names], before?, after?, indirect? }
 *            rows as { column: value }; of an update, the key and what changed
 *          { op: "statement", sql, args, namedArgs, why, captured, foreignKeys, failed?, lastRowid?, unsure? }
 *            changes of the schema, and what rows cannot say; its triggers act. `captured`: what clock and chance
 *            answered; `failed`: part of its work stayed (OR FAIL); `lastRowid`: last_insert_rowid() before it;
 *            `unsure`: run elsewhere, it may do something else, since it depends on the order in which rows are found
 *          { op: "sequence", table, value }
 *            of an AUTOINCREMENT table
 */

import { ProtocolError } from "../../base/errors.ts";
import type { SparseRow } from "../../changes/changeset.ts";
import { type RowValue, TextBytes, textOf } from "../../changes/row-values.ts";
import type { NamedChange, NamedStep, RecordedStatement } from "../../changes/steps.ts";
import type { SqlValue } from "../../changes/values.ts";

/** As `JSON.stringify` takes it. */
export type JsonValue =
  | null
  | number
  | string
  | { readonly integer: string }
  | { readonly float: string }
  | { readonly blob: string }
  | { readonly text: string };

export type JsonRow = Readonly<Record<string, JsonValue>>;

export type JsonStep =
  | {
      readonly op: "insert" | "update" | "delete";
      readonly table: string;
      readonly key: readonly string[];
      readonly before?: JsonRow | undefined;
      readonly after?: JsonRow | undefined;
      readonly indirect?: true | undefined;
    }
  | {
      readonly op: "statement";
      readonly sql: string;
      readonly args: readonly JsonValue[];
      readonly namedArgs: Readonly<Record<string, JsonValue>>;
      readonly why: string;
      readonly captured: readonly JsonValue[];
      readonly foreignKeys: boolean;
      readonly failed?: true | undefined;
      readonly unsure?: true | undefined;
      readonly lastRowid?: JsonValue | undefined;
    }
  | { readonly op: "sequence"; readonly table: string; readonly value: JsonValue };

export function toJsonStep(step: NamedStep): JsonStep {
  if (step.type === "row") return rowStep(step);
  if (step.type === "sequence") {
    return { op: "sequence", table: step.table, value: toJson(step.value) };
  }
  return { op: "statement", why: step.why, ...statementJson(step.statement) };
}

/** Throws ProtocolError for what is no value. */
export function fromJson(value: unknown): SqlValue {
  if (value === null || typeof value === "string") return value;
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : value;
  const { integer, float, blob } = (value ?? {}) as Record<string, unknown>;
  if (typeof integer === "string" && /^-?\d{1,19}$/.test(integer)) return BigInt(integer);
  if (typeof float === "string") return Number(float);
  if (typeof blob === "string") return new Uint8Array(Buffer.from(blob, "base64"));
  throw new ProtocolError(`${JSON.stringify(value)} is no value of SQLite`);
}

/** Of a row. Throws ProtocolError likewise. */
export function rowValueFrom(value: unknown): RowValue {
  const { text } = (value ?? {}) as Record<string, unknown>;
  return typeof text === "string" ? textOf(Buffer.from(text, "base64")) : fromJson(value);
}

export function toJson(value: RowValue): JsonValue {
  if (value === null || typeof value === "string") return value;
  if (typeof value === "bigint") {
    const n = Number(value);
    return Number.isSafeInteger(n) ? n : { integer: value.toString() };
  }
  if (typeof value === "number") {
    const isPlain = Number.isFinite(value) && !Number.isInteger(value);
    return isPlain ? value : { float: Object.is(value, -0) ? "-0" : String(value) };
  }
  return value instanceof TextBytes ? { text: base64(value.bytes) } : { blob: base64(value) };
}

function base64({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString("base64");
}

function rowStep({
  operation,
  table,
  columns,
  primaryKey,
  before,
  after,
  indirect,
}: NamedChange): JsonStep {
  const nameOf = (i: number) => columns?.[i] ?? String(i);
  const key = [...primaryKey]
    .map((place, i) => ({ place, i }))
    .filter(({ place }) => place > 0)
    .sort((x, y) => x.place - y.place)
    .map(({ i }) => nameOf(i));
  return {
    ...{ op: operation, table, key },
    before: before === undefined ? undefined : rowJson(before, nameOf),
    after: after === undefined ? undefined : rowJson(after, nameOf),
    indirect: indirect ? true : undefined,
  };
}

function rowJson(row: SparseRow, nameOf: (i: number) => string): JsonRow {
  const named: [string, JsonValue][] = [];
  for (const [i, value] of row.entries()) {
    if (value !== undefined) named.push([nameOf(i), toJson(value)]);
  }
  return Object.fromEntries(named);
}

function statementJson(statement: RecordedStatement) {
  const { sql, args, namedArgs, captured, foreignKeys, failed, isUnsure, lastRowid } = statement;
  return {
    sql,
    args: args.map(toJson),
    namedArgs: Object.fromEntries(namedArgs.map(({ name, value }) => [name, toJson(value)])),
    captured: captured.map(toJson),
    foreignKeys,
    failed: failed ? (true as const) : undefined,
    unsure: isUnsure ? (true as const) : undefined,
    lastRowid: lastRowid === undefined ? undefined : toJson(lastRowid),
  };
}
