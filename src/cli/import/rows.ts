/**
 * Rows of a table as INSERT statements, in chunks of about a megabyte, each value exactly what it is in the file.
 *
 *   integer   as decimal text, all 64 bits
 *   float     as a JSON number; infinities and -0.0, which JSON does not have, as literals in the SQL
 *   text      as text; where its bytes are not UTF-8, as a blob that SQLite casts back to the same bytes
 *   blob      as base64
 *
 * Values of a row of more than 4 MiB travel in pieces of that size, each in a transaction of its own, into the ledger
 * (ledger.ts); the INSERT of the row puts them together. So no request is large, whatever the value is.
 *
 * OR ABORT stands in each INSERT because a constraint of the table may say `ON CONFLICT IGNORE` or `REPLACE`: a row
 * that does not fit must be told, not left out.
 *
 * Not here: sending them (importer.ts).
 */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { quoted } from "../../db/sql/quoted.ts";
import type { Value } from "../../db/sql/request.ts";
import type { WireStmt } from "../remote/hrana.ts";
import { piecesAs } from "./ledger.ts";
import type { TablePlan } from "./plan.ts";

/** Part of a value of the row that comes next. */
export type Piece = { readonly value: number; readonly bytes: Uint8Array };

/** Bytes of JSON after which a chunk is closed. */
const chunkBytes = 1024 * 1024;
/** Values of a row beyond this travel in pieces of this size. */
const pieceBytes = 4 * 1024 * 1024;
/** Values of such a row that are not worth a piece. */
const smallBytes = 16 * 1024;
/** Values in one statement. SQLite takes 32,766; beyond a few hundred nothing gets faster. */
const valuesPerStatement = 1_000;

type Cell = { readonly sql: string; readonly arg: Value | undefined; readonly bytes: number };
type Row = { readonly cells: readonly Cell[]; readonly key: readonly unknown[] };

export type Source = {
  readonly db: DatabaseSync;
  readonly table: TablePlan;
  readonly isUtf8: boolean;
  /** Name of the table that pieces go to. */
  readonly ledger: string;
};

/** Pieces come before the chunk of the row they belong to. */
export function* chunksOf(source: Source): Generator<Chunk | Piece> {
  const { db, table, isUtf8 } = source;
  const rowid = table.fromRowid === undefined ? [] : [table.fromRowid];
  const columns = table.columns.map((name) => `T.${quoted(name)}`);
  // FTS5 writes a segment whenever a rowid is smaller than the one before.
  const order = table.isIndex ? ` ORDER BY ${table.fromRowid}` : "";
  const query = db.prepare(
    `SELECT ${[...rowid, ...columns].join(", ")} FROM ${table.from}${order}`,
  );
  query.setReadBigInts(true);
  query.setReturnArrays(true);
  const names = table.rowid === undefined ? table.columns : [table.rowid, ...table.columns];
  const keyAt = table.key.map((name) => names.indexOf(name)).filter((at) => at >= 0);
  const rawText = isUtf8 ? rawTextReader(db, table) : undefined;
  let rows: Row[] = [];
  let bytes = 0;
  let ordinal = 0;
  for (const row of query.iterate() as Iterable<unknown> as Iterable<unknown[]>) {
    const exact = row.map((value, column) => {
      const isSuspect = typeof value === "string" && value.includes("\ufffd");
      const raw = isSuspect ? rawText?.(row, ordinal, column - rowid.length) : undefined;
      return raw === undefined ? value : new RawText(raw);
    });
    ordinal++;
    const key = keyAt.map((at) => row[at]);
    const isLarge = exact.reduce((sum: number, value) => sum + sizeOf(value), 0) > pieceBytes;
    if (isLarge) {
      if (rows.length > 0) yield new Chunk(table, names, rows);
      for (const [column, value] of exact.entries()) yield* piecesOf(value, column);
      const cells = exact.map((value, column) => placeOf(value, column, source.ledger));
      yield new Chunk(table, names, [{ cells, key }]);
    }
    if (!isLarge) {
      const cells = exact.map(cellOf);
      rows.push({ cells, key });
      bytes += cells.reduce((sum, cell) => sum + cell.bytes, 0);
      if (bytes < chunkBytes) continue;
      yield new Chunk(table, names, rows);
    }
    rows = [];
    bytes = 0;
  }
  if (rows.length > 0) yield new Chunk(table, names, rows);
}

/** Rows that travel and commit together. */
export class Chunk {
  readonly #table: TablePlan;
  readonly #into: string;
  readonly #rows: readonly Row[];
  readonly #rowsPerStatement: number;

  constructor(table: TablePlan, names: readonly string[], rows: readonly Row[]) {
    this.#table = table;
    this.#into = `INSERT OR ABORT INTO ${quoted(table.name)} (${names.map(quoted).join(", ")}) VALUES `;
    this.#rows = rows;
    this.#rowsPerStatement = Math.max(1, Math.floor(valuesPerStatement / names.length));
  }

  get rows(): number {
    return this.#rows.length;
  }

  get bytes(): number {
    return this.#rows.reduce((sum, { cells }) => sum + cells.reduce((n, c) => n + c.bytes, 0), 0);
  }

  statements(): WireStmt[] {
    return this.#statements(this.#rowsPerStatement);
  }

  /** The same with one row in each statement, in the order of `nameOf`. */
  singly(): WireStmt[] {
    return this.#statements(1);
  }

  nameOf(row: number): string {
    return this.#name(this.#rows[row]!);
  }

  /** `table t, rowid 7`, `table t, rowid 7 to rowid 99`. */
  get name(): string {
    const [first, last] = [this.#rows[0]!, this.#rows.at(-1)!];
    const to = first === last ? "" : ` to ${this.#keyOf(last)}`;
    return `${this.#name(first)}${to}`;
  }

  #name(row: Row): string {
    const key = this.#keyOf(row);
    return `table ${this.#table.name}${key === "" ? "" : `, ${key}`}`;
  }

  #keyOf({ key }: Row): string {
    return key.map((value, i) => `${this.#table.key[i]} ${shown(value)}`).join(" ");
  }

  #statements(rowsEach: number): WireStmt[] {
    const stmts: WireStmt[] = [];
    for (let at = 0; at < this.#rows.length; at += rowsEach) {
      const rows = this.#rows.slice(at, at + rowsEach);
      const tuples = rows.map(({ cells }) => `(${cells.map(({ sql }) => sql).join(",")})`);
      const args = rows.flatMap(({ cells }) => cells.flatMap(({ arg }) => arg ?? []));
      stmts.push({ sql: this.#into + tuples.join(","), args });
    }
    return stmts;
  }
}

/** A text whose bytes are not UTF-8. */
class RawText {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

function cellOf(value: unknown): Cell {
  switch (typeof value) {
    case "bigint":
      return cell({ type: "integer", value: value.toString() }, 8);
    case "number":
      if (value === Number.POSITIVE_INFINITY) return { sql: "9e999", arg: undefined, bytes: 8 };
      if (value === Number.NEGATIVE_INFINITY) return { sql: "-9e999", arg: undefined, bytes: 8 };
      if (Object.is(value, -0)) return { sql: "-0.0", arg: undefined, bytes: 8 };
      return cell({ type: "float", value }, 8);
    case "string":
      return cell({ type: "text", value }, value.length);
    default: {
      if (value === null) return { sql: "NULL", arg: undefined, bytes: 1 };
      const bytes = value instanceof RawText ? value.bytes : (value as Uint8Array);
      const base64 = Buffer.from(bytes).toString("base64");
      const sql = value instanceof RawText ? "CAST(? AS TEXT)" : "?";
      return { sql, arg: { type: "blob", base64 }, bytes: bytes.byteLength };
    }
  }
}

function cell(arg: Value, bytes: number): Cell {
  return { sql: "?", arg, bytes };
}

/** Of a text and a blob, roughly; the others are small. */
function sizeOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  return value instanceof RawText || value instanceof Uint8Array ? bytesOf(value).byteLength : 0;
}

function bytesOf(value: unknown): Uint8Array {
  if (typeof value === "string") return Buffer.from(value);
  return value instanceof RawText ? value.bytes : (value as Uint8Array);
}

function* piecesOf(value: unknown, column: number): Generator<Piece> {
  if (sizeOf(value) <= smallBytes) return;
  const bytes = bytesOf(value);
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) {
    yield { value: column, bytes: bytes.subarray(at, at + pieceBytes) };
  }
}

/** A cell of a row whose large values are in the ledger. Their bytes were counted there. */
function placeOf(value: unknown, column: number, ledger: string): Cell {
  if (sizeOf(value) <= smallBytes) return cellOf(value);
  const type = value instanceof Uint8Array ? "BLOB" : "TEXT";
  return { sql: piecesAs(type, column, ledger), arg: undefined, bytes: 0 };
}

function shown(value: unknown): string {
  if (value instanceof Uint8Array)
    return `x'${Buffer.from(value.subarray(0, 20)).toString("hex")}'`;
  return typeof value === "string" ? JSON.stringify(value.slice(0, 100)) : String(value);
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
  const { from, fromRowid } = table;
  const and = table.isIndex && from.includes(" WHERE ") ? "AND" : "WHERE";
  const where = fromRowid === undefined ? "LIMIT 1 OFFSET ?" : `${and} ${fromRowid} = ?`;
  // The same columns as in the main query, so that SQLite walks the table in the same order.
  const all = table.columns.map((name) => `CAST(T.${quoted(name)} AS BLOB)`).join(", ");
  let query: StatementSync | undefined;
  return (row, ordinal, column) => {
    query ??= db.prepare(`SELECT ${all} FROM ${from} ${where}`);
    query.setReturnArrays(true);
    const at = fromRowid === undefined ? ordinal : row[0];
    const found = query.get(at as SQLInputValue) as unknown as unknown[];
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
