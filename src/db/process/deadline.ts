/**
 * Decides when a SQL process has been busy with one thing for too long. Pure: fed with what the process says it is
 * doing, at about even intervals.
 *
 * Time counts only while we look. An interval that took much longer than planned (the machine slept, our own event
 * loop was blocked) counts as twice the planned one: a process that had no chance to run is not killed for it.
 */

import { limits } from "../../limits.ts";
import type { Progress } from "./progress.ts";

/** Which bound was passed: of one statement, or of a unit with all its statements. */
export type Overrun = "statement" | "unit";

export class Deadline {
  #seen: Progress;
  #statementMs = 0;
  #unitMs = 0;

  /** Starts counting: what the process is doing now began just now. */
  constructor(progress: Progress) {
    this.#seen = progress;
  }

  /** Looks again, `elapsedMs` after the last time. Between units only the longer bound holds. */
  observe(progress: Progress, elapsedMs: number, statementMs: number): Overrun | undefined {
    const countedMs = Math.min(elapsedMs, 2 * limits.progressPollMs);
    const before = this.#seen;
    this.#seen = progress;
    this.#unitMs = progress.unit === before.unit ? this.#unitMs + countedMs : 0;
    const isSame = progress.statements === before.statements;
    this.#statementMs = isSame ? this.#statementMs + countedMs : 0;
    if (progress.unit !== undefined && this.#statementMs >= statementMs) return "statement";
    if (this.#unitMs >= Math.max(limits.transactionMs, statementMs)) return "unit";
    return undefined;
  }
}
