/**
 * A table that was made with rows in it, by CREATE TABLE … AS SELECT: as steps that make the same table elsewhere,
 * whatever order the SELECT would find its rows in there.
 */

import type { DatabaseSync } from "node:sqlite";
import { encodeChangeset } from "../../../changes/encode-changeset.ts";
import type { RowValue } from "../../../changes/row-values.ts";
import type { RecordedStatement, Step } from "../../../changes/steps.ts";
import type { SqlValue } from "../../../changes/values.ts";
import { quoted } from "../../sql/quoted.ts";
import { type TableFacts, travellingKey } from "../schema-facts.ts";
import { bound, ExactRows, placeOf } from "./exact-rows.ts";

type NewTableStep = Extract<Step, { type: "statement" | "changeset" }>;

export class NewTable {
  readonly #db: DatabaseSync;
  readonly #facts: TableFacts;

  constructor(db: DatabaseSync, facts: TableFacts) {
    this.#db = db;
    this.#facts = facts;
  }

  /** The table, then its rows. */
  steps(why: string, foreignKeys: boolean): NewTableStep[] {
    const { name, rowid, columns } = this.#facts;
    const step = (sql: string, args: readonly SqlValue[]): NewTableStep => {
      const untold = { captured: [], lastRowid: undefined, failed: false, isUnsure: false };
      const statement: RecordedStatement = { sql, args, namedArgs: [], foreignKeys, ...untold };
      return { type: "statement", why, statement };
    };
    const made = this.#db
      .prepare("SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?")
      .get(name) as unknown as [string];
    const table = step(made[0], []);
    const stored = columns.map(quoted);
    const all = (of: readonly string[]) =>
      new ExactRows(this.#db, of, `main.${quoted(name)}`).all();
    if (rowid === undefined) {
      // No name of the rowid is left, so nobody can see it; in their order the rows get the same ones.
      const insert = `INSERT INTO main.${quoted(name)}(${stored.join()}) VALUES `;
      const put = (row: readonly RowValue[]) =>
        step(`${insert}(${row.map(placeOf).join()})`, row.map(bound) as SqlValue[]);
      return [table, ...all(stored).map(put)];
    }
    const changes = all([rowid, ...stored]).map(
      (after) => ({ operation: "insert", indirect: false, before: undefined, after }) as const,
    );
    const primaryKey = travellingKey(this.#facts);
    const bytes = encodeChangeset([{ format: "changeset", table: name, primaryKey, changes }]);
    return bytes.byteLength === 0 ? [table] : [table, { type: "changeset", bytes }];
  }
}
