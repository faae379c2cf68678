/**
 * SQLite's own format of changed rows, decoded: changesets and patchsets of the session extension
 * [sqlite3session.c, "CHANGESET BLOB FORMAT"]. Pure; knows bytes, not databases.
 *
 *   per table   'T' (changeset) or 'P' (patchset), number of columns as varint, one byte per column (0, or its place in
 *               the primary key from 1), name of the table ending in NUL, then changes until the next table
 *   per change  operation (9 delete, 18 insert, 23 update), indirect flag, then records
 *   record      one value per column: tag, then content (values.ts); tag 0 is "not in this record"
 *
 *                     changeset                              patchset
 *   insert            new                                    new
 *   delete            old                                    key columns only, nothing for the others
 *   update            old: key and what changed; new: what   one record: key and what changed, new values
 *                     changed
 *
 * A row is named by its primary key. A change of the key itself is a delete and an insert. Column names are not in
 * the format. Nor are: tables without primary key, except as rows keyed by `_rowid_`, which is then the first column;
 * virtual tables; values of generated columns; rows with NULL in their key, which SQLite leaves out silently.
 *
 * Cost is bounded by the length of the bytes: nothing is allocated from a number that was read before that many bytes
 * are known to be there.
 */

import { CorruptionError } from "../base/errors.ts";
import { type RowValue, textOf } from "./row-values.ts";
import { valueTags } from "./values.ts";

/** One record: a value per column, undefined where the record has none. */
export type SparseRow = readonly (RowValue | undefined)[];

export type RowChange = {
  readonly operation: "insert" | "update" | "delete";
  /** Made by a trigger or a foreign key action, not by the statement itself. */
  readonly indirect: boolean;
  /** Undefined for an insert, and for an update in a patchset. Of an update: the key, and columns that changed. */
  readonly before: SparseRow | undefined;
  /** Undefined for a delete. Of an update: columns that changed; in a patchset also the key. */
  readonly after: SparseRow | undefined;
};

/** Consecutive changes of one table. */
export type TableChanges = {
  readonly format: "changeset" | "patchset";
  readonly table: string;
  /** For each column its place in the primary key, from 1; 0 if it is not part of it. */
  readonly primaryKey: Uint8Array;
  readonly changes: readonly RowChange[];
};

export const operationCodes = { delete: 9, insert: 18, update: 23 } as const;
export const formatCodes = { changeset: 0x54, patchset: 0x50 } as const;
/** What SQLite can have at most [SQLITE_MAX_COLUMN, upper bound]. */
const columnsMax = 32_767;

/**
 * Blobs, and text that is no UTF-8, are views of `bytes`.
 * Throws CorruptionError, with the offset, for anything that SQLite would not make.
 */
export function decodeChangeset(bytes: Uint8Array): TableChanges[] {
  return new Decoder(bytes).tables();
}

class Decoder {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  tables(): TableChanges[] {
    const tables: TableChanges[] = [];
    while (this.#at < this.#bytes.byteLength) tables.push(this.#table());
    return tables;
  }

  #table(): TableChanges {
    const format = this.#format();
    const columns = this.#varint();
    if (columns === 0 || columns > columnsMax) throw this.#corrupt(`${columns} columns`);
    const primaryKey = this.#take(columns);
    if (!primaryKey.some((place) => place > 0)) throw this.#corrupt("a table without key");
    const end = this.#bytes.indexOf(0, this.#at);
    if (end <= this.#at) throw this.#corrupt("the name of a table does not end, or is empty");
    const table = String(textOf(this.#take(end - this.#at)));
    this.#at++;
    const changes: RowChange[] = [];
    while (this.#at < this.#bytes.byteLength && !isFormat(this.#bytes[this.#at]!)) {
      changes.push(this.#change(format, primaryKey));
    }
    return { format, table, primaryKey, changes };
  }

  #format(): TableChanges["format"] {
    const code = this.#take(1)[0]!;
    if (code === formatCodes.changeset) return "changeset";
    if (code === formatCodes.patchset) return "patchset";
    throw this.#corrupt(`a table begins with ${code}`);
  }

  #change(format: TableChanges["format"], primaryKey: Uint8Array): RowChange {
    const operation = this.#take(1)[0]!;
    const flag = this.#take(1)[0]!;
    if (flag > 1) throw this.#corrupt(`indirect flag ${flag}`);
    const indirect = flag === 1;
    const columns = primaryKey.length;
    switch (operation) {
      case operationCodes.insert:
        return {
          ...{ operation: "insert", indirect, before: undefined },
          after: this.#whole(this.#record(columns)),
        };
      case operationCodes.delete: {
        const before =
          format === "changeset" ? this.#whole(this.#record(columns)) : this.#keyRecord(primaryKey);
        return { operation: "delete", indirect, before, after: undefined };
      }
      case operationCodes.update: {
        const before = format === "changeset" ? this.#record(columns) : undefined;
        const after = this.#record(columns);
        const keyed = before ?? after;
        if (primaryKey.some((place, i) => place > 0 && keyed[i] === undefined)) {
          throw this.#corrupt("an update that does not name its row");
        }
        return { operation: "update", indirect, before, after };
      }
      default:
        throw this.#corrupt(`operation ${operation}`);
    }
  }

  #record(columns: number): (RowValue | undefined)[] {
    const row: (RowValue | undefined)[] = [];
    for (let i = 0; i < columns; i++) row.push(this.#value());
    return row;
  }

  /** A patchset's delete has values of the key columns only. */
  #keyRecord(primaryKey: Uint8Array): (RowValue | undefined)[] {
    return this.#whole(
      Array.from(primaryKey, (place) => (place > 0 ? this.#value() : undefined)),
      primaryKey,
    );
  }

  /** Every column (that is in the key, if one is given) must have a value. */
  #whole(row: (RowValue | undefined)[], key?: Uint8Array): (RowValue | undefined)[] {
    for (const [i, value] of row.entries()) {
      if (value === undefined && (key === undefined || key[i]! > 0)) {
        throw this.#corrupt(`column ${i} of a row has no value`);
      }
    }
    return row;
  }

  #value(): RowValue | undefined {
    const tag = this.#take(1)[0]!;
    switch (tag) {
      case valueTags.undefined:
        return undefined;
      case valueTags.integer:
        return this.#view.getBigInt64(this.#skip(8));
      case valueTags.float:
        return this.#view.getFloat64(this.#skip(8));
      case valueTags.text:
        return textOf(this.#take(this.#varint()));
      case valueTags.blob:
        return this.#take(this.#varint());
      case valueTags.null:
        return null;
      default:
        throw this.#corrupt(`value with tag ${tag}`);
    }
  }

  /** SQLite's varint; those in a changeset are lengths and fit into 32 bits, so into five bytes. */
  #varint(): number {
    let value = 0;
    for (let i = 0; i < 5; i++) {
      const byte = this.#take(1)[0]!;
      value = value * 128 + (byte & 0x7f);
      if (byte < 0x80) {
        if (value > 0x7fff_ffff) break;
        return value;
      }
    }
    throw this.#corrupt("a length that does not fit");
  }

  #take(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#bytes.subarray(at, at + length);
  }

  #skip(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.byteLength - at) throw this.#corrupt(`${length} bytes are missing`);
    this.#at += length;
    return at;
  }

  #corrupt(why: string): CorruptionError {
    return new CorruptionError(`changeset, offset ${this.#at}: ${why}`);
  }
}

function isFormat(code: number): boolean {
  return code === formatCodes.changeset || code === formatCodes.patchset;
}
