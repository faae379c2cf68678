/**
 * A stock reader of a copy. It looks after every change, sometimes holds a read transaction over several of them, and
 * throws when it sees half a transaction, an older state after a newer one, or a read transaction that changes.
 */

import { hash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import type { Prng } from "../../src/base/prng.ts";

export class Witness {
  readonly #path: string;
  readonly #prng: Prng;
  #connection: DatabaseSync;
  /** In a transaction since, and what it saw then. */
  #held: { readonly lsn: number; readonly rows: string; left: number } | undefined;
  #seen = 0;

  constructor(path: string, prng: Prng) {
    this.#path = path;
    this.#prng = prng;
    this.#connection = new DatabaseSync(path, { readOnly: true });
  }

  /** Everything that a database holds, as one line. */
  static rowsOf(connection: DatabaseSync): string {
    const tables = connection
      .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name")
      .all();
    const lines = tables.map(({ name, sql }) => {
      const rows = connection.prepare(`SELECT * FROM "${name}" ORDER BY 1`).all();
      return `${name} ${sql} ${rows.length} ${hash("sha256", JSON.stringify(rows.map(plain)))}`;
    });
    return lines.join("\n");
  }

  /** `lsn` is the last change that was applied. */
  look(lsn: number): void {
    if (this.#held === undefined) {
      this.#assertAt(lsn);
      if (this.#prng.chance(0.15)) this.#hold(lsn);
      else if (this.#prng.chance(0.05)) this.#reopen();
      return;
    }
    this.#assertAt(this.#held.lsn);
    if (this.#held.left-- > 0) return;
    if (Witness.rowsOf(this.#connection) !== this.#held.rows) {
      throw new Error(`a read transaction at ${this.#held.lsn} sees other rows than before`);
    }
    this.#release();
    this.#assertAt(lsn);
  }

  rows(): string {
    this.#release();
    return Witness.rowsOf(this.#connection);
  }

  checkSound(): void {
    this.#release();
    const rows = this.#connection.prepare("PRAGMA integrity_check").all();
    const said = rows.map((row) => row["integrity_check"]).join("; ");
    if (said !== "ok") throw new Error(`integrity_check: ${said}`);
  }

  close(): void {
    this.#release();
    this.#connection.close();
  }

  #hold(lsn: number): void {
    this.#connection.exec("BEGIN");
    const rows = Witness.rowsOf(this.#connection);
    this.#held = { lsn, rows, left: this.#prng.integer(0, 12) };
  }

  #release(): void {
    if (this.#held !== undefined) this.#connection.exec("COMMIT");
    this.#held = undefined;
  }

  #reopen(): void {
    this.#connection.close();
    this.#connection = new DatabaseSync(this.#path, { readOnly: true });
  }

  #assertAt(lsn: number): void {
    const found = this.#connection.prepare("SELECT lsn FROM sqlite_paceline").get()!["lsn"];
    const at = Number(found);
    if (at < this.#seen) throw new Error(`a reader went back from ${this.#seen} to ${at}`);
    this.#seen = at;
    if (at !== lsn) throw new Error(`a reader sees ${at} when ${lsn} is there`);
    if (lsn === 0) return;
    const marks = this.#connection.prepare("SELECT a.n AS a, b.n AS b FROM mark_a a, mark_b b");
    const { a, b } = marks.get()!;
    if (a !== b) throw new Error(`a reader sees half a transaction at ${lsn}: ${a} and ${b}`);
  }
}

function plain(row: Record<string, unknown>): unknown[] {
  return Object.values(row).map((value) =>
    value instanceof Uint8Array ? hash("sha256", value) : value,
  );
}
