/**
 * Statements of the schema, and what the list believes to be there. It may be wrong (a CREATE that failed, a
 * transaction that was rolled back): then what comes later is refused, on both sides alike.
 */

import type { Prng } from "../../../../src/base/prng.ts";
import { pick } from "../../mutate.ts";
import { literal } from "./values.ts";
import { named } from "./words.ts";

export type Table = {
  readonly name: string;
  readonly columns: string[];
  readonly kind: "table" | "view" | "fts";
  /** Its first column is a key, which others may refer to. */
  readonly isKeyed?: boolean;
};

const columnNames = [
  ...["a", "b", "c", "v", "n", "k", "order", "Name x", "é", "rowid", "_rowid_", "oid", "id"],
];
const types = ["", "INT", "INTEGER", "TEXT", "REAL", "BLOB", "NUMERIC", "VARCHAR(9)", "BOOLEAN"];
const strictTypes = ["INT", "INTEGER", "TEXT", "REAL", "BLOB", "ANY"];
const actions = ["CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION"];

export class Schema {
  readonly #prng: Prng;
  readonly #prefix: string;
  readonly tables: Table[] = [];
  readonly #others: { type: string; name: string }[] = [];
  #made = 0;
  /** FTS5 writes its index when a savepoint or transaction begins or ends: counters show which of ours there are. */
  hasSearch = false;

  /** `sound`: without foreign keys that refer to no key, and without REPLACE where there is no key. */
  readonly sound: boolean;

  constructor(prng: Prng, prefix: string, sound: boolean) {
    this.#prng = prng;
    this.sound = sound;
    this.#prefix = prefix;
  }

  /** A table to use; rarely one that is not there. */
  some(): Table {
    const missing: Table = { name: `${this.#prefix}none`, columns: ["a"], kind: "table" };
    if (this.tables.length === 0 || this.#prng.chance(0.01)) return missing;
    return pick(this.tables, this.#prng);
  }

  name(text: string): string {
    return named(text, this.#prng);
  }

  column(table: Table): string {
    const prng = this.#prng;
    if (prng.chance(0.02)) return pick(["nothing", "rowid", "oid", "_rowid_"], prng);
    return this.name(pick(table.columns, prng));
  }

  /** Any statement that changes the schema. */
  statement(): string {
    const make = pick(
      [
        ...[this.table, this.table, this.index, this.trigger, this.trigger, this.view, this.alter],
        ...[this.alter, this.drop, this.drop, this.search, this.upkeep],
      ],
      this.#prng,
    );
    return make.call(this);
  }

  table(): string {
    const prng = this.#prng;
    const name = this.#fresh("t");
    const exists = pick(["", "", "", "IF NOT EXISTS "], prng);
    if (prng.chance(0.05) && this.tables.length > 0) {
      this.tables.push({ name, columns: ["a", "b"], kind: "table" });
      const from = this.some();
      const select = `SELECT ${this.column(from)} AS a, 1 AS b FROM ${this.name(from.name)}`;
      return `CREATE TABLE ${exists}${this.name(name)} AS ${select}`;
    }
    const isStrict = prng.chance(0.12);
    const columns = this.#columnNames();
    const key = pick(["row", "row", "auto", "none", "none", "column", "pair", "hidden"], prng);
    const hasNoRowid = (key === "column" || key === "pair") && prng.chance(0.5);
    const definitions = columns.map((column, at) =>
      this.#column(column, { first: at === 0, key, isStrict, columns }),
    );
    definitions.push(...this.#constraints(columns, key));
    const isKeyed = key === "row" || key === "auto" || key === "column";
    this.tables.push({ name, columns, kind: "table", isKeyed });
    const options = [isStrict ? "STRICT" : "", hasNoRowid ? "WITHOUT ROWID" : ""].filter(Boolean);
    return `CREATE TABLE ${exists}${this.name(name)}(${definitions.join(", ")}) ${options.join(", ")}`.trim();
  }

  index(): string {
    const prng = this.#prng;
    const table = this.some();
    const name = this.#other("INDEX", "i");
    const unique = prng.chance(0.3) ? "UNIQUE " : "";
    const column = this.column(table);
    const by = pick([column, column, `${column} DESC`, `lower(${column})`, `${column} + 1`], prng);
    const second = prng.chance(0.3) ? `, ${this.column(table)} COLLATE NOCASE` : "";
    const where = prng.chance(0.25) ? ` WHERE ${column} ${pick(["> 1", "IS NOT NULL"], prng)}` : "";
    return `CREATE ${unique}INDEX ${this.name(name)} ON ${this.name(table.name)}(${by}${second})${where}`;
  }

  trigger(): string {
    const prng = this.#prng;
    const table = this.some();
    const target = this.some();
    const name = this.#other("TRIGGER", "g");
    const when = table.kind === "view" ? "INSTEAD OF" : pick(["BEFORE", "AFTER", "AFTER"], prng);
    const event = pick(["INSERT", "UPDATE", "DELETE", `UPDATE OF ${this.column(table)}`], prng);
    const row = event === "DELETE" ? "old" : "new";
    const guard = prng.chance(0.4)
      ? ` WHEN ${row}.${this.column(table)} ${pick(guards, prng)}`
      : "";
    const body = Array.from({ length: prng.integer(1, 3) }, () =>
      this.#inTrigger(target, row, table),
    );
    return (
      `CREATE TRIGGER ${this.name(name)} ${when} ${event} ON ${this.name(table.name)}` +
      `${prng.chance(0.3) ? " FOR EACH ROW" : ""}${guard} BEGIN ${body.join("; ")}; END`
    );
  }

  view(): string {
    const prng = this.#prng;
    const table = this.some();
    const name = this.#fresh("v");
    this.tables.push({ name, columns: ["a", "b"], kind: "view" });
    const where = prng.chance(0.4) ? ` WHERE ${this.column(table)} > ${literal(prng)}` : "";
    const columns = `${this.column(table)}, ${this.column(table)}`;
    return `CREATE VIEW ${this.name(name)}(a, b) AS SELECT ${columns} FROM ${this.name(table.name)}${where}`;
  }

  alter(): string {
    const prng = this.#prng;
    const table = this.some();
    const head = `ALTER TABLE ${this.name(table.name)}`;
    const column = this.column(table);
    const how = prng.integer(0, 4);
    if (how === 0) {
      const name = this.#fresh("t");
      this.tables.push({ ...table, name });
      return `${head} RENAME TO ${this.name(name)}`;
    }
    const fresh = pick(["x", "y", "Name x", "z"], prng);
    table.columns.push(fresh);
    if (how === 1) return `${head} RENAME COLUMN ${column} TO ${this.name(fresh)}`;
    if (how === 2) return `${head} DROP COLUMN ${column}`;
    const rest = pick(
      ["", " INT DEFAULT 7", " NOT NULL", " TEXT NOT NULL DEFAULT 'd'", " AS (1)"],
      prng,
    );
    return `${head} ADD COLUMN ${this.name(fresh)}${rest}`;
  }

  drop(): string {
    const prng = this.#prng;
    const exists = pick(["", "", "IF EXISTS "], prng);
    if (prng.chance(0.7) && this.#others.length > 0) {
      const { type, name } = pick(this.#others, prng);
      return `DROP ${type} ${exists}${this.name(name)}`;
    }
    const table = this.some();
    if (this.tables.length > 2) this.tables.splice(this.tables.indexOf(table), 1);
    return `DROP ${table.kind === "view" ? "VIEW" : "TABLE"} ${exists}${this.name(table.name)}`;
  }

  /** Full text search, small. */
  search(): string {
    this.hasSearch = true;
    const name = this.#fresh("f");
    this.tables.push({ name, columns: ["a", "b"], kind: "fts" });
    return `CREATE VIRTUAL TABLE ${this.name(name)} USING fts5(a, b)`;
  }

  upkeep(): string {
    const table = this.some();
    return pick(
      [`REINDEX ${this.name(table.name)}`, `ANALYZE ${this.name(table.name)}`],
      this.#prng,
    );
  }

  #column(
    column: string,
    {
      first,
      key,
      isStrict,
      columns,
    }: { first: boolean; key: string; isStrict: boolean; columns: readonly string[] },
  ): string {
    const prng = this.#prng;
    const name = this.name(column);
    if (first && key === "row") return `${name} INTEGER PRIMARY KEY${this.#conflict()}`;
    if (first && key === "auto") return `${name} INTEGER PRIMARY KEY AUTOINCREMENT`;
    const type = pick(isStrict ? strictTypes : types, prng);
    const parts = [name, type];
    if (first && key === "column") parts.push(`PRIMARY KEY${this.#conflict()}`);
    if (prng.chance(0.15)) parts.push(`NOT NULL${this.#conflict()}`);
    if (prng.chance(0.2)) parts.push(`UNIQUE${this.#conflict()}`);
    if (prng.chance(0.1))
      parts.push(`CHECK (${name} ${pick(["< 8", "<> 3", "IS NOT 'b'"], prng)})`);
    if (prng.chance(0.2))
      parts.push(`DEFAULT ${pick(["5", "'d'", "(1 + 1)", "NULL", "x'01'", "1.5"], prng)}`);
    else if (!first && prng.chance(0.08)) {
      const of = this.name(columns[0]!);
      parts.push(
        `AS (${of} ${pick(["+ 1", "|| 'x'"], prng)}) ${pick(["STORED", "VIRTUAL", ""], prng)}`,
      );
    }
    if (prng.chance(0.05)) parts.push("COLLATE NOCASE");
    if (prng.chance(0.1) && this.tables.length > 0) parts.push(this.#reference());
    return parts.filter(Boolean).join(" ");
  }

  #constraints(columns: readonly string[], key: string): string[] {
    const prng = this.#prng;
    const constraints: string[] = [];
    const pair = columns
      .slice(0, 2)
      .map((column) => this.name(column))
      .join(", ");
    if (key === "pair") constraints.push(`PRIMARY KEY (${pair})${this.#conflict()}`);
    if (prng.chance(0.2)) constraints.push(`UNIQUE (${pair})${this.#conflict()}`);
    if (prng.chance(0.08)) constraints.push(`CHECK (${this.name(columns[0]!)} <> 4)`);
    if (prng.chance(0.1) && this.tables.length > 0) {
      const reference = this.#reference();
      const column = this.name(columns.at(-1)!);
      if (reference !== "") constraints.push(`FOREIGN KEY (${column}) ${reference}`);
    }
    return constraints;
  }

  #reference(): string {
    const prng = this.#prng;
    const keyed = this.tables.filter((table) => table.isKeyed === true);
    const parent = this.sound ? keyed.at(-1) : this.some();
    if (parent === undefined) return "";
    const column = prng.chance(0.6) ? `(${this.name(parent.columns[0]!)})` : "";
    const remove = prng.chance(0.6) ? ` ON DELETE ${pick(actions, prng)}` : "";
    const update = prng.chance(0.4) ? ` ON UPDATE ${pick(actions, prng)}` : "";
    const defer = prng.chance(0.3) ? " DEFERRABLE INITIALLY DEFERRED" : "";
    return `REFERENCES ${this.name(parent.name)}${column}${remove}${update}${defer}`;
  }

  #conflict(): string {
    return this.#prng.chance(0.4) ? ` ON CONFLICT ${this.clause()}` : "";
  }

  /** What happens on a conflict. */
  clause(): string {
    const clause = pick(["FAIL", "IGNORE", "REPLACE", "ROLLBACK", "ABORT"], this.#prng);
    return this.sound && clause === "REPLACE" ? "IGNORE" : clause;
  }

  #inTrigger(target: Table, row: string, table: Table): string {
    const prng = this.#prng;
    const of = `${row}.${this.column(table)}`;
    const into = this.name(target.name);
    const column = this.column(target);
    const counter = pick(["changes()", "last_insert_rowid()", "total_changes() > 5"], prng);
    const or = prng.chance(0.3) ? ` OR ${this.clause()}` : "";
    const raise = pick(
      ["IGNORE", "ABORT, 'no'", "FAIL, 'part'", "ROLLBACK, 'all'", "ABORT, 'no' || 1"],
      prng,
    );
    return pick(
      [
        `INSERT${or} INTO ${into}(${column}) VALUES (${of})`,
        `UPDATE${or} ${into} SET ${column} = ${of} WHERE ${column} IS NOT ${of} AND ${column} < 3`,
        `DELETE FROM ${into} WHERE ${column} = ${of}`,
        `SELECT RAISE(${raise}) WHERE ${of} ${pick(guards, prng)}`,
        `INSERT INTO ${into}(${column}) SELECT ${counter}`,
      ],
      prng,
    );
  }

  #columnNames(): string[] {
    const count = this.#prng.integer(1, 5);
    const names = new Set<string>();
    while (names.size < count) {
      names.add(this.#prng.chance(0.7) ? columnNames[names.size]! : pick(columnNames, this.#prng));
    }
    return [...names];
  }

  #fresh(letter: string): string {
    if (this.#made > 0 && this.#prng.chance(0.05)) return `${this.#prefix}${letter}1`;
    return `${this.#prefix}${letter}${++this.#made}`;
  }

  #other(type: string, letter: string): string {
    const name = this.#fresh(letter);
    this.#others.push({ type, name });
    return name;
  }
}

const guards = ["= 2", "> 4", "IS NULL", "IN (1, 'a')", "= 'b'"];
