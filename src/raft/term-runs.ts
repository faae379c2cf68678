/**
 * Which term each entry of the log belongs to, as runs: consecutive entries of one term are one pair. A log of a
 * million entries has as many runs as it saw elections.
 *
 * Invariants: both `from` and `term` strictly rise, because LSNs have no gaps and a leader's term never falls
 * [Raft §5.3]. Every run but the last ends where the next begins; the last ends at the end of the log, which is kept
 * by log-view.ts.
 */

import { assert } from "../base/assert.ts";
import { type Lsn, lsn, type Term } from "../vocabulary.ts";

/** Entries from `from` on, up to the next run, are of `term`. */
export type TermRun = { readonly from: Lsn; readonly term: Term };

export class TermRuns {
  /** Ascending; see the invariants above. */
  readonly #runs: TermRun[] = [];

  constructor(runs: readonly TermRun[]) {
    for (const run of runs) this.append(run.from, run.term);
  }

  /** The entry at `at` is of `term`. It lies after all entries that are known. */
  append(at: Lsn, term: Term): void {
    const last = this.#runs.at(-1);
    if (last !== undefined) {
      assert(at > last.from, `term run from ${at} after one from ${last.from}`);
      assert(term >= last.term, `term ${term} at ${at} after term ${last.term}`);
      if (term === last.term) return;
    }
    this.#runs.push({ from: at, term });
  }

  /** Forgets everything from `at` on. */
  truncateFrom(at: Lsn): void {
    while (this.#runs.length > 0 && this.#runs.at(-1)!.from >= at) this.#runs.pop();
  }

  /** Forgets everything up to and including `upTo`. */
  dropUpTo(upTo: Lsn): void {
    const index = this.#indexOf(lsn(upTo + 1));
    if (index < 0) return;
    const first = this.#runs[index]!;
    this.#runs.splice(0, index + 1, {
      from: lsn(Math.max(first.from, upTo + 1)),
      term: first.term,
    });
  }

  /** Term of the entry at `at`, if a run reaches it. The caller knows where the log ends. */
  termAt(at: Lsn): Term | undefined {
    return this.#runs[this.#indexOf(at)]?.term;
  }

  /**
   * The highest LSN up to `at` whose term is at most `term`, if any: everything above it cannot be in the log of
   * someone whose entry `at` is of `term`, because terms never fall along a log.
   */
  highestWithin(at: Lsn, term: Term): Lsn | undefined {
    let end = at;
    for (let i = this.#indexOf(at); i >= 0; i--) {
      const run = this.#runs[i]!;
      if (run.term <= term) return end;
      end = lsn(run.from - 1);
    }
    return undefined;
  }

  /** Index of the run that holds `at`, or -1. Searched from the end: questions are nearly always about the tail. */
  #indexOf(at: Lsn): number {
    let i = this.#runs.length - 1;
    while (i >= 0 && this.#runs[i]!.from > at) i--;
    return i;
  }
}
