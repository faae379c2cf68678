/**
 * Carries a database into a cluster: tables, rows, indexes, views, triggers, in that order.
 *
 * Each chunk of rows is one transaction and happens exactly once (ledger.ts). A chunk that is refused is sent again
 * with a statement for each row: in that form it may go through, where a statement took too long; or the row that is
 * to blame is known by name.
 *
 * Foreign keys need no order: our streams turn them off, and the file was asked before (foreign-keys.ts).
 *
 * When anything fails, what was created is dropped again. What --replace dropped is gone.
 */

import type { DatabaseSync } from "node:sqlite";
import { messageOf } from "../../base/errors.ts";
import { quoted } from "../../db/sql/quoted.ts";
import type { WireResult, WireStmt } from "../remote/hrana.ts";
import { Refused } from "../remote/remote.ts";
import { Failure, plural } from "../terminal.ts";
import { settingOf } from "./fts5.ts";
import { Ledger } from "./ledger.ts";
import type { PatientSql } from "./patient.ts";
import type { Piece, Plan, TablePlan } from "./plan.ts";
import type { Progress } from "./progress.ts";
import { Chunk, chunksOf } from "./rows.ts";

export class Importer {
  readonly #db: DatabaseSync;
  readonly #plan: Plan;
  readonly #sql: PatientSql;
  readonly #ledger: Ledger;
  readonly #progress: Progress;
  /** Tables and views we made, to be dropped if we fail. */
  readonly #created: Piece[] = [];
  /** There may be a ledger. */
  #isOpen = false;

  constructor(db: DatabaseSync, plan: Plan, sql: PatientSql, progress: Progress) {
    this.#db = db;
    this.#plan = plan;
    this.#sql = sql;
    this.#ledger = new Ledger(sql);
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
      .sort((a, b) => order.indexOf(a.type) - order.indexOf(b.type));
    const { tables } = this.#plan;
    try {
      await this.#ledger.open([...drops.map(dropIfExists), ...tables.map(({ sql }) => ({ sql }))]);
    } catch (error) {
      // Refused: nothing was made, and what has our names now belongs to someone else.
      if (error instanceof Refused) throw this.#named([undefined, ...drops, ...tables], error);
      this.#created.push(...tables);
      this.#isOpen = true;
      throw error;
    }
    this.#created.push(...tables);
    this.#isOpen = true;
  }

  /** The failure, with the piece whose statement failed. */
  #named(pieces: readonly (Piece | undefined)[], error: Refused): Failure {
    const piece = pieces[error.statement ?? -1];
    if (piece === undefined) return error;
    const text = `${piece.type} ${piece.name}: ${error.message}`;
    return new Failure(text, error.hint, 1, { cause: error });
  }

  async #copyRows(table: TablePlan): Promise<void> {
    const { name, before, after } = table;
    for (const setting of before) await this.#ledger.run([settingOf(name, setting)]);
    if (table.rows > 0) {
      const { isUtf8 } = this.#plan;
      const source = { db: this.#db, table, isUtf8, ledger: this.#ledger.name };
      let pieces = 0;
      for (const chunk of chunksOf(source)) {
        if (chunk instanceof Chunk) {
          await this.#copyChunk(chunk, pieces > 0);
          pieces = 0;
          this.#progress.did(chunk.rows, chunk.bytes, name);
        } else {
          await this.#ledger.put(chunk);
          pieces++;
          this.#progress.did(0, chunk.bytes.byteLength, name);
        }
      }
    }
    for (const setting of after) await this.#ledger.run([settingOf(name, setting)]);
  }

  async #copyChunk(chunk: Chunk, hasPieces: boolean): Promise<void> {
    const send = async (stmts: readonly WireStmt[]): Promise<void> => {
      const results = await this.#ledger.run(
        hasPieces ? [...stmts, this.#ledger.dropPieces] : stmts,
      );
      checkCount(chunk, results?.slice(0, stmts.length));
    };
    try {
      await send(chunk.statements());
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      try {
        if (chunk.rows === 1) throw error;
        await send(chunk.singly());
      } catch (second) {
        if (!(second instanceof Refused)) throw second;
        // The first statement is the ledger's.
        const at = (second.statement ?? 0) - 1;
        const row = at >= 0 && at < chunk.rows ? chunk.nameOf(at) : chunk.name;
        throw new Failure(`${row}: ${second.message}`, hintFor(second), 1, { cause: second });
      }
    }
  }

  /** Everything that stands on the rows. */
  async #finish(): Promise<void> {
    const { tables, sequences, indexes, behaviours, marks } = this.#plan;
    const isOurs = (name: string): boolean => tables.some((table) => table.name === name);
    for (const { name, seq } of sequences.filter((sequence) => isOurs(sequence.name))) {
      const value = [
        { type: "text", value: name },
        { type: "integer", value: String(seq) },
      ] as const;
      await this.#ledger.run([
        { sql: "DELETE FROM sqlite_sequence WHERE name = ?", args: [value[0]] },
        { sql: "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", args: value },
      ]);
    }
    for (const index of indexes) {
      this.#progress.did(0, 0, `index ${index.name}`);
      await this.#create(index);
    }
    this.#created.push(...behaviours.filter(({ type }) => type === "view"));
    for (const piece of behaviours) await this.#create(piece);
    const last = marks.map(({ pragma, value }) => ({ sql: `PRAGMA ${pragma} = ${value}` }));
    // Repeating this one does no harm.
    await this.#sql.cleanUp([...last, this.#ledger.drop]);
  }

  async #create(piece: Piece): Promise<void> {
    try {
      await this.#ledger.run([{ sql: piece.sql }]);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const text = `${piece.type} ${piece.name}: ${error.message}`;
      throw new Failure(text, hintFor(error), 1, { cause: error });
    }
  }

  /** Drops what was created. Returns the failure to throw. */
  async #undo(error: unknown): Promise<Failure> {
    const hint = error instanceof Failure ? error.hint : undefined;
    const message = messageOf(error);
    if (!this.#isOpen) return new Failure(message, hint, 1, { cause: error });
    const left = [...this.#created].reverse();
    try {
      this.#progress.note("removing what was imported so far");
      await this.#sql.cleanUp([this.#ledger.drop]);
      // One by one: each has all the time that the nodes give a statement.
      for (const piece of [...left]) {
        await this.#sql.cleanUp([dropIfExists(piece)]);
        left.shift();
      }
    } catch (second) {
      return new Failure(
        `${message}. Then what was imported so far could not be removed: ${messageOf(second)}`,
        `Still there, whole or in part: ${left.map(({ name }) => name).join(", ")}`,
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

function dropIfExists({ type, name }: Piece): WireStmt {
  return { sql: `DROP ${type} IF EXISTS ${quoted(name)}` };
}

/** Each row counts once, also in a table whose constraints would rather leave it out. */
function checkCount(chunk: Chunk, results: readonly WireResult[] | undefined): void {
  if (results === undefined) return;
  const rows = results.reduce((sum, result) => sum + result.affected_row_count, 0);
  if (rows === chunk.rows) return;
  throw new Failure(`${chunk.name}: ${plural(chunk.rows, "row")} were sent, ${rows} arrived`);
}

function hintFor(error: Refused): string | undefined {
  if (error.code !== "STATEMENT_TIMEOUT") return error.hint;
  return "The nodes end a statement after --statement-timeout: start them with a longer one, then import again.";
}
