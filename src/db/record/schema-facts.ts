/**
 * What the recorder must know of a table: whether its rows can travel as a changeset, and what stands in the way.
 * Kept until the schema changes.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { messageOf } from "../../base/errors.ts";
import { quoted } from "../sql/quoted.ts";

export type TableFacts = {
  readonly name: string;
  /** In the order of a changeset: without generated columns. */
  readonly columns: readonly string[];
  /** For each of them its place in the primary key, from 1; 0 if it is not in it. */
  readonly primaryKey: readonly number[];
  readonly isVirtual: boolean;
  readonly hasKey: boolean;
  /** Of a table without key: a name of its rowid that is not a column's. Undefined when all three are taken. */
  readonly rowid: string | undefined;
  /** In SQL, its rowid where SQLite may choose one by chance, once the largest is there. */
  readonly chosenRowid: string | undefined;
  /** Its rowid is neither a column nor what its rows are known by: it may differ between copies. */
  readonly hidesRowid: boolean;
  /** A full text index of this table, whose rows it finds by a rowid that may differ between copies. */
  readonly indexOf: string | undefined;
  /** Columns of the key that may hold NULL: rows that have one there are left out of changesets. */
  readonly nullableKey: readonly string[];
  readonly isAutoincrement: boolean;
  /** It, or a trigger on it, may replace rows: no trigger sees those go. */
  readonly replaces: boolean;
  /** It says itself what becomes of rows that violate a constraint: which do may depend on their order. */
  readonly resolves: boolean;
  /** Its foreign keys, or some of them, are looked at when the transaction ends. */
  readonly defers: boolean;
};

/** The names of a rowid, as far as no column has them. The first is the one that SQLite's changesets know. */
export const rowidNames: readonly string[] = ["_rowid_", "rowid", "oid"];

/** Names of what travels of a row: one without key is known by its rowid, which stands first. */
export function travellingColumns({ rowid, columns }: TableFacts): readonly string[] {
  return rowid === undefined ? columns : [rowid, ...columns];
}

/** For each of them its place in the key. */
export function travellingKey({ rowid, primaryKey }: TableFacts): Uint8Array {
  return Uint8Array.from(rowid === undefined ? primaryKey : [1, ...primaryKey]);
}

export class SchemaFacts {
  readonly #db: DatabaseSync;
  readonly #list: StatementSync;
  readonly #columns: StatementSync;
  readonly #sql: StatementSync;
  readonly #keyIndex: StatementSync;
  readonly #view: StatementSync;
  readonly #triggers: StatementSync;
  readonly #shadowList: StatementSync;
  #shadows: ReadonlyMap<string, string> | undefined;
  readonly #factsByName = new Map<string, TableFacts | undefined>();
  readonly #mismatched = new WeakMap<TableFacts, boolean>();

  /** Statements of our own: to be used as ourselves (authorizer.ts). */
  constructor(db: DatabaseSync) {
    this.#db = db;
    this.#list = db.prepare("SELECT type, wr FROM pragma_table_list(?) WHERE schema = 'main'");
    this.#shadowList = db.prepare(shadowList);
    this.#columns = db.prepare(
      'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?)',
    );
    this.#view = db.prepare(
      "SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = ? COLLATE NOCASE",
    );
    this.#keyIndex = db.prepare("SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk'");
    this.#sql = db.prepare("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?");
    this.#triggers = db.prepare(
      "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE ORDER BY rowid",
    );
  }

  forget(): void {
    this.#shadows = undefined;
    this.#factsByName.clear();
  }

  /** The ordinary tables in which virtual tables keep what they have, and the name of the virtual one. */
  get shadows(): ReadonlyMap<string, string> {
    this.#shadows ??= shadowsOf(this.#shadowList.all() as unknown as [string, string][]);
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
    // A key that is the rowid has no index.
    const isRowid = key.length === 1 && this.#keyIndex.get(name) === undefined;
    const names = new Set(rows.map(([column]) => column.toLowerCase()));
    const sql = String((this.#sql.get(name) as unknown as [string] | undefined)?.[0] ?? "");
    const isVirtual = found[0] === "virtual";
    const isAutoincrement = isRowid && /\bAUTOINCREMENT\b/i.test(sql);
    const free = rowidNames.find((each) => !names.has(each));
    const hasChosen = !withoutRowid && !isVirtual && !isAutoincrement;
    return {
      name,
      columns: stored.map(([column]) => column),
      primaryKey: stored.map(([, , , pk]) => Number(pk)),
      isVirtual,
      hasKey: key.length > 0,
      rowid: key.length > 0 ? undefined : free,
      chosenRowid: !hasChosen ? undefined : isRowid ? quoted(key[0]![0]) : free,
      hidesRowid: key.length > 0 && !withoutRowid && !isRowid,
      indexOf: isVirtual ? this.#indexedByRowid(sql) : undefined,
      nullableKey:
        withoutRowid || isRowid
          ? []
          : key.filter(([, , not]) => not === 0n).map(([column]) => column),
      isAutoincrement,
      ...this.#conflictsOf(name, sql),
    };
  }

  /** Of FTS5's external content: a table whose hidden rowid the index uses, or a view that may name one. */
  #indexedByRowid(sql: string): string | undefined {
    const content = ftsOption(sql, "content");
    if (content === undefined) return undefined;
    const by = ftsOption(sql, "content_rowid") ?? "rowid";
    const view = (this.#view.get(content) as unknown as [string] | undefined)?.[0];
    if (view !== undefined) return /\b(?:_rowid_|rowid|oid)\b/i.test(view) ? content : undefined;
    const facts = this.of(content);
    const isColumn = facts?.columns.some((name) => name.toLowerCase() === by.toLowerCase());
    return facts?.hidesRowid && !isColumn ? content : undefined;
  }

  /** Of a table, in the order in which they were made. */
  triggersOf(table: string): { readonly name: string; readonly sql: string }[] {
    const rows = this.#triggers.all(table) as unknown as [string, string][];
    return rows.map(([name, sql]) => ({ name, sql }));
  }

  /**
   * Foreign keys, which are on, refer to columns that are no key of the table. SQLite says so of every statement on it
   * but an INSERT of one row, and of that one as well once the table has triggers.
   */
  isMismatched(facts: TableFacts): boolean {
    const known = this.#mismatched.get(facts);
    if (known !== undefined) return known;
    let isMismatched = false;
    try {
      this.#db.prepare(`DELETE FROM main.${quoted(facts.name)}`);
    } catch (error) {
      isMismatched = messageOf(error).startsWith("foreign key mismatch");
    }
    this.#mismatched.set(facts, isMismatched);
    return isMismatched;
  }

  /** Whether a statement that writes these tables and views may replace rows, by itself or by a trigger. */
  mayReplace(touched: readonly string[], text: string): boolean {
    const doesAt = (name: string) =>
      this.of(name)?.replaces ?? this.triggersOf(name).some(({ sql }) => mayReplace(sql));
    return mayReplace(text) || touched.some(doesAt);
  }

  #conflictsOf(table: string, sql: string): Pick<TableFacts, "replaces" | "resolves" | "defers"> {
    const triggers = this.triggersOf(table);
    return {
      replaces: mayReplace(sql) || triggers.some((trigger) => mayReplace(trigger.sql)),
      resolves: /\bCONFLICT\b/i.test(sql),
      defers: /\bDEFERRED\b/i.test(sql),
    };
  }
}

/** Of the arguments of a virtual table, with or without quotes around it. Empty is as absent. */
function ftsOption(sql: string, name: string): string | undefined {
  const pattern = `\\b${name}\\s*=\\s*(?:'([^']*)'|"([^"]*)"|\`([^\`]*)\`|\\[([^\\]]*)\\]|(\\w+))`;
  const found = new RegExp(pattern, "i")
    .exec(sql)
    ?.slice(1)
    .find((text) => text !== undefined);
  return found === "" ? undefined : found;
}

const shadowList =
  "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type IN ('shadow', 'virtual')";

/** The ordinary tables in which virtual tables keep what they have, and the name of the virtual one. */
export function shadowsIn(db: DatabaseSync): Map<string, string> {
  return shadowsOf(db.prepare(shadowList).all() as unknown as [string, string][]);
}

/** SQLite's rule: a shadow table is named after its virtual table, `_`, and what it is for. */
function shadowsOf(tables: readonly [string, string][]): Map<string, string> {
  const virtual = tables.filter(([, type]) => type === "virtual").map(([name]) => name);
  const owned = new Map<string, string>();
  for (const [name, type] of tables) {
    if (type !== "shadow") continue;
    const [owner] = virtual
      .filter((each) => name.toLowerCase().startsWith(`${each.toLowerCase()}_`))
      .sort((a, b) => b.length - a.length);
    owned.set(name, owner ?? name);
  }
  return owned;
}

/** Whether the word stands there, and is not the function. Too careful rather than too bold: it may be a name. */
export function mayReplace(sql: string): boolean {
  return /\bREPLACE\b(?!\s*\()/i.test(sql);
}
