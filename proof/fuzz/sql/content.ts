/** What a database has of one list: its schema, every row, counters of AUTOINCREMENT, SQLite's own check. */

import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import { quoted } from "../../../src/db/sql/quoted.ts";
import { valueText } from "./answers.ts";

export type Wish = {
  readonly prefix: string;
  /** With hidden rowids, and rows in their order: what only a copy by pages has in common. */
  readonly exact: boolean;
  /** Runs PRAGMA integrity_check on each table. */
  readonly checked: boolean;
};

type Rows = SQLOutputValue[][];

/** As lines, equal for equal contents. */
export function contentOf(db: DatabaseSync, wish: Wish): string {
  const entries = schemaOf(db, wish.prefix);
  const lines = entries.map((entry) => entry.map(String).join(" "));
  for (const [type, name, , sql] of entries) {
    if ((type !== "table" && type !== "view") || isShadow(String(name), entries)) continue;
    lines.push(`-- ${name}`, ...rowsOf(db, String(name), { ...wish, type, sql: String(sql) }));
    if (type === "table" && wish.checked) lines.push(...checkOf(db, String(name)));
  }
  const counters = `SELECT name, seq FROM sqlite_sequence WHERE ${owned("name")} ORDER BY 1`;
  const hasCounters = all(db, "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'");
  if (hasCounters.length > 0) lines.push(...texts(all(db, counters, wish.prefix)));
  return lines.join("\n");
}

/** Statements that remove all that lists with the prefix have made. */
export function removalOf(db: DatabaseSync, prefix: string): string[] {
  const entries = schemaOf(db, prefix);
  const order = ["view", "table"];
  return order.flatMap((type) =>
    entries
      .filter((entry) => entry[0] === type && !isShadow(String(entry[1]), entries))
      .map(([, name]) => `DROP ${type.toUpperCase()} IF EXISTS ${quoted(String(name))}`),
  );
}

function schemaOf(db: DatabaseSync, prefix: string): Rows {
  const sql = `SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE ${owned("tbl_name")} ORDER BY 1, 2`;
  return all(db, sql, prefix);
}

function owned(column: string): string {
  return `lower(${column}) GLOB ?1 || '*'`;
}

/** A table in which a full text index keeps itself. */
function isShadow(name: string, entries: Rows): boolean {
  return entries.some(
    ([type, other, , sql]) =>
      type === "table" && String(sql).includes("fts5") && name.startsWith(`${other}_`),
  );
}

type TableWish = Wish & { readonly type: SQLOutputValue | undefined; readonly sql: string };

function rowsOf(db: DatabaseSync, name: string, { exact, type, sql }: TableWish): string[] {
  const from = ` FROM ${quoted(name)}`;
  try {
    if (!exact || type === "view") return texts(all(db, `SELECT *${from}`)).sort();
    const columns = all(db, `PRAGMA table_xinfo(${quoted(name)})`).map(([, column]) => column);
    const isFree = (word: string) => !columns.some((c) => String(c).toLowerCase() === word);
    const rowid = ["rowid", "_rowid_", "oid"].find(isFree);
    if (/WITHOUT ROWID/.test(sql) || rowid === undefined) return texts(all(db, `SELECT *${from}`));
    return texts(all(db, `SELECT ${rowid}, *${from} ORDER BY ${rowid}`));
  } catch (error) {
    return [(error as Error).message];
  }
}

function checkOf(db: DatabaseSync, name: string): string[] {
  try {
    return texts(all(db, `PRAGMA integrity_check(${quoted(name)})`));
  } catch (error) {
    return [(error as Error).message];
  }
}

function all(db: DatabaseSync, sql: string, ...values: string[]): Rows {
  return db.prepare(sql).all(...values) as unknown as Rows;
}

function texts(rows: Rows): string[] {
  return rows.map((row) => row.map(valueText).join("|"));
}
