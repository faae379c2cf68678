/**
 * Carries a database into a cluster: tables, rows, indexes, views, triggers, in that order.
 *
 * Each chunk of rows is one transaction. When its outcome stays unknown, it is sent again with INSERT OR IGNORE:
 * rows travel with their rowid or primary key, and a chunk is all or nothing, so the second copy either meets none of
 * its rows or all of them and cannot double one. Because OR IGNORE would also hide a row that is refused for another
 * reason, tables with a repeated chunk are counted at the end.
 *
 * Foreign keys need no order: SQLite does not enforce them unless a connection asks for it, and ours does not.
 *
 * When anything fails, what was created is dropped again. What --replace dropped is gone.
 */

import type { DatabaseSync } from "node:sqlite";
import { messageOf } from "../../base/errors.ts";
import { quoted } from "../../db/sql/quoted.ts";
import type { WireStmt } from "../remote/hrana.ts";
import { Refused } from "../remote/remote.ts";
import { Failure, plural } from "../terminal.ts";
import type { PatientSql } from "./patient.ts";
import type { Piece, Plan, TablePlan } from "./plan.ts";
import type { Progress } from "./progress.ts";
import { chunksOf } from "./rows.ts";

export class Importer {
  readonly #db: DatabaseSync;
  readonly #plan: Plan;
  readonly #sql: PatientSql;
  readonly #progress: Progress;
  /** Tables and views we made, to be dropped if we fail. */
  readonly #created: Piece[] = [];
  /** Tables with a chunk that was sent twice. */
  readonly #repeated = new Set<TablePlan>();

  constructor(db: DatabaseSync, plan: Plan, sql: PatientSql, progress: Progress) {
    this.#db = db;
    this.#plan = plan;
    this.#sql = sql;
    this.#progress = progress;
  }

  /** Throws Failure; nothing of the import is left then, unless the failure says what. */
  async run(replace: boolean): Promise<void> {
    const inTheWay = await this.#namesInTheWay();
    if (inTheWay.length > 0 && !replace) {
      const names = inTheWay.slice(0, 10).map(({ type, name }) => `${type} ${name}`);
      throw new Failure(
        `the cluster has ${plural(inTheWay.length, "thing")} of the same name already: ${names.join(", ")}`,
        "Nothing was done. --replace drops them first, with all their rows.",
      );
    }
    try {
      await this.#createTables(inTheWay);
      for (const table of this.#plan.tables) await this.#copyRows(table);
      await this.#checkRepeated();
      await this.#finish();
    } catch (error) {
      throw await this.#undo(error);
    }
  }

  async #namesInTheWay(): Promise<Piece[]> {
    const { tables, indexes, behaviours, shadows } = this.#plan;
    const own = [...tables, ...indexes, ...behaviours].map(({ name }) => name);
    const wanted = new Set([...own, ...shadows].map((name) => name.toLowerCase()));
    const rows = await this.#sql.query("SELECT type, name FROM sqlite_schema ORDER BY rowid");
    return rows
      .map(([type, name]) => ({ type: type!, name: name!, sql: "" }))
      .filter(({ name }) => wanted.has(name.toLowerCase()));
  }

  async #createTables(inTheWay: readonly Piece[]): Promise<void> {
    // IF EXISTS: an index or a trigger goes with its table, the tables inside a virtual table with that one.
    const order = ["trigger", "view", "index", "table"];
    const isShadow = ({ name }: Piece): boolean => this.#plan.shadows.includes(name);
    const drops = [...inTheWay]
      .sort((a, b) => Number(isShadow(a)) - Number(isShadow(b)))
      .sort((a, b) => order.indexOf(a.type) - order.indexOf(b.type))
      .map(({ type, name }) => dropIfExists(type, name));
    const { tables } = this.#plan;
    const creates = [...drops, ...tables.map(({ sql }) => ({ sql }))];
    if (creates.length === 0) return;
    try {
      await this.#sql.transaction(creates, async () => {
        // The first try was all or nothing. Without drops, one of its tables tells for all; with drops, the table
        // may be the old one as well as the new one, and dropping either is right.
        if (drops.length === 0) return (await this.#exists(tables[0])) ? undefined : creates;
        return [...tables.map(({ name }) => dropIfExists("table", name)), ...creates];
      });
    } catch (error) {
      // Refused: nothing was made, and what has our names now belongs to someone else.
      if (!(error instanceof Refused)) this.#created.push(...tables);
      throw error;
    }
    this.#created.push(...tables);
  }

  async #copyRows(table: TablePlan): Promise<void> {
    if (table.rebuild) return;
    for (const { stmts, rows } of chunksOf(this.#db, table, this.#plan.isUtf8)) {
      const { repeated } = await this.#sql.transaction(stmts, async () => {
        if (table.hasKey) return stmts.map(orIgnore);
        throw new Failure(
          `it is not known whether some rows of ${table.name} arrived, and they have no key to tell by`,
          "Run the import again.",
        );
      });
      if (repeated) this.#repeated.add(table);
      this.#progress.rows(rows, table.name);
    }
  }

  async #checkRepeated(): Promise<void> {
    for (const { name, rows } of this.#repeated) {
      const [row] = await this.#sql.query(`SELECT count(*) FROM ${quoted(name)}`);
      if (Number(row?.[0]) === rows) continue;
      throw new Failure(
        `${name} should have ${rows} rows and has ${row?.[0]}; does someone write to it?`,
      );
    }
  }

  /** Everything that stands on the rows. Each step can be repeated without harm. */
  async #finish(): Promise<void> {
    const { tables, sequences, indexes, behaviours, marks } = this.#plan;
    const isOurs = (name: string): boolean => tables.some((table) => table.name === name);
    for (const { name, seq } of sequences.filter((sequence) => isOurs(sequence.name))) {
      const value = [
        { type: "text", value: name },
        { type: "integer", value: String(seq) },
      ] as const;
      const stmts: WireStmt[] = [
        { sql: "DELETE FROM sqlite_sequence WHERE name = ?", args: [value[0]] },
        { sql: "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", args: value },
      ];
      await this.#run(stmts, async () => false);
    }
    for (const { name } of tables.filter((table) => table.rebuild)) {
      const sql = `INSERT INTO ${quoted(name)} (${quoted(name)}) VALUES ('rebuild')`;
      await this.#run([{ sql }], async () => false);
    }
    for (const index of indexes) {
      this.#progress.rows(0, `index ${index.name}`);
      await this.#run([{ sql: index.sql }], async () => await this.#exists(index));
    }
    const views = behaviours.filter(({ type }) => type === "view");
    this.#created.push(...views);
    for (const piece of behaviours) {
      await this.#run([{ sql: piece.sql }], async () => await this.#exists(piece));
    }
    for (const { pragma, value } of marks) {
      await this.#run([{ sql: `PRAGMA ${pragma} = ${value}` }], async () => false);
    }
  }

  async #run(stmts: readonly WireStmt[], isDone: () => Promise<boolean>): Promise<void> {
    if (stmts.length === 0) return;
    await this.#sql.transaction(stmts, async () => ((await isDone()) ? undefined : stmts));
  }

  async #exists(piece: Piece | undefined): Promise<boolean> {
    const rows = await this.#sql.query("SELECT type, name FROM sqlite_schema");
    return rows.some(([type, name]) => type === piece?.type && name === piece?.name);
  }

  /** Drops what was created. Returns the failure to throw. */
  async #undo(error: unknown): Promise<Failure> {
    const hint = error instanceof Failure ? error.hint : undefined;
    const message = messageOf(error);
    if (this.#created.length === 0) return new Failure(message, hint, 1, { cause: error });
    const stmts = [...this.#created].reverse().map(({ type, name }) => dropIfExists(type, name));
    try {
      await this.#sql.cleanUp(stmts);
    } catch (second) {
      return new Failure(
        `${message}. Then what was imported so far could not be removed: ${messageOf(second)}`,
        `Still there, whole or in part: ${this.#created.map(({ name }) => name).join(", ")}`,
        1,
        { cause: error },
      );
    }
    const text = hint === undefined ? "" : `${hint}\n`;
    return new Failure(message, `${text}What had been imported so far was removed again.`, 1, {
      cause: error,
    });
  }
}

function dropIfExists(type: string, name: string): WireStmt {
  return { sql: `DROP ${type} IF EXISTS ${quoted(name)}` };
}

function orIgnore(stmt: WireStmt): WireStmt {
  return { ...stmt, sql: stmt.sql.replace(/^INSERT/, "INSERT OR IGNORE") };
}
