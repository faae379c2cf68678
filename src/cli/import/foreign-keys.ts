/**
 * Rows of the file whose parent row is missing. Asked of the file, before the import: there no statement limit ends
 * the question, and what arrives is the same.
 */

import type { DatabaseSync } from "node:sqlite";
import { messageOf } from "../../base/errors.ts";
import { plural } from "../terminal.ts";

export type Orphans = {
  readonly count: number;
  /** What to tell; empty when all is well. Names the first few. */
  readonly text: string;
};

const namedMax = 10;

export function orphansIn(db: DatabaseSync): Orphans {
  const named: string[] = [];
  let count = 0;
  try {
    for (const row of db.prepare("PRAGMA foreign_key_check").iterate()) {
      count++;
      if (named.length === namedMax) continue;
      const { table, rowid, parent } = row;
      named.push(`  ${table}${rowid === null ? "" : ` rowid ${rowid}`}: no such row in ${parent}`);
    }
  } catch (error) {
    // A key that refers to columns which are not unique: nothing can be said of its rows.
    return { count, text: `the foreign keys cannot be checked: ${messageOf(error)}` };
  }
  if (count === 0) return { count, text: "" };
  const more =
    count > named.length ? [`  and ${plural(count - named.length, "more", "more")}`] : [];
  const their = count === 1 ? "it names" : "they name";
  const what = `foreign keys: ${plural(count, "row")} without the parent that ${their}`;
  return { count, text: [what, ...named, ...more].join("\n") };
}
