/**
 * What the recorder must know of a table: whether its rows can travel as a changeset, and what stands in the way.
 * Kept until the schema changes.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { parseScript } from "../sql/tokenizer.ts";

export type TableFacts = {
  readonly name: string;
  /** In the order of a changeset: without generated columns. */
  readonly columns: readonly string[];
  /** For each of them its place in the primary key, from 1; 0 if it is not in it. */
  readonly primaryKey: readonly number[];
  readonly isVirtual: boolean;
  readonly hasKey: boolean;
  /** Columns of the key that may hold NULL: rows that have one there are left out of changesets. */
  readonly nullableKey: readonly string[];
  readonly isAutoincrement: boolean;
  /** Name of a trigger on it that deletes rows; deleting cannot be suppressed where a changeset is applied. */
  readonly deletingTrigger: string | undefined;
  /** It, or a trigger on it, may replace rows: no trigger sees those go. */
  readonly replaces: boolean;
};

export class SchemaFacts {
  readonly #list: StatementSync;
  readonly #columns: StatementSync;
  readonly #sql: StatementSync;
  readonly #triggers: StatementSync;
  readonly #shadowList: StatementSync;
  #shadows: ReadonlySet<string> | undefined;
  readonly #factsByName = new Map<string, TableFacts | undefined>();

  /** Statements of our own: to be used as ourselves (authorizer.ts). */
  constructor(db: DatabaseSync) {
    this.#list = db.prepare("SELECT type, wr FROM pragma_table_list(?) WHERE schema = 'main'");
    this.#shadowList = db.prepare(
      "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow'",
    );
    this.#columns = db.prepare(
      'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?)',
    );
    this.#sql = db.prepare("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?");
    this.#triggers = db.prepare(
      "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE",
    );
  }

  forget(): void {
    this.#shadows = undefined;
    this.#factsByName.clear();
  }

  /** Names of the ordinary tables in which virtual tables keep what they have. */
  get shadows(): ReadonlySet<string> {
    this.#shadows ??= new Set(
      (this.#shadowList.all() as unknown as string[][]).map(([name]) => name!),
    );
    return this.#shadows;
  }

  /** Undefined for a view, and for what does not exist. */
  of(name: string): TableFacts | undefined {
    if (this.#factsByName.has(name)) return this.#factsByName.get(name);
    const facts = this.#read(name);
    this.#factsByName.set(name, facts);
    return facts;
  }

  #read(name: string): TableFacts | undefined {
    const found = this.#list.get(name) as unknown as [string, bigint] | undefined;
    if (found === undefined || found[0] === "view") return undefined;
    const rows = this.#columns.all(name) as unknown as [string, string, bigint, bigint, bigint][];
    const stored = rows.filter(([, , , , hidden]) => hidden === 0n);
    const key = stored.filter(([, , , pk]) => pk > 0n);
    const withoutRowid = found[1] === 1n;
    const isRowid = key.length === 1 && key[0]![1].toUpperCase() === "INTEGER";
    const sql = String((this.#sql.get(name) as unknown as [string] | undefined)?.[0] ?? "");
    return {
      name,
      columns: stored.map(([column]) => column),
      primaryKey: stored.map(([, , , pk]) => Number(pk)),
      isVirtual: found[0] === "virtual",
      hasKey: key.length > 0,
      nullableKey:
        withoutRowid || isRowid
          ? []
          : key.filter(([, , not]) => not === 0n).map(([column]) => column),
      isAutoincrement: isRowid && /\bAUTOINCREMENT\b/i.test(sql),
      ...this.#triggersOf(name, sql),
    };
  }

  #triggersOf(table: string, sql: string): Pick<TableFacts, "deletingTrigger" | "replaces"> {
    const triggers = this.#triggers.all(table) as unknown as [string, string][];
    return {
      deletingTrigger: triggers.find(([, text]) => deletes(text))?.[0],
      replaces: mayReplace(sql) || triggers.some(([, text]) => mayReplace(text)),
    };
  }
}

/** Whether the word stands there. Too careful rather than too bold: it may be the function. */
export function mayReplace(sql: string): boolean {
  return /\bREPLACE\b/i.test(sql);
}

/** Whether the body of a trigger has the word DELETE. Too careful rather than too bold: it may stand in a text. */
function deletes(sql: string): boolean {
  const body = /\bBEGIN\b([\s\S]*)$/i.exec(sql)?.[1] ?? sql;
  return /\bDELETE\b/i.test(body);
}

/** Whether a statement asks for some rows without saying which come first. */
export function limitsWithoutOrder(sql: string): boolean {
  return parseScript(sql).some(({ text }) => /\bLIMIT\b/i.test(text) && !/\bORDER\b/i.test(text));
}
