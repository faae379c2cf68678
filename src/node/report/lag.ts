/**
 * How far this copy is behind, honestly: the age of the last moment at which it surely had everything the leader had
 * committed. A silent link makes the lag grow; it never reads as zero [field.md trap 10].
 *
 *   0           on the leader
 *   undefined   this node has never been up to date since it started
 *
 * News may be old when it arrives: held up on the way, or in a socket while this process was stopped. So every message
 * says when it left, by the leader's clock. What the two clocks differ by is not known, but a message that took no
 * time shows it best: the least difference seen lately. What a message shows beyond that is its age.
 */

import type { Clock } from "../../host/clock.ts";
import type { Lsn, Term } from "../../vocabulary.ts";

/** The least difference is taken anew after so long, because clocks drift apart. */
const windowMs = 10_000;

/** Our clock against the leader's, as seen by messages of one term. */
type Differences = {
  readonly term: Term;
  /** The least of this window, and of the one before. */
  leastMs: number;
  beforeMs: number;
  /** When this window began. */
  sinceMs: number;
};

export class Lag {
  readonly #clock: Clock;
  #differences: Differences | undefined;
  /** The leader's commit mark as last heard. */
  #leaderCommitted = 0 as Lsn;
  /** When that was true, by our clock. */
  #heardMs: number | undefined;
  /** When this node last surely had everything. */
  #currentMs: number | undefined;
  #applied = 0 as Lsn;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The leader of `term` said at `sentMs` of its clock what is committed. */
  heard(committedLsn: Lsn, term: Term, sentMs: number): void {
    if (term < (this.#differences?.term ?? 0)) return;
    const nowMs = this.#clock.nowMs();
    const leftMs = nowMs - this.#ageMs(nowMs - sentMs, term, nowMs);
    // Overtaken by younger news.
    if (this.#heardMs !== undefined && leftMs < this.#heardMs) return;
    this.#heardMs = leftMs;
    this.#leaderCommitted = committedLsn;
    this.#check();
  }

  applied(lsn: Lsn): void {
    this.#applied = lsn;
    this.#check();
  }

  /** Milliseconds, rounded up. */
  lagMs(leading: boolean): number | undefined {
    if (leading) return 0;
    if (this.#currentMs === undefined) return undefined;
    return Math.max(0, Math.ceil(this.#clock.nowMs() - this.#currentMs));
  }

  /** How long a message was on its way that shows this difference between the clocks. */
  #ageMs(differenceMs: number, term: Term, nowMs: number): number {
    const known = this.#differences;
    if (known === undefined || known.term !== term) {
      this.#differences = {
        term,
        leastMs: differenceMs,
        beforeMs: Number.POSITIVE_INFINITY,
        sinceMs: nowMs,
      };
      return 0;
    }
    if (nowMs - known.sinceMs > windowMs) {
      known.beforeMs = known.leastMs;
      known.leastMs = differenceMs;
      known.sinceMs = nowMs;
    }
    known.leastMs = Math.min(known.leastMs, differenceMs);
    return differenceMs - Math.min(known.leastMs, known.beforeMs);
  }

  #check(): void {
    if (this.#heardMs !== undefined && this.#applied >= this.#leaderCommitted) {
      this.#currentMs = this.#heardMs;
    }
  }
}
