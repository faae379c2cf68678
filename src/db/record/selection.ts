/**
 * A copy that holds the rows of some tables only: which those are, and what a statement has to do with them.
 *
 * The schema is whole everywhere, so that what changes it fits; the tables that are not chosen are empty. So a
 * statement that travels as it is can be run here only if nothing that it reads is missing.
 *
 * Names are compared as SQLite does, without regard to case. What virtual tables keep for themselves belongs to them.
 */

import { constants, type DatabaseSync } from "node:sqlite";
import { shadowsIn } from "./schema-facts.ts";

/** What a statement was compiled to do, triggers and foreign key actions included. */
export type Use = {
  readonly writesChosen: boolean;
  readonly writesOthers: boolean;
  /** A table that it reads and that is not chosen; undefined if there is none. */
  readonly readsOther: string | undefined;
  /** ALTER TABLE: a name may stand for another table afterwards. */
  readonly alters: boolean;
};

type Found = { readonly name: string; readonly isVirtual: boolean };

export class Selection {
  readonly #db: DatabaseSync;
  readonly #chosen: ReadonlySet<string>;
  #tables: readonly Found[] | undefined;
  /** Of tables in which virtual ones keep what they have: which is the virtual one. */
  #owners: ReadonlyMap<string, string> | undefined;
  #written = new Set<string>();
  #read = new Set<string>();
  #alters = false;

  constructor(db: DatabaseSync, tables: readonly string[]) {
    this.#db = db;
    this.#chosen = new Set(tables.map((name) => name.toLowerCase()));
  }

  has(table: string): boolean {
    this.#owners ??= shadowsIn(this.#db);
    return this.#chosen.has((this.#owners.get(table) ?? table).toLowerCase());
  }

  /** Chosen tables that exist, in lower case. */
  get existing(): ReadonlySet<string> {
    const names = this.#found().map(({ name }) => name.toLowerCase());
    return new Set(names.filter((name) => this.#chosen.has(name)));
  }

  /** Tables that are not chosen, the virtual ones first: emptying those may need what ordinary ones hold. */
  get others(): readonly Found[] {
    const others = this.#found().filter(({ name }) => !this.has(name));
    return [...others.filter((t) => t.isVirtual), ...others.filter((t) => !t.isVirtual)];
  }

  /** The schema has changed. */
  forget(): void {
    this.#tables = undefined;
    this.#owners = undefined;
  }

  /** For the connection's authorizer. */
  note(action: number, first: string | null): void {
    const name = (first ?? "").toLowerCase();
    if (action === constants.SQLITE_READ) this.#read.add(name);
    else if (action === constants.SQLITE_ALTER_TABLE) this.#alters = true;
    else if (writing.has(action)) this.#written.add(name);
  }

  /** What `compile` compiles, without running it. */
  useOf(compile: () => void): Use {
    const others = this.others.map(({ name }) => name.toLowerCase());
    this.#written = new Set();
    this.#read = new Set();
    this.#alters = false;
    compile();
    return {
      writesChosen: [...this.#written].some((name) => this.#chosen.has(name)),
      writesOthers: others.some((name) => this.#written.has(name)),
      readsOther: others.find((name) => this.#read.has(name)),
      alters: this.#alters,
    };
  }

  #found(): readonly Found[] {
    this.#tables ??= tablesOf(this.#db);
    return this.#tables;
  }
}

const writing: ReadonlySet<number> = new Set([
  constants.SQLITE_INSERT,
  constants.SQLITE_UPDATE,
  constants.SQLITE_DELETE,
]);

/** Tables of the database as its users know them: ours, SQLite's and those inside of virtual tables left out. */
export function tablesOf(db: DatabaseSync): readonly Found[] {
  const rows = db
    .prepare(
      `SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name`,
    )
    .all() as unknown as [string, string][];
  return rows.map(([name, type]) => ({ name, isVirtual: type === "virtual" }));
}
