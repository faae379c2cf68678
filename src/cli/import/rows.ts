/**
 * Rows of a table as INSERT statements, in chunks of about a megabyte, each value exactly what it is in the file.
 *
 *   integer   as decimal text, all 64 bits
 *   float     as a JSON number; infinities and -0.0, which JSON does not have, as literals in the SQL
 *   text      as text; where its bytes are not UTF-8, as a blob that SQLite casts back to the same bytes
 *   blob      as base64
 *
 * Not here: sending them (importer.ts).
 */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { quoted } from "../../db/sql/quoted.ts";
import type { Value } from "../../db/sql/request.ts";
import type { WireStmt } from "../remote/hrana.ts";
import type { TablePlan } from "./plan.ts";

/** Statements that travel and commit together. */
export type Chunk = { readonly stmts: readonly WireStmt[]; readonly rows: number };

/** Bytes of JSON after which a chunk is closed. A larger row travels alone. */
const chunkBytes = 1024 * 1024;
/** Values in one statement. SQLite takes 32,766; beyond a few hundred nothing gets faster. */
const valuesPerStatement = 1_000;

type Cell = { readonly sql: string; readonly arg: Value | undefined; readonly bytes: number };

export function* chunksOf(db: DatabaseSync, table: TablePlan, isUtf8: boolean): Generator<Chunk> {
  const names = table.rowid === undefined ? table.columns : [table.rowid, ...table.columns];
  const into = `INSERT INTO ${quoted(table.name)} (${names.map(quoted).join(", ")}) VALUES `;
  // The rowid goes by a bare name: quoted, it would be a text where no such column exists.
  const rowid = table.rowid === undefined ? [] : [table.rowid];
  const query = db.prepare(
    `SELECT ${[...rowid, ...table.columns.map(quoted)].join(", ")} FROM ${quoted(table.name)}`,
  );
  query.setReadBigInts(true);
  query.setReturnArrays(true);
  const rawText = isUtf8 ? rawTextReader(db, table) : undefined;
  const open = new OpenChunk(into, Math.max(1, Math.floor(valuesPerStatement / names.length)));
  let ordinal = 0;
  for (const row of query.iterate() as Iterable<unknown> as Iterable<unknown[]>) {
    const cells = row.map((value, column) => {
      const isSuspect = typeof value === "string" && value.includes("\ufffd");
      const raw = isSuspect ? rawText?.(row, ordinal, column - rowid.length) : undefined;
      return cellOf(raw ?? value, raw !== undefined);
    });
    open.add(cells);
    ordinal++;
    if (open.bytes >= chunkBytes) yield open.take();
  }
  if (open.rows > 0) yield open.take();
}

class OpenChunk {
  readonly #into: string;
  readonly #rowsPerStatement: number;
  #stmts: WireStmt[] = [];
  #tuples: string[] = [];
  #args: Value[] = [];
  /** Of JSON, roughly, in the statements and the open one. */
  bytes = 0;
  rows = 0;

  constructor(into: string, rowsPerStatement: number) {
    this.#into = into;
    this.#rowsPerStatement = rowsPerStatement;
  }

  add(cells: readonly Cell[]): void {
    this.#tuples.push(`(${cells.map((cell) => cell.sql).join(",")})`);
    for (const { arg, bytes } of cells) {
      if (arg !== undefined) this.#args.push(arg);
      this.bytes += bytes;
    }
    this.rows++;
    if (this.#tuples.length === this.#rowsPerStatement) this.#closeStatement();
  }

  take(): Chunk {
    if (this.#tuples.length > 0) this.#closeStatement();
    const chunk = { stmts: this.#stmts, rows: this.rows };
    this.#stmts = [];
    this.bytes = 0;
    this.rows = 0;
    return chunk;
  }

  #closeStatement(): void {
    const sql = this.#into + this.#tuples.join(",");
    this.#stmts.push({ sql, args: this.#args });
    this.bytes += sql.length;
    this.#tuples = [];
    this.#args = [];
  }
}

function cellOf(value: unknown, isRawText: boolean): Cell {
  switch (typeof value) {
    case "bigint":
      return cell({ type: "integer", value: value.toString() }, 40);
    case "number":
      if (value === Number.POSITIVE_INFINITY) return { sql: "9e999", arg: undefined, bytes: 8 };
      if (value === Number.NEGATIVE_INFINITY) return { sql: "-9e999", arg: undefined, bytes: 8 };
      if (Object.is(value, -0)) return { sql: "-0.0", arg: undefined, bytes: 8 };
      return cell({ type: "float", value }, 48);
    case "string":
      return cell({ type: "text", value }, 32 + value.length);
    default: {
      if (value === null) return { sql: "NULL", arg: undefined, bytes: 5 };
      const base64 = Buffer.from(value as Uint8Array).toString("base64");
      const sql = isRawText ? "CAST(? AS TEXT)" : "?";
      return { sql, arg: { type: "blob", base64 }, bytes: 32 + base64.length };
    }
  }
}

function cell(arg: Value, bytes: number): Cell {
  return { sql: "?", arg, bytes };
}

/**
 * Reads a text as bytes, to tell a replacement character that is really there from one that stands for bytes which
 * are not UTF-8. Undefined: it is really there. Rare, so it may cost a query; the row is found by its rowid or, in
 * tables without one, by counting.
 */
function rawTextReader(
  db: DatabaseSync,
  table: TablePlan,
): (row: readonly unknown[], ordinal: number, column: number) => Uint8Array | undefined {
  const queries = new Map<number, StatementSync>();
  const byRowid = table.rowid !== undefined;
  return (row, ordinal, column) => {
    let query = queries.get(column);
    if (query === undefined) {
      const where = byRowid ? `WHERE ${table.rowid} = ?` : "LIMIT 1 OFFSET ?";
      // The same columns as in the main query, so that SQLite walks the table in the same order.
      const all = table.columns.map((name) => `CAST(${quoted(name)} AS BLOB)`).join(", ");
      query = db.prepare(`SELECT ${all} FROM ${quoted(table.name)} ${where}`);
      query.setReturnArrays(true);
      queries.set(column, query);
    }
    const found = query.get((byRowid ? row[0] : ordinal) as SQLInputValue) as unknown as unknown[];
    const bytes = found[column] as Uint8Array;
    return isUtf8(bytes) ? undefined : bytes;
  };
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
