/**
 * A reader process: runs units on a read-only connection to the served database, each in one read transaction, in
 * which the position row is read as well. So an answer knows exactly which position it is of.
 *
 * The connection cannot write, whatever the SQL says: it is opened read-only. It ends by SIGKILL, like every process
 * that runs user SQL.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { assert } from "../../base/assert.ts";
import { messageOf } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import { type EntryId, lsn, term, zeroEntryId } from "../../vocabulary.ts";
import { tablesOf } from "../record/selection.ts";
import { Executor } from "../sql/executor.ts";
import type { BatchStep, Unit } from "../sql/request.ts";
import { sqlErrorFrom } from "../sql/sql-error.ts";
import { readsNothing } from "../stream/access.ts";
import { type ChildEnd, takeUp } from "./child.ts";
import { openServed } from "./connection.ts";
import type { FromReader, ReadOutcome, ToReader } from "./reader-messages.ts";

/** Serves the parent until killed. */
export function runReaderChild(): void {
  let view: ReadView | undefined;
  const end: ChildEnd = takeUp((head) => {
    const message = head as ToReader;
    const id = message.type === "run" ? message.id : undefined;
    try {
      if (message.type === "open") {
        view = new ReadView(message.path, end.progress, message.tables);
        send({ type: "opened" });
      } else if (message.type === "run") {
        // It could not be opened, and the parent is about to end us.
        if (view === undefined) return;
        const { piece, ...outcome } = view.answer(message);
        send({ type: "done", id: message.id, outcome, more: piece?.more }, piece?.bytes);
      } else {
        view?.end();
      }
    } catch (error) {
      if (sqlErrorFrom(error) === undefined) {
        process.stderr.write(`reader: ${error instanceof Error ? error.stack : String(error)}\n`);
      }
      end.progress.idle();
      send({ type: "failed", id, message: messageOf(error) });
    }
  });
  const send = (message: FromReader, body?: Uint8Array) => end.channel.send(message, body);
}

type ReadMessage = Extract<ToReader, { type: "run" }>;

function stepsOf({ requests }: Unit): readonly BatchStep[] {
  const [batch] = requests;
  assert(batch?.type === "batch" && requests.length === 1, "a cursor is of one batch");
  return batch.steps;
}

/** Told what it is doing, for whoever bounds it. */
export type UnitProgress = { unit(unit: number): void; statement(): void; idle(): void };

/** The connection, and the read view that it may be holding. */
export class ReadView {
  readonly #db: DatabaseSync;
  readonly #progress: UnitProgress;
  readonly #executor: Executor;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #readPosition: StatementSync;
  /** Its statement is in the middle of its rows. */
  #cursor: Generator<string, void> | undefined;
  /** Of the open read transaction. */
  #position: EntryId | undefined;

  /** Tables that hold their rows here; all when undefined. */
  readonly #tables: ReadonlySet<string> | undefined;

  constructor(path: string, progress: UnitProgress, tables?: readonly string[] | undefined) {
    this.#progress = progress;
    this.#tables = tables && new Set(tables.map((name) => name.toLowerCase()));
    const db = openServed(path);
    this.#db = db;
    this.#begin = db.prepare("BEGIN");
    this.#commit = db.prepare("COMMIT");
    this.#readPosition = db.prepare("SELECT term, lsn FROM sqlite_paceline");
    this.#executor = new Executor(db, {
      onStatement: () => progress.statement(),
      stampPosition: () => assert(false, "a reader writes no position"),
    });
  }

  /** Does what is asked. */
  answer(message: ReadMessage): ReadOutcome {
    this.#progress.unit(message.id);
    try {
      const outcome = message.ask === "run" ? this.#run(message) : this.#piece(message);
      this.#progress.idle();
      return outcome;
    } catch (error) {
      this.end();
      throw error;
    }
  }

  #run({ unit, keep, answerBytesMax }: ReadMessage): ReadOutcome {
    const executor = this.#executor;
    // As in SQLite, BEGIN and savepoints take no view; the first statement that reads does.
    const hasRead = this.#look(unit!, keep && readsNothing(unit!));
    const position = this.#position ?? zeroEntryId;
    const before = executor.transaction.state;
    const ran = executor.run(unit!, "reading", answerBytesMax);
    const { answers, refusedWrite, connection } = ran;
    const isCut = ran.size > (answerBytesMax ?? Number.POSITIVE_INFINITY);
    // What it said about its transaction counts where it will be run.
    if (refusedWrite) executor.transaction.restore(before);
    const transaction = executor.transaction.state;
    const inTransaction = transaction !== undefined;
    if (!inTransaction || !keep) this.end();
    const results = isCut ? [] : answers.map((pieces) => pieces.join("null"));
    const outcome = { results, inTransaction, wrote: false, refusedWrite, connection };
    return { ...outcome, isCut, ...position, transaction, hasRead };
  }

  /** The next entries of a cursor, or the first ones. Between two pieces the read view stays as it is. */
  #piece({ ask, unit, keep }: ReadMessage): ReadOutcome {
    const executor = this.#executor;
    const hasRead = this.#look(unit!, false);
    const position = this.#position!;
    if (ask === "cursor") this.#cursor = executor.cursor(unit!, stepsOf(unit!));
    const cursor = this.#cursor;
    assert(cursor !== undefined, "a cursor is open");
    let text = "";
    let more = true;
    while (more && text.length < limits.cursorPieceBytes) {
      const { done, value } = cursor.next();
      if (done === true) more = false;
      else text += value;
    }
    if (!more) this.#cursor = undefined;
    const transaction = executor.transaction.state;
    const inTransaction = transaction !== undefined;
    if (!more && (!inTransaction || !keep)) this.end();
    const { refusedWrite } = executor;
    const piece = { bytes: Buffer.from(text), more };
    const left = { inTransaction, transaction, hasRead };
    return { results: [], ...left, wrote: false, refusedWrite, ...position, piece };
  }

  /** Lets go of the read view. */
  end(): void {
    this.#cursor?.return();
    this.#cursor = undefined;
    this.#executor.abandon();
    this.#position = undefined;
    if (this.#db.isTransaction) this.#commit.run();
  }

  /** Closes the connection. A reader process never does: it is killed. */
  close(): void {
    this.end();
    this.#db.close();
  }

  /**
   * Makes sure that there is a transaction, and a view unless the unit needs `none` yet: reading the position is what
   * fixes it. Gives whether there is one.
   */
  #look(unit: Unit, none: boolean): boolean {
    if (!this.#db.isTransaction) {
      this.#executor.use(unit);
      this.#begin.run();
    }
    if (this.#position !== undefined || none) return this.#position !== undefined;
    const row = this.#executor.authorizer.asOurselves(() => this.#readPosition.get());
    const [atTerm, atLsn] = row as unknown as [bigint, bigint];
    this.#position = { lsn: lsn(Number(atLsn)), term: term(Number(atTerm)) };
    if (this.#executor.noticeSchema()) this.#hideTables();
    return true;
  }

  /** Tables whose rows are not kept here are empty, and that is no answer. */
  #hideTables(): void {
    const chosen = this.#tables;
    if (chosen === undefined) return;
    const { authorizer } = this.#executor;
    const names = authorizer.asOurselves(() => tablesOf(this.#db)).map((t) => t.name.toLowerCase());
    authorizer.hidden = new Set(names.filter((name) => !chosen.has(name)));
  }
}
