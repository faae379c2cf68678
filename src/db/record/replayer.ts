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
import { positionTable } from "../sql/authorizer.ts";
import { StepRunner } from "./step-runner.ts";

export class Replayer {
  readonly #runner: StepRunner;
  /** Of the entry whose last transaction is about to be committed. */
  #position: EntryId | undefined;

  constructor(db: DatabaseSync) {
    const stamp = db.prepare(`UPDATE ${positionTable} SET term = ?, lsn = ?`);
    this.#runner = new StepRunner(db, () => {
      const position = this.#position;
      if (position !== undefined) stamp.run(BigInt(position.term), BigInt(position.lsn));
    });
  }

  /** Runs the transactions of one entry and commits them with its position. */
  replay(transactions: readonly RecordedTransaction[], position: EntryId): void {
    this.#position = undefined;
    for (const { steps } of transactions) for (const step of steps) this.#runner.run(step);
    this.#position = position;
    this.#runner.commit();
  }
}
