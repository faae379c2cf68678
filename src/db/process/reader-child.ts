/**
 * A reader process: runs units on a read-only connection to the served database, each in one read transaction, in
 * which the position row is read as well. So an answer knows exactly which position it is of.
 *
 * The connection cannot write, whatever the SQL says: it is opened read-only, and query_only is set. It ends by
 * SIGKILL, like every process that runs user SQL.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { assert } from "../../base/assert.ts";
import { messageOf } from "../../base/errors.ts";
import { type EntryId, lsn, term } from "../../vocabulary.ts";
import { tablesOf } from "../record/selection.ts";
import { Executor } from "../sql/executor.ts";
import type { Unit } from "../sql/request.ts";
import { sqlErrorFrom } from "../sql/sql-error.ts";
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
        send({ type: "done", id: message.id, outcome: view.run(message) });
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
  const send = (message: FromReader) => end.channel.send(message);
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

  run({ id, unit, keep }: { id: number; unit: Unit; keep: boolean }): ReadOutcome {
    this.#progress.unit(id);
    const executor = this.#executor;
    try {
      const position = this.#position ?? this.#open(unit);
      const { answers, refusedWrite, foreignKeys } = executor.run(unit, "reading");
      const inTransaction = executor.transaction.isOpen;
      if (!inTransaction || !keep) this.end();
      this.#progress.idle();
      const results = answers.map((pieces) => pieces.join("null"));
      return { results, inTransaction, wrote: false, refusedWrite, foreignKeys, ...position };
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** Lets go of the read view. */
  end(): void {
    this.#executor.abandon();
    this.#position = undefined;
    if (this.#db.isTransaction) this.#commit.run();
  }

  /** Closes the connection. A reader process never does: it is killed. */
  close(): void {
    this.end();
    this.#db.close();
  }

  /** Takes a read view; reading the position is what fixes it. */
  #open(unit: Unit): EntryId {
    this.#executor.setForeignKeys(unit.foreignKeys ?? false);
    this.#begin.run();
    const row = this.#executor.authorizer.asOurselves(() => this.#readPosition.get());
    const [atTerm, atLsn] = row as unknown as [bigint, bigint];
    this.#position = { lsn: lsn(Number(atLsn)), term: term(Number(atTerm)) };
    if (this.#executor.noticeSchema()) this.#hideTables();
    return this.#position;
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
