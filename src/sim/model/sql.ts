/**
 * The few statements that the model database understands. They are SQL, so that the program routes them as it routes
 * any other; what they mean is decided here.
 *
 *   INSERT INTO lists VALUES (?, ?)        appends a number to a list
 *   UPDATE filler SET n = ?, pages = ?     writes so many filler pages, drops the others
 *   INSERT INTO nowhere VALUES (?)         fails
 *   SELECT v FROM lists WHERE k = ?        a list
 *   BEGIN IMMEDIATE, COMMIT, ROLLBACK      a transaction; BEGIN and BEGIN READONLY on any node
 */

import type { SqlRequest, Unit, UnitOutcome, Value } from "../../db/sql/request.ts";
import { appended, filled, listCount, listOf } from "./lists.ts";
import type { Image } from "./pages.ts";

export const sql = {
  append: "INSERT INTO lists VALUES (?, ?)",
  fill: "UPDATE filler SET n = ?, pages = ?",
  wrong: "INSERT INTO nowhere VALUES (?)",
  read: "SELECT v FROM lists WHERE k = ?",
  begin: "BEGIN IMMEDIATE",
  beginRead: "BEGIN READONLY",
  beginDeferred: "BEGIN",
  commit: "COMMIT",
  rollback: "ROLLBACK",
} as const;

export function statement(text: string, ...args: number[]): SqlRequest {
  const values = args.map((n): Value => ({ type: "integer", value: String(n) }));
  return { type: "execute", stmt: { sql: text, args: values, namedArgs: [], wantRows: true } };
}

/** Of the model, or of SQLite, which answers as Hrana wants it. */
type Answer = {
  readonly list?: readonly number[];
  readonly response?: {
    readonly result?: { readonly cols: unknown[]; readonly rows: { readonly value: string }[][] };
  };
};

/** What an answer to `sql.read` says; undefined for any other answer. */
export function listIn(result: string): readonly number[] | undefined {
  const answer = JSON.parse(result) as Answer;
  const rows = answer.response?.result?.rows;
  if (rows === undefined || answer.response?.result?.cols.length === 0) return answer.list;
  return rows.map(([cell]) => Number(cell!.value));
}

export function isError(result: string): boolean {
  return (JSON.parse(result) as { type: string }).type === "error";
}

/** One connection to an image: committed state, and the transaction that is open. */
export class ModelSession {
  committed: Image;
  /** State of the open transaction. */
  #working: Image | undefined;
  /** The open transaction was begun so. */
  #readonly = false;
  readonly #reads: boolean;
  /** Of a reader: something would have been written. */
  #refused = false;

  /** `reads`: the connection cannot write. */
  constructor(committed: Image, reads = false) {
    this.committed = committed;
    this.#reads = reads;
  }

  get open(): boolean {
    return this.#working !== undefined;
  }

  rollback(): void {
    this.#working = undefined;
  }

  run(unit: Unit): UnitOutcome {
    const before = this.committed;
    const [working, readonly] = [this.#working, this.#readonly];
    this.#refused = false;
    const results = unit.requests.map((request) => this.#step(request));
    const isLate = unit.snapshot !== undefined;
    if (this.#refused && !isLate) {
      this.#working = working;
      this.#readonly = readonly;
    }
    const transaction = this.open
      ? { begun: true, readonly: this.#readonly, savepoints: [] }
      : undefined;
    const refusedWrite = this.#refused && !isLate;
    const wrote = this.committed !== before;
    return { results, inTransaction: this.open, transaction, wrote, refusedWrite };
  }

  #step(request: SqlRequest): string {
    if (request.type !== "execute") return failed("not understood");
    const { stmt } = request;
    const args = stmt.args.map((value) => (value.type === "integer" ? Number(value.value) : 0));
    const [a = 0, b = 0] = args;
    const image = this.#working ?? this.committed;
    switch (stmt.sql) {
      case sql.append:
        if (a >= listCount(image)) return failed("no such list");
        return this.#change(appended(image, a, b));
      case sql.fill:
        return this.#change(filled(image, b, a));
      case sql.read:
        return JSON.stringify({ type: "ok", list: listOf(image, a) });
      case sql.begin:
      case sql.beginRead:
      case sql.beginDeferred:
        this.#working = image;
        this.#readonly = stmt.sql === sql.beginRead;
        return done;
      case sql.commit:
        if (this.#working === undefined) return failed("no transaction is active");
        this.committed = this.#working;
        this.#working = undefined;
        return done;
      case sql.rollback:
        this.#working = undefined;
        return done;
      default:
        return failed("constraint failed");
    }
  }

  #change(after: Image | undefined): string {
    if (this.#reads) {
      this.#refused = true;
      return failed("database is locked");
    }
    if (after === undefined) return failed("the list is full");
    if (this.#working === undefined) this.committed = after;
    else this.#working = after;
    return done;
  }
}

const done = JSON.stringify({ type: "ok" });

function failed(message: string): string {
  return JSON.stringify({ type: "error", message });
}
