/**
 * Makes each step of an import happen exactly once, whatever becomes of the answers.
 *
 * For the time of an import the cluster has a table of its own, `paceline_import_…`. Each step is one transaction that
 * begins by writing its number there. When the outcome of a step is unknown, it is sent again: either the first try did
 * not happen, and the second does the work, or the number is there already, the second is refused by the primary key,
 * and so it is known. A first try that arrives late is refused in the same way. The table goes with the last step, or
 * first of all when the import is undone: after that no step of it can happen any more.
 *
 * It also holds the pieces of values too large for one request until their row is written (rows.ts).
 *
 * Not here: which steps there are (importer.ts), waiting for a leader (patient.ts).
 */

import { randomBytes } from "node:crypto";
import { quoted } from "../../db/sql/quoted.ts";
import type { WireResult, WireStmt } from "../remote/hrana.ts";
import { Failure } from "../terminal.ts";
import type { PatientSql } from "./patient.ts";

type Piece = { readonly value: number; readonly bytes: Uint8Array };

export class Ledger {
  readonly name: string = `paceline_import_${randomBytes(4).toString("hex")}`;
  readonly #sql: PatientSql;
  #steps = 0;

  constructor(sql: PatientSql) {
    this.#sql = sql;
  }

  /** The first step. Throws Refused when it was refused: then there is no ledger, and nothing was done. */
  async open(stmts: readonly WireStmt[]): Promise<void> {
    // The number is a column of its own, before the piece: a search for pieces reads none of them.
    const sql = `CREATE TABLE ${this.name} (step INTEGER PRIMARY KEY, value INTEGER, piece BLOB)`;
    await this.#sql.transaction([{ sql }, ...stmts], exists);
  }

  /** A step. Undefined when an earlier try turned out to have done it. The statement of a failure counts from 0. */
  async run(stmts: readonly WireStmt[]): Promise<readonly WireResult[] | undefined> {
    const mark = { sql: `INSERT INTO ${this.name} (step) VALUES (${++this.#steps})` };
    return await this.#run([mark, ...stmts]);
  }

  /** Puts a part of a value down. */
  async put({ value, bytes }: Piece): Promise<void> {
    const base64 = Buffer.from(bytes).toString("base64");
    const sql = `INSERT INTO ${this.name} (step, value, piece) VALUES (${++this.#steps}, ${value}, ?)`;
    await this.#run([{ sql, args: [{ type: "blob", base64 }] }]);
  }

  /** What makes room again, in the step that wrote their row. */
  get dropPieces(): WireStmt {
    return {
      sql: `UPDATE ${this.name} SET value = NULL, piece = NULL WHERE value IS NOT NULL`,
    };
  }

  get drop(): WireStmt {
    return { sql: `DROP TABLE IF EXISTS ${this.name}` };
  }

  async #run(stmts: readonly WireStmt[]): Promise<readonly WireResult[] | undefined> {
    const results = await this.#sql.transaction(stmts, isMarked);
    return results?.slice(1);
  }
}

/** SQL for a value whose pieces are in the ledger. */
export function piecesAs(type: "BLOB" | "TEXT", value: number, ledger: string): string {
  // group_concat takes a blob for a text without changing a byte of it.
  const joined = `group_concat(piece, '' ORDER BY step)`;
  return `CAST((SELECT ${joined} FROM ${quoted(ledger)} WHERE value = ${value}) AS ${type})`;
}

const exists = /table paceline_import_\w+ already exists/;
const isMarked = /UNIQUE constraint failed: paceline_import_\w+\.step/;

/** Ledgers that imports which were killed have left behind, or that belong to one under way. */
export async function ledgersLeft(sql: PatientSql): Promise<string[]> {
  const rows = await sql.query(
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'paceline_import_*'",
  );
  return rows.map(([name]) => {
    if (name === undefined) throw new Failure("a table without a name");
    return name;
  });
}
