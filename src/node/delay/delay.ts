/**
 * A follower that stays behind by intention: it takes in and keeps the log as any other, and applies an entry only when
 * the delay has passed since the leader committed it. Stands between the commit mark and applying.ts, which knows
 * nothing of it.
 *
 * An entry is due when
 *
 *   wall   the leader's wall clock at its commit, as the entry says, is `delayMs` ago by our wall clock; or
 *   came   it has been known to be committed here for `delayMs` (and a little: arrivals.ts), by our monotonic clock
 *
 * The first goes on across restarts. The second bounds what a wrong clock can do: a leader whose clock is ahead, or
 * ours being set back, makes nobody wait longer than the delay from then on. Setting our clock forward while the node
 * runs makes nothing due early: our wall clock counts on from the start of the node by the monotonic one when it jumps
 * ahead. What is left: clocks that differ when the node starts shorten the delay by so much.
 *
 * Entries that are no change (the first of a term, members, settings, the genesis) have no time; they are due with what
 * comes before them. So is an entry whose time cannot be read: applying finds out what is wrong with it.
 *
 *   delayed   the usual
 *   held      an operator rolled it forward to an entry: due is everything up to that one, and nothing after it
 *   frozen    for a moment, while that entry is being looked for: nothing is due
 *
 * Not here: finding the entry that an operator means (roll-forward.ts), remembering it (hold-record.ts).
 */

import { ClientError, CorruptionError } from "../../base/errors.ts";
import type { Cancel, Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import { commitTimeOf } from "../../payload/sections.ts";
import type { Entry, EntryId, Lsn, MemberKind, NodeId } from "../../vocabulary.ts";
import type { CommittedEntries } from "../applying.ts";
import { Waiters } from "../waiters.ts";
import { Arrivals } from "./arrivals.ts";

export type DelayPorts = {
  readonly clock: Clock;
  readonly delayMs: number;
  readonly log: CommittedEntries;
  /** Lets everything up to `lsn` be applied. */
  release(lsn: Lsn): void;
  /** The log cannot be read. The node must stop. */
  failed(error: Error): void;
};

/** An entry, and what `timeOf` says of it. */
type Looked = { readonly lsn: Lsn; readonly atMs: number | undefined };

/** Clocks may be set while a timer runs, so it is never set for longer; what is due nearly together goes together. */
const lookMsMax = 1_000;
const lookMsMin = 10;

/** When an entry was committed by the leader's wall clock; undefined for one that is no change, or cannot be read. */
export function timeOf(entry: Entry): number | undefined {
  if (entry.kind !== "payload") return undefined;
  try {
    return commitTimeOf(entry.body);
  } catch (error) {
    if (error instanceof CorruptionError) return undefined;
    throw error;
  }
}

/** Voters may have to lead at once, with everything applied; witnesses have nothing to apply. */
export function cannotBeDelayed(node: NodeId, kind: MemberKind): ClientError {
  return new ClientError(
    "MEMBERSHIP_REFUSED",
    `${node} is a ${kind}, and only a learner or a node that follows outside the membership can be delayed; ` +
      `leave --apply-delay out, or remove ${node} and let it join again, empty, with --kind learner`,
  );
}

export class Delay {
  readonly #ports: DelayPorts;
  readonly #began: { readonly wallMs: number; readonly nowMs: number };
  /** Resolves those who wait for the commit mark. */
  readonly #known: Waiters;
  readonly #arrivals: Arrivals;
  /** Everything up to here may be applied, and may be already. Falls only by `rewindTo`. */
  #released: Lsn;
  #hold: EntryId | undefined;
  #frozen = false;
  /** The entries after the released ones, as far as they were looked at. */
  #ahead: readonly Looked[] = [];
  /** Counts what makes `#ahead` wrong. */
  #history = 0;
  #cancelTimer: Cancel = () => {};
  #isLooking = false;
  /** Something has changed since the running look began. */
  #isStale = false;
  #closed = false;

  constructor(ports: DelayPorts, applied: Lsn, hold: EntryId | undefined) {
    this.#ports = ports;
    const { clock, delayMs } = ports;
    this.#began = { wallMs: clock.wallMs(), nowMs: clock.nowMs() };
    this.#known = new Waiters(clock, applied);
    this.#arrivals = new Arrivals(delayMs);
    this.#released = applied;
    this.#hold = hold;
  }

  get delayMs(): number {
    return this.#ports.delayMs;
  }

  get released(): Lsn {
    return this.#released;
  }

  /** The entry that an operator rolled forward to. */
  get held(): EntryId | undefined {
    return this.#hold;
  }

  /** Known to be committed. */
  get committed(): Lsn {
    return this.#known.reached;
  }

  /** Resolves when `lsn` is known to be committed. Throws ClientError TOO_STALE. */
  known(lsn: Lsn, timeoutMs: number): Promise<void> {
    return this.#known.wait(lsn, timeoutMs);
  }

  /** More is committed. */
  onCommitted(lsn: Lsn): void {
    if (lsn > this.committed) this.#arrivals.came(lsn, this.#ports.clock.nowMs());
    this.#known.reach(lsn);
    // Behind one that waits, another need not be looked at.
    const isHoldAhead = this.#hold !== undefined && this.#hold.lsn > this.#released;
    if (this.#ahead.length === 0 || isHoldAhead) this.#look();
  }

  /** Page sync has made the database what it is at `lsn`. */
  jumpedTo(lsn: Lsn): void {
    this.#known.reach(lsn);
    this.#released = Math.max(this.#released, lsn) as Lsn;
    this.#lookAnew();
  }

  /** Entries from `from` on are not what will be applied there. */
  rewindTo(from: Lsn): void {
    const before = (from - 1) as Lsn;
    this.#known.rewindTo(from);
    this.#arrivals.rewindTo(from);
    this.#released = Math.min(this.#released, before) as Lsn;
    const hold = this.#hold;
    if (hold !== undefined && hold.lsn >= from) {
      this.#hold = { lsn: before, term: this.#ports.log.termAt(before) ?? hold.term };
    }
    this.#lookAnew();
  }

  /** Nothing becomes due until `hold` or `goOn`. */
  freeze(): void {
    this.#frozen = true;
    this.#look();
  }

  /** Everything up to `to` is due, and nothing after it, until `resume`. */
  hold(to: EntryId): void {
    this.#hold = to;
    this.goOn();
  }

  /** Back to the delay. */
  resume(): void {
    this.#hold = undefined;
    this.goOn();
  }

  /** As it was before `freeze`. */
  goOn(): void {
    this.#frozen = false;
    this.#look();
  }

  /**
   * For how long this copy, which has applied up to `applied`, lacks something that was committed; undefined when it
   * has all that is known to be. `appliedAtMs` is the commit time of what it applied last, or 0.
   */
  lagMs(applied: Lsn, appliedAtMs: number): number | undefined {
    if (applied >= this.committed) return undefined;
    const wallMs = this.#wallMs();
    if (applied < this.#released && appliedAtMs > 0) return Math.max(0, wallMs - appliedAtMs);
    const head = this.#ahead.find(({ atMs }) => atMs !== undefined);
    if (head === undefined) return undefined;
    const cameMs = this.#arrivals.of(head.lsn) ?? Number.POSITIVE_INFINITY;
    return Math.max(0, wallMs - head.atMs!, this.#ports.clock.nowMs() - cameMs);
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer();
  }

  #lookAnew(): void {
    this.#history++;
    this.#ahead = [];
    this.#look();
  }

  #look(): void {
    this.#isStale = true;
    if (this.#isLooking || this.#closed) return;
    this.#isLooking = true;
    this.#cancelTimer();
    this.#loop().catch((error: unknown) => {
      if (this.#closed) return;
      this.#ports.failed(error instanceof Error ? error : new Error(String(error)));
    });
  }

  async #loop(): Promise<void> {
    let waitMs: number | undefined;
    do {
      this.#isStale = false;
      if (this.#ahead.length === 0) await this.#readAhead();
      waitMs = this.#closed ? undefined : this.#releaseDue();
    } while (!this.#closed && (this.#isStale || waitMs === 0));
    // In the same turn as the last look at `#isStale`: whoever comes later begins anew.
    this.#isLooking = false;
    if (waitMs === undefined || this.#closed) return;
    const ms = Math.min(lookMsMax, Math.max(lookMsMin, waitMs));
    this.#cancelTimer = this.#ports.clock.after(ms, () => this.#look());
  }

  /** Releases what is due. Milliseconds until more may be: 0 to go on at once, undefined until something happens. */
  #releaseDue(): number | undefined {
    const hold = this.#hold;
    const before = this.#released;
    if (hold !== undefined && !this.#frozen) this.#release(Math.min(hold.lsn, this.committed));
    if (this.#ahead.length === 0) {
      if (this.#released >= this.committed) return undefined;
      // The log did not give what is committed; nothing is due that was not looked at.
      return this.#released > before ? 0 : lookMsMax;
    }
    if (this.#frozen || hold !== undefined) return undefined;
    let due = this.#released;
    let waitMs = 0;
    for (const { lsn, atMs } of this.#ahead) {
      waitMs = atMs === undefined ? 0 : this.#waitMs(lsn, atMs);
      if (waitMs > 0) break;
      due = lsn;
    }
    this.#release(due);
    return Math.max(0, waitMs);
  }

  #release(to: number): void {
    if (to <= this.#released) return;
    this.#released = to as Lsn;
    this.#arrivals.forgetTo(this.#released);
    const rest = this.#ahead.findIndex(({ lsn }) => lsn > to);
    this.#ahead = rest < 0 ? [] : this.#ahead.slice(rest);
    this.#ports.release(this.#released);
  }

  /** Looks at the entries after the released ones. One that cannot be read is let through: applying judges it. */
  async #readAhead(): Promise<void> {
    const { log } = this.#ports;
    const from = (this.#released + 1) as Lsn;
    const to = (this.committed + 1) as Lsn;
    if (from >= to) return;
    const history = this.#history;
    let ahead: Looked[];
    try {
      const entries =
        log.cached(from, to, limits.appendBytesMax) ??
        (await log.read(from, to, limits.appendBytesMax));
      ahead = entries.map((entry) => ({ lsn: entry.lsn, atMs: timeOf(entry) }));
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      ahead = [{ lsn: from, atMs: undefined }];
    }
    // What was read may be about entries that gave way, or were passed, meanwhile.
    if (history === this.#history) this.#ahead = ahead;
  }

  #waitMs(lsn: Lsn, atMs: number): number {
    const { clock, delayMs } = this.#ports;
    const byWall = atMs + delayMs - this.#wallMs();
    const cameMs = this.#arrivals.of(lsn);
    return cameMs === undefined ? byWall : Math.min(byWall, cameMs + delayMs - clock.nowMs());
  }

  /** Our wall clock, as far as it did not jump ahead since the start. */
  #wallMs(): number {
    const { clock } = this.#ports;
    const { wallMs, nowMs } = this.#began;
    return Math.min(clock.wallMs(), wallMs + clock.nowMs() - nowMs);
  }
}
