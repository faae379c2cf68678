/**
 * How far this copy is behind, honestly. In milliseconds: the age of the last moment at which it surely had everything
 * the leader had committed. In entries: what the leader was last heard to have committed and this copy lacks.
 *
 *   0           on the leader
 *   undefined   ms: this node has never been up to date since it started; entries: it has not heard of a leader yet
 *
 * A silent link makes the milliseconds grow; they never read as zero [field.md trap 10]. Entries cannot tell: what was
 * committed behind the silence is not known here. So nobody should judge a copy by its entries alone.
 *
 * News may be old when it arrives: held up on the way, or in a socket while this process was stopped. So every message
 * says when it left, by the leader's clock. What the two clocks differ by is not known, but a message that took no
 * time shows it best: the least difference seen lately. What a message shows beyond that is its age.
 */

import type { Clock } from "../../host/clock.ts";
import type { EntryId, Lsn, Term } from "../../vocabulary.ts";

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

/** What is asked of a log to tell the size of a lag. */
export type LagLog = {
  readonly last: EntryId;
  readonly base: EntryId;
  readonly bytes: number;
  bytesAfter(lsn: Lsn): number;
};

/**
 * About how many bytes of entries there are between two positions, for a copy at `from` that should be at `to`. Entries
 * that this log does not have, on either side, count as its mean entry.
 */
export function lagBytes(log: LagLog, from: Lsn, to: Lsn): number {
  if (to <= from) return 0;
  const { last, base } = log;
  const first = Math.min(Math.max(from, base.lsn), to) as Lsn;
  const end = Math.max(Math.min(to, last.lsn), first) as Lsn;
  const known = log.bytesAfter(first) - log.bytesAfter(end);
  const missing = first - from + (to - end);
  if (missing === 0) return known;
  const held = last.lsn - base.lsn;
  return known + Math.round(missing * (held === 0 ? 0 : log.bytes / held));
}

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
  /** How long this copy lacks something that it has and does not apply yet; undefined when it lacks no such thing. */
  #delayedMs: () => number | undefined = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** This copy stays behind by intention, and knows by how much. */
  delayedBy(delayedMs: () => number | undefined): void {
    this.#delayedMs = delayedMs;
  }

  /** How far a log is behind, durable up to `lsn`, whatever is applied of it. Undefined as lagMs. */
  logLagMs(lsn: Lsn): number | undefined {
    if (this.#heardMs === undefined || lsn < this.#leaderCommitted) return undefined;
    return Math.max(0, Math.ceil(this.#clock.nowMs() - this.#heardMs));
  }

  /** Whoever is heard from now on has another clock. */
  otherSource(): void {
    this.#differences = undefined;
  }

  /**
   * The leader of `term` said at `sentMs` of its clock what is committed. A node in between, which was `sourceLagMs`
   * behind itself, may have said it in the leader's place, by its own clock.
   */
  heard(committedLsn: Lsn, term: Term, sentMs: number, sourceLagMs = 0): void {
    if (term < (this.#differences?.term ?? 0)) return;
    const nowMs = this.#clock.nowMs();
    const leftMs = nowMs - sourceLagMs - this.#ageMs(nowMs - sentMs, term, nowMs);
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
    const delayedMs = this.#delayedMs();
    if (delayedMs !== undefined) return Math.ceil(delayedMs);
    if (this.#currentMs === undefined) return undefined;
    return Math.max(0, Math.ceil(this.#clock.nowMs() - this.#currentMs));
  }

  /** Entries. */
  lagEntries(leading: boolean): number | undefined {
    if (leading) return 0;
    if (this.#heardMs === undefined) return undefined;
    return Math.max(0, this.#leaderCommitted - this.#applied);
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
