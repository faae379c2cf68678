/**
 * Rowids that SQLite chooses by chance: it does once a table has the largest one, 9223372036854775807, unless the table
 * is one of AUTOINCREMENT. A statement that leaves a rowid open then does something else on every copy.
 *
 * SQLite 3.53 also damages such a table: where foreign keys are on, a REPLACE of several rows that leaves their rowids
 * open may put them in out of order. What searches for them does not find them any more, sessions included.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { quoted } from "../../sql/quoted.ts";
import { SqlError } from "../../sql/sql-error.ts";
import type { Compiled } from "../../sql/statement-cache.ts";
import { mayReplace, type TableFacts } from "../schema-facts.ts";

export class ChosenRowids {
  readonly #db: DatabaseSync;
  readonly #prepared = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** Why the statement, about to run, may do something else on every copy; undefined: it does not for this reason. */
  why(compiled: Compiled, touched: readonly TableFacts[]): string | undefined {
    const full = compiled.shape.inserts ? this.full(touched.filter(isShared)) : undefined;
    if (full !== undefined)
      return `table ${full.name} has the largest rowid, and SQLite takes the next one by chance`;
    return whyUnseen(compiled, touched);
  }

  /** It may replace rows, and foreign keys are on. Throws SqlError when it might damage a table. */
  refuseDamage({ shape, isIndirect }: Compiled, touched: readonly TableFacts[]): void {
    if (!shape.inserts && !isIndirect) return;
    const full = this.full(touched);
    if (full === undefined) return;
    throw new SqlError(
      "BLOCKED",
      `table ${full.name} has the largest rowid, and SQLite may damage it by REPLACE while foreign keys are on: ` +
        "remove the row with rowid 9223372036854775807, or use DELETE and INSERT",
    );
  }

  /** It has run, and travels as it is. Throws SqlError if it may have chosen rowids in one of these tables. */
  check(chosen: readonly TableFacts[]): void {
    const full = this.full(chosen);
    if (full === undefined) return;
    throw new SqlError(
      "BLOCKED",
      `table ${full.name} would have the largest rowid, after which SQLite takes rowids by chance, and the log kind ` +
        "cannot tell whether other rows of the statement got theirs so: insert that row by a statement of its own",
    );
  }

  /** Statements of our own: to be used as ourselves. The first of the tables that has the largest rowid. */
  full(tables: readonly TableFacts[]): TableFacts | undefined {
    return tables.find((facts) => this.#isFull(facts));
  }

  #isFull({ name, chosenRowid }: TableFacts): boolean {
    if (chosenRowid === undefined) return false;
    const sql = `SELECT 1 FROM main.${quoted(name)} WHERE ${chosenRowid} = 9223372036854775807`;
    let statement = this.#prepared.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#prepared.set(sql, statement);
    }
    return statement.get() !== undefined;
  }
}

/** Tables in which a statement of several rows may find the largest rowid half-way, one of which put it in. */
export function chosenOf({ shape, reads }: Compiled, touched: readonly TableFacts[]): TableFacts[] {
  return shape.kind === "change" && shape.inserts && reads.selects ? touched.filter(isShared) : [];
}

/** What copies have in common are rowids that are columns, and those of tables without another key. */
function isShared({ chosenRowid, hidesRowid }: TableFacts): boolean {
  return chosenRowid !== undefined && !hidesRowid;
}

/** Why a statement may choose rowids by chance and not be seen to: a row of it may be gone when it has ended. */
function whyUnseen(
  { shape, reads, statement: { text } }: Compiled,
  tables: readonly TableFacts[],
): string | undefined {
  // One row finds the table as it was before.
  if (!shape.inserts || !reads.selects) return undefined;
  const found = tables.find(
    (facts) =>
      isShared(facts) &&
      (facts.hasKey || /\b(?:_rowid_|rowid|oid)\b/i.test(text)) &&
      (facts.replaces || mayReplace(text) || /\bCONFLICT\b/i.test(text)),
  );
  return found && `rows of table ${found.name} may come and go while it runs`;
}
