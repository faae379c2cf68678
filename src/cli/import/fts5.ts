/**
 * A full-text index (FTS5) in the file: what it holds, and whether that can be said with INSERTs.
 *
 * An index over another table (`content=`) holds no texts. It may hold some of that table's rows only, and it keeps
 * what it was given even when the table has changed since. Its own list of rows, %_docsize, says which; whether their
 * texts are those of the table is checked by FTS5 itself, before anything is imported: a copy of the index in the TEMP
 * database is laid over a view of just these rows, and FTS5 compares them. An index that differs is refused: a new one
 * made from the table could show what the old one hid.
 *
 * Not here: writing the tables inside an index (%_data and so on). SQLite keeps clients from that, rightly.
 */

import type { DatabaseSync } from "node:sqlite";
import { messageOf } from "../../base/errors.ts";
import { quoted } from "../../db/sql/quoted.ts";
import type { Value } from "../../db/sql/request.ts";
import type { WireStmt } from "../remote/hrana.ts";
import { Failure } from "../terminal.ts";

export type TextIndex = {
  /** The table or view whose texts it indexes; undefined when it has texts of its own. */
  readonly content: string | undefined;
  /** The column there that is the rowid of the index. */
  readonly contentRowid: string;
  /** It lists its rows in %_docsize (not with columnsize=0). */
  readonly hasList: boolean;
  /** And there is none. The table it is to be filled from need not exist then. */
  readonly isEmpty: boolean;
  /** Settings that shape what is written, and those that can wait until the rows are there. */
  readonly before: readonly Setting[];
  readonly after: readonly Setting[];
};

export type Setting = { readonly name: string; readonly value: unknown };

type Option = { readonly key: string; readonly value: string };

const check = '"paceline_check"';
const checkedRows = "paceline_checked_rows";

/** Throws Failure when it cannot be carried over. */
export function textIndexOf(db: DatabaseSync, name: string, sql: string): TextIndex {
  const options = argumentsOf(sql).flatMap((argument) => optionOf(argument) ?? []);
  const content = options.find(({ key }) => key === "content")?.value;
  if (content === "") {
    throw new Failure(
      `${name} is a full-text index without its texts (content=''), so there is nothing to copy`,
      `Work on a copy of the file without it, DROP TABLE ${quoted(name)};, and fill it again afterwards`,
    );
  }
  if (options.some(({ key, value }) => key === "locale" && value !== "0")) {
    throw new Failure(
      `${name} is a full-text index with locales (locale=1), which an import does not carry`,
      `Work on a copy of the file without it, DROP TABLE ${quoted(name)};, and fill it again afterwards`,
    );
  }
  const settings = settingsOf(db, name);
  const hasList = has(db, `${name}_docsize`);
  const early = (setting: Setting): boolean => ["pgsz", "hashsize"].includes(setting.name);
  return {
    content,
    contentRowid: options.find(({ key }) => key === "content_rowid")?.value ?? "rowid",
    hasList,
    isEmpty: hasList && isEmpty(db, `${name}_docsize`),
    before: settings.filter(early),
    after: settings.filter((setting) => !early(setting)),
  };
}

/** Rows of `content` that are in the index: what follows FROM in a query, with the alias T. */
export function indexedRows(name: string, { content, contentRowid, hasList }: TextIndex): string {
  const from = `main.${quoted(content!)} AS T`;
  if (!hasList) return from;
  return `${from} WHERE T.${quoted(contentRowid)} IN (SELECT id FROM main.${quoted(`${name}_docsize`)})`;
}

/** Throws Failure unless the index holds exactly the texts that `content` has in the rows it lists. */
export function checkIndex(
  db: DatabaseSync,
  { name, sql, columns }: { name: string; sql: string; columns: readonly string[] },
  index: TextIndex,
): void {
  // The file is open for reading only, and stays so: only TEMP is written here.
  db.exec("PRAGMA query_only = off");
  db.enableDefensive(false);
  try {
    layOver(db, { name, sql, columns }, index);
    db.exec(`INSERT INTO temp.${check} (${check}, rank) VALUES ('integrity-check', 1)`);
  } catch (error) {
    const { content, hasList } = index;
    const which = hasList ? "the rows it lists" : "all rows; without columnsize it lists none";
    throw new Failure(
      `the full-text index ${name} does not hold the texts of ${content} as they are now ` +
        `(${which}): ${messageOf(error)}`,
      "What it was made from cannot be read back, and an index made anew could show what this one does not. Put it " +
        "right in the file, then import again. If it may show every row:\n" +
        `  INSERT INTO ${quoted(name)} (${quoted(name)}) VALUES ('rebuild');`,
      1,
      { cause: error },
    );
  } finally {
    db.exec(`DROP TABLE IF EXISTS temp.${check}; DROP VIEW IF EXISTS temp.${checkedRows}`);
    db.enableDefensive(true);
    db.exec("PRAGMA query_only = on");
  }
}

/** Makes a copy of the index over a view of the rows that it lists. */
function layOver(
  db: DatabaseSync,
  { name, sql, columns }: { name: string; sql: string; columns: readonly string[] },
  index: TextIndex,
): void {
  const texts = columns.map((column) => `T.${quoted(column)} AS ${quoted(column)}`).join(", ");
  db.exec(
    `CREATE TEMP VIEW ${checkedRows} AS SELECT T.${quoted(index.contentRowid)} AS paceline_id, ${texts} ` +
      `FROM ${indexedRows(name, index)}`,
  );
  const kept = argumentsOf(sql).filter(
    (argument) => !["content", "content_rowid"].includes(optionOf(argument)?.key ?? ""),
  );
  const content = [`content=${checkedRows}`, "content_rowid=paceline_id"];
  db.exec(`CREATE VIRTUAL TABLE temp.${check} USING fts5(${[...kept, ...content].join(", ")})`);
  for (const part of ["data", "idx", "config", ...(index.hasList ? ["docsize"] : [])]) {
    const copy = `temp.paceline_check_${part}`;
    db.exec(
      `DELETE FROM ${copy}; INSERT INTO ${copy} SELECT * FROM main.${quoted(`${name}_${part}`)}`,
    );
  }
}

function settingsOf(db: DatabaseSync, name: string): Setting[] {
  const rows = db.prepare(`SELECT k, v FROM main.${quoted(`${name}_config`)} ORDER BY k`).all();
  return rows
    .map((row) => ({ name: String(row["k"]), value: row["v"] }))
    .filter((setting) => setting.name !== "version");
}

/** `key = value` with the value as FTS5 reads it; undefined for a column. FTS5 takes the start of a key for the key. */
function optionOf(argument: string): Option | undefined {
  const [, word, text] = /^\s*(\w+)\s*=\s*([\s\S]*?)\s*$/.exec(argument) ?? [];
  if (word === undefined || text === undefined) return undefined;
  const start = word.toLowerCase();
  const known = ["content", "content_rowid", "locale"];
  const key = known.find((each) => each.startsWith(start)) ?? start;
  return { key, value: dequoted(text) };
}

function dequoted(text: string): string {
  const open = text[0] ?? "";
  if (!"'\"`[".includes(open) || open === "") return text;
  const close = open === "[" ? "]" : open;
  return text.slice(1, -1).replaceAll(close + close, close);
}

/** The arguments of a virtual table, as they are written. */
export function argumentsOf(sql: string): string[] {
  const found = /\sUSING\s+["[`]?\w+["\]`]?\s*\(/i.exec(sql);
  if (found === null) return [];
  const parts: string[] = [];
  let depth = 1;
  let start = found.index + found[0].length;
  for (let at = start; at < sql.length; at++) {
    const sign = sql[at]!;
    if ("'\"`[".includes(sign)) {
      at = sql.indexOf(sign === "[" ? "]" : sign, at + 1);
      if (at < 0) break;
    }
    if (sign === "(") depth++;
    if (sign === ")") depth--;
    if (depth > 0 && !(sign === "," && depth === 1)) continue;
    parts.push(sql.slice(start, at).trim());
    start = at + 1;
    if (depth === 0) break;
  }
  return parts.filter((part) => part !== "");
}

function has(db: DatabaseSync, table: string): boolean {
  const query = db.prepare("SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?");
  return query.get(table) !== undefined;
}

function isEmpty(db: DatabaseSync, table: string): boolean {
  return db.prepare(`SELECT 1 FROM main.${quoted(table)} LIMIT 1`).get() === undefined;
}

/** A setting of an index is made by an INSERT of its own kind. */
export function settingOf(index: string, { name, value }: Setting): WireStmt {
  const arg: Value =
    typeof value === "string" ? { type: "text", value } : { type: "integer", value: String(value) };
  const sql = `INSERT INTO ${quoted(index)} (${quoted(index)}, rank) VALUES (?, ?)`;
  return { sql, args: [{ type: "text", value: name }, arg] };
}
