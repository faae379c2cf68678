/**
 * Runs what was recorded elsewhere (recorder.ts) on a scratch database, so that its pages can be read back and applied
 * like any others.
 *
 * Nobody sees the transactions of an entry one by one: what was recorded of it is applied as one change.
 *
 * Throws CorruptionError when the copy turns out to differ; the scratch is then worth nothing.
 */

import type { DatabaseSync } from "node:sqlite";
import type { RecordedTransaction } from "../../changes/steps.ts";
import type { EntryId } from "../../vocabulary.ts";
import { positionTable } from "../position-table.ts";
import { SelectedSteps } from "./selected-steps.ts";
import { Selection } from "./selection.ts";
import { StepRunner } from "./step-runner.ts";

export class Replayer {
  readonly #runner: StepRunner;
  /** Of the entry whose last transaction is about to be committed. */
  #position: EntryId | undefined;

  /** Set where only the rows of some tables are kept. */
  readonly #selected: SelectedSteps | undefined;

  /** `tables`: those whose rows are kept; all when undefined. */
  constructor(db: DatabaseSync, tables?: readonly string[] | undefined) {
    const selection = tables && new Selection(db, tables);
    const stamp = db.prepare(`UPDATE ${positionTable} SET term = ?, lsn = ?`);
    const beforeCommit = (): void => {
      const position = this.#position;
      if (position !== undefined) stamp.run(BigInt(position.term), BigInt(position.lsn));
    };
    this.#runner = new StepRunner(db, beforeCommit, selection);
    this.#selected = selection && new SelectedSteps(db, selection, this.#runner);
  }

  /** Runs the transactions of one entry and commits them with its position. */
  replay(transactions: readonly RecordedTransaction[], position: EntryId): void {
    this.#position = undefined;
    this.#selected?.start();
    const runner = this.#selected ?? this.#runner;
    for (const { steps } of transactions) for (const step of steps) runner.run(step);
    this.#position = position;
    this.#runner.commit();
  }
}
