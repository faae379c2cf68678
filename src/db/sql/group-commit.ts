/**
 * Runs many units as few transactions: consecutive units share one outer transaction, in which each client's
 * transaction is a savepoint. What cannot be shared runs alone, in real transactions.
 *
 * Nothing is answered before the whole run is done. So whenever sharing goes wrong (a statement destroyed the outer
 * transaction, or its COMMIT failed) everything of that outer transaction is rolled back and run again, the culprit
 * alone this time; no client can tell.
 *
 * The last outer transaction of a run may stay open: a client's interactive transaction. Then nothing after it is
 * started, and the next run either continues it with one unit or rolls it back.
 *
 * Invariants
 *   - every real COMMIT has written the run's position into the same transaction; a run in which nothing changed
 *     commits nothing
 *   - the transaction that is committed is the one that was begun here. No statement of a client can end it; should one
 *     do so all the same, TransactionEnded is thrown, nobody is answered, and the database is thrown away
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { assert } from "../../base/assert.ts";
import type { EntryId } from "../../vocabulary.ts";
import { positionTable } from "../position-table.ts";
import type { RecordMark } from "../record/recorder.ts";
import type { Recorded, Recording } from "../record/recording.ts";
import { settingsKey } from "../stream/settings.ts";
import { NeedsSolo, TransactionEnded } from "./client-transaction.ts";
import { Executor, type UnitRun } from "./executor.ts";
import type { Unit, UnitOutcome } from "./request.ts";
import { sqlErrorFrom } from "./sql-error.ts";

/**
 * Characters of answers after which no further unit is started: they are held in memory, here and in the parent,
 * until all are done.
 */
const answersSizeMax = 32 * 1024 * 1024;

export type RunSession = "none" | "continue" | "rollback";

export type GroupRun = {
  /** One for each unit that was started; units beyond were not. */
  readonly outcomes: UnitOutcome[];
  /** A client's transaction is open. */
  readonly open: boolean;
  /** Something was committed. */
  readonly committed: boolean;
  /** What was recorded of it; undefined when nothing is to be. */
  readonly recorded: Recorded | undefined;
  /** What the operator should know of how statements travel; each is told once. */
  readonly warnings: readonly string[];
};

export type GroupWatch = {
  onUnit(unit: number): void;
  onStatement(): void;
  /** See ExecutorPorts. */
  onUpkeep?(): void;
  onError?(code: number): void;
};

type Settled = {
  readonly run: UnitRun;
  readonly wrote: boolean;
  readonly inTransaction: boolean;
  readonly overtaken?: boolean;
};

/** Of a unit that was not run. */
const notRun: UnitRun = { answers: [], size: 0, refusedWrite: false, connection: undefined };

export class GroupCommit {
  readonly #db: DatabaseSync;
  readonly #executor: Executor;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #rollback: StatementSync;
  readonly #stamp: StatementSync;
  readonly #readPosition: StatementSync;
  readonly #onUnit: (unit: number) => void;
  // Of the run under way:
  #position: EntryId | undefined;
  #units: readonly Unit[] = [];
  #settled: Settled[] = [];
  /** Units that turned out not to run beside others. */
  #solo = new Set<number>();
  #size = 0;
  /** Nothing more is started. */
  #stopped = false;

  /** `onStatement` is called before each statement, `onUnit` with the number of each unit that begins. */
  constructor(db: DatabaseSync, watch: GroupWatch, recording?: Recording) {
    this.#db = db;
    this.#onUnit = watch.onUnit;
    this.#begin = db.prepare("BEGIN IMMEDIATE");
    this.#commit = db.prepare("COMMIT");
    this.#rollback = db.prepare("ROLLBACK");
    this.#stamp = db.prepare(`UPDATE ${positionTable} SET term = ?, lsn = ?`);
    this.#readPosition = db.prepare(`SELECT term, lsn FROM ${positionTable}`);
    this.#executor = new Executor(db, {
      ...watch,
      stampPosition: () => this.#stampPosition(),
      recording,
    });
  }

  /** Throws TransactionEnded: then nothing of the run may be answered, and the database is worth nothing. */
  run(units: readonly Unit[], position: EntryId, session: RunSession): GroupRun {
    this.#position = position;
    this.#units = units;
    this.#settled = [];
    this.#solo = new Set();
    this.#size = 0;
    this.#stopped = false;
    if (session === "rollback") this.#executor.abandon();
    assert(
      this.#executor.transaction.isOpen === (session === "continue"),
      `session ${session} does not fit the transaction`,
    );
    if (session === "continue") {
      assert(units.length === 1, "a transaction is continued by one unit at a time");
      this.#runAlone(0);
    }
    while (this.#settled.length < units.length && !this.#stopped) this.#runNext();
    return this.#result();
  }

  #runNext(): void {
    const from = this.#settled.length;
    if (this.#isSolo(from)) {
      this.#runAlone(from);
      return;
    }
    const key = settingsKey(this.#units[from]!);
    const hasKey = (unit: number) => settingsKey(this.#units[unit]!) === key;
    let to = from + 1;
    while (to < this.#units.length && !this.#isSolo(to) && hasKey(to)) to++;
    this.#executor.use(this.#units[from]!);
    this.#runShared(from, to);
  }

  #isSolo(unit: number): boolean {
    const { snapshot } = this.#units[unit]!;
    if (snapshot !== undefined || this.#solo.has(unit)) return true;
    return this.#executor.wantsSolo(this.#units[unit]!);
  }

  #runAlone(unit: number): void {
    this.#onUnit(unit);
    const { transaction } = this.#executor;
    const { snapshot } = this.#units[unit]!;
    if (snapshot !== undefined && !transaction.isOpen && !this.#isAt(snapshot)) {
      this.#settle({ run: notRun, wrote: false, inTransaction: false, overtaken: true });
      return;
    }
    if (!transaction.isOpen) this.#executor.use(this.#units[unit]!);
    this.#executor.expectNoChange();
    const run = this.#executor.run(this.#units[unit]!, "alone");
    if (this.#executor.changedUnnoticed) throw new TransactionEnded();
    this.#settle({ run, wrote: transaction.wrote, inTransaction: transaction.isOpen });
    if (transaction.isOpen) this.#stopped = true;
  }

  /** Runs [from, to) in one transaction. On failure nothing is settled, and the culprits are marked. */
  #runShared(from: number, to: number): void {
    const { transaction } = this.#executor;
    const settled: Settled[] = [];
    let size = this.#size;
    const mark = this.#executor.recorder?.mark();
    this.#executor.expectNoChange();
    this.#begin.run();
    for (let unit = from; unit < to && size < answersSizeMax; unit++) {
      this.#onUnit(unit);
      try {
        const run = this.#executor.run(this.#units[unit]!, "shared");
        if (transaction.isOpen) throw new NeedsSolo("the unit leaves its transaction open");
        settled.push({ run, wrote: transaction.wrote, inTransaction: false });
        size += run.size;
      } catch (error) {
        if (!(error instanceof NeedsSolo)) throw error;
        this.#solo.add(unit);
        this.#undo(mark);
        return;
      }
    }
    if (!this.#finish(settled.some(({ wrote }) => wrote))) {
      for (let unit = from; unit < to; unit++) this.#solo.add(unit);
      this.#undo(mark);
      return;
    }
    settled.forEach((each) => {
      this.#settle(each);
    });
  }

  /** Ends the outer transaction. False when SQLite refuses to commit it (deferred foreign keys). */
  #finish(wrote: boolean): boolean {
    if (!this.#db.isTransaction || this.#executor.changedUnnoticed) throw new TransactionEnded();
    if (!wrote) {
      this.#undo(undefined);
      return true;
    }
    try {
      this.#stampPosition();
      this.#commit.run();
      return true;
    } catch (error) {
      if (sqlErrorFrom(error) === undefined) throw error;
      return false;
    }
  }

  #undo(mark: RecordMark | undefined): void {
    if (this.#db.isTransaction) this.#rollback.run();
    this.#executor.abandon();
    if (mark !== undefined) this.#executor.recorder?.rewind(mark);
  }

  #settle(settled: Settled): void {
    this.#settled.push(settled);
    this.#size += settled.run.size;
    if (this.#size >= answersSizeMax) this.#stopped = true;
  }

  /** Nothing was committed since; nobody else writes here. */
  #isAt(snapshot: EntryId): boolean {
    const row = this.#executor.authorizer.asOurselves(() => this.#readPosition.get());
    const [atTerm, atLsn] = row as unknown as [bigint, bigint];
    return Number(atLsn) === snapshot.lsn && Number(atTerm) === snapshot.term;
  }

  #stampPosition(): void {
    const { term, lsn } = this.#position!;
    this.#executor.authorizer.asOurselves(() => this.#stamp.run(BigInt(term), BigInt(lsn)));
  }

  #result(): GroupRun {
    const index = `"${this.#position!.lsn}"`;
    const outcomes = this.#settled.map(({ run, wrote, inTransaction, overtaken }) => ({
      results: run.answers.map((pieces) => pieces.join(wrote ? index : "null")),
      inTransaction,
      wrote,
      refusedWrite: run.refusedWrite,
      connection: run.connection,
      overtaken,
    }));
    const open = this.#executor.transaction.isOpen;
    const committed = this.#settled.some(({ wrote }) => wrote);
    const recorded = committed ? this.#executor.recorder?.take() : undefined;
    const warnings = this.#executor.recorder?.takeWarnings() ?? [];
    return { outcomes, open, committed, recorded, warnings };
  }
}
