/**
 * Rows as they are stored, text that is no UTF-8 included: `node:sqlite` gives such text with U+FFFD in place of bytes.
 * Only rows in which that character turns up are read a second time, as bytes.
 *
 * Nothing may change between the two reads: used within a transaction.
 */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { type RowValue, TextBytes, textOf } from "../../../changes/row-values.ts";

export class ExactRows {
  readonly #db: DatabaseSync;
  readonly #rows: StatementSync;
  readonly #bytesSql: string;

  /** `columns`: as SQL has them; `from`: what stands behind FROM. */
  constructor(db: DatabaseSync, columns: readonly string[], from: string) {
    this.#db = db;
    this.#rows = db.prepare(`SELECT ${columns.join()} FROM ${from}`);
    this.#bytesSql = `SELECT ${columns.map(bytesOf).join()} FROM ${from}`;
  }

  get(...values: readonly RowValue[]): RowValue[] | undefined {
    return this.all(...values)[0];
  }

  /** One after the other, however many there are. */
  *iterate(): Iterable<RowValue[]> {
    let bytes: Iterator<Uint8Array[]> | undefined;
    let skipped = 0;
    for (const row of this.#rows.iterate() as unknown as Iterable<RowValue[]>) {
      if (!row.some(mayLack)) {
        skipped++;
        yield row;
        continue;
      }
      bytes ??= this.#db.prepare(this.#bytesSql).iterate() as unknown as Iterator<Uint8Array[]>;
      for (; skipped > 0; skipped--) bytes.next();
      yield exact(row, bytes.next().value as Uint8Array[]);
    }
  }

  all(...values: readonly RowValue[]): RowValue[][] {
    const args = values.map(bound);
    const rows = this.#rows.all(...args) as unknown as RowValue[][];
    if (!rows.some((row) => row.some(mayLack))) return rows;
    const bytes = this.#db.prepare(this.#bytesSql).all(...args) as unknown as Uint8Array[][];
    return rows.map((row, n) => exact(row, bytes[n]!));
  }
}

/** In SQL, the place of a value that is bound as `bound` says. */
export function placeOf(value: RowValue | undefined): string {
  return value instanceof TextBytes ? "CAST(? AS TEXT)" : "?";
}

export function bound(value: RowValue | undefined): SQLInputValue {
  return (value instanceof TextBytes ? value.bytes : value) as SQLInputValue;
}

function exact(row: readonly RowValue[], bytes: readonly Uint8Array[]): RowValue[] {
  return row.map((value, i) => (mayLack(value) ? textOf(bytes[i]!) : value));
}

function mayLack(value: RowValue): boolean {
  return typeof value === "string" && value.includes("\ufffd");
}

function bytesOf(column: string): string {
  return `iif(typeof(${column}) = 'text', CAST(${column} AS BLOB), NULL)`;
}
