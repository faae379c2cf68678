/**
 * Values of a program and values of Hrana.
 *
 *   null, undefined  NULL        number   INTEGER when it is a safe integer, else REAL      boolean  0 or 1
 *   bigint           INTEGER     string   TEXT                                              Uint8Array  BLOB
 *   Date             INTEGER, milliseconds since 1970, as `@libsql/client` stores it
 *
 * Back, an INTEGER is a number when that is exact, and a bigint otherwise.
 */

import type { Stmt, Value } from "../db/sql/request.ts";
import type { Ack } from "./ack.ts";

/** What a column may hold. */
export type SqlValue = null | number | bigint | string | Uint8Array;
/** What an argument may be. */
export type SqlArgument = SqlValue | boolean | Date | undefined;
/** One row, by the names of its columns; of two with one name the last. */
export type Row = Record<string, SqlValue>;

/** What one statement did. */
export type Result = {
  readonly columns: readonly string[];
  readonly rows: readonly Row[];
  readonly rowsAffected: number;
  readonly lastInsertRowid: bigint | undefined;
  /**
   * Of what was committed: the copies that it had when it was answered. As many as were asked for or the cluster's rule
   * says, whichever is more; fewer only where the cluster is set to degrade.
   */
  readonly acked?: Ack | undefined;
};

/** A statement: text alone, or with arguments for its `?`, or by name for its `:name`. */
export type Statement =
  | string
  | {
      readonly sql: string;
      readonly args?: readonly SqlArgument[] | Readonly<Record<string, SqlArgument>>;
    };

/** Throws TypeError for an argument that is no SQL value. */
export function stmtOf(statement: Statement): Stmt {
  if (typeof statement === "string") {
    return { sql: statement, args: [], namedArgs: [], wantRows: true };
  }
  const { sql, args = [] } = statement;
  if (Array.isArray(args)) {
    return { sql, args: args.map(toWire), namedArgs: [], wantRows: true };
  }
  const namedArgs = Object.entries(args).map(([name, value]) => ({ name, value: toWire(value) }));
  return { sql, args: [], namedArgs, wantRows: true };
}

type WireResult = {
  readonly cols: readonly { readonly name: string | null }[];
  readonly rows: readonly WireRow[];
  readonly affected_row_count: number;
  readonly last_insert_rowid: string | null;
};

export function resultOf(wire: unknown, acked: Ack | undefined): Result {
  const { cols, rows, affected_row_count, last_insert_rowid } = wire as WireResult;
  const columns = cols.map(({ name }) => name ?? "");
  return {
    columns,
    rows: rows.map((row) => rowOf(columns, row)),
    rowsAffected: affected_row_count,
    lastInsertRowid: last_insert_rowid === null ? undefined : BigInt(last_insert_rowid),
    ...(acked === undefined ? {} : { acked }),
  };
}

type WireRow = readonly Value[];

export function rowOf(columns: readonly string[], row: WireRow): Row {
  return Object.fromEntries(row.map((value, i) => [columns[i], fromWire(value)]));
}

function toWire(value: unknown): Value {
  if (value === null || value === undefined) return { type: "null" };
  switch (typeof value) {
    case "boolean":
      return { type: "integer", value: value ? "1" : "0" };
    case "bigint":
      return { type: "integer", value: String(value) };
    case "number":
      if (Number.isSafeInteger(value)) return { type: "integer", value: String(BigInt(value)) };
      if (Number.isFinite(value)) return { type: "float", value };
      break;
    case "string":
      return { type: "text", value };
    default:
      if (value instanceof Date) return toWire(value.getTime());
      if (value instanceof Uint8Array) {
        return { type: "blob", base64: Buffer.from(value).toString("base64") };
      }
  }
  throw new TypeError(`${String(value)} is not a value that SQLite can hold`);
}

function fromWire(value: Value): SqlValue {
  switch (value.type) {
    case "null":
      return null;
    case "integer": {
      const number = Number(value.value);
      return Number.isSafeInteger(number) ? number : BigInt(value.value);
    }
    case "blob":
      return new Uint8Array(Buffer.from(value.base64, "base64"));
    default:
      return value.value;
  }
}
