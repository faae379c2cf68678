/**
 * Applying: from the commit mark to the served database, one entry after the other, in LSN order, at its own pace.
 *
 * Invariants
 *   - nothing above the commit mark is ever applied                                   [invariants I12]
 *   - an entry is applied once: the database says itself how far it is (position row) [D1]
 *   - only a changed database can disagree; then applying stops, the node is damaged, and page sync repairs it [D6]
 *
 * A witness has no database: once it knows its cluster, entries are passed over unread.
 *
 * Kinds: genesis makes the database, payload changes it, noop and membership do not touch it.
 */

import { CorruptionError, messageOf } from "../base/errors.ts";
import { limits } from "../limits.ts";
import type { Entry, EntryId, Lsn, Term } from "../vocabulary.ts";

/** What applying needs from the log. */
export type CommittedEntries = {
  cached(from: Lsn, to: Lsn, bytesMax: number): readonly Entry[] | undefined;
  read(from: Lsn, to: Lsn, bytesMax: number): Promise<readonly Entry[]>;
  termAt(lsn: Lsn): Term | undefined;
};

export type ApplyEvents = {
  /** Entries change nothing here, and nothing has to be learned from them. */
  passesOver(): boolean;
  /** Makes one entry's change to the database. Throws CorruptionError when the database turns out to differ. */
  change(entry: Entry): Promise<void>;
  /** The entry is applied. */
  applied(entry: EntryId, bytes: number): void;
  /** The database differs from what the leader says. Applying has stopped until `resumeAt`. */
  damaged(why: string): void;
  /** Something that is not the database's fault. The node must stop. */
  failed(error: Error): void;
};

export class Applying {
  readonly #log: CommittedEntries;
  readonly #events: ApplyEvents;
  /** Everything up to here is in the served database. */
  #applied: EntryId;
  /** Everything up to here may be applied. Falls only by `rewindTo`. */
  #committedLsn: Lsn;
  /** The running loop, or undefined. */
  #running: Promise<void> | undefined;
  #paused = false;

  constructor(log: CommittedEntries, applied: EntryId, events: ApplyEvents) {
    this.#log = log;
    this.#applied = applied;
    this.#committedLsn = applied.lsn;
    this.#events = events;
  }

  get applied(): EntryId {
    return this.#applied;
  }

  applyTo(committedLsn: Lsn): void {
    if (committedLsn > this.#committedLsn) this.#committedLsn = committedLsn;
    this.#start();
  }

  /** Stops after the entry at hand; resolves when nothing is applied any more, with whether it had stopped before. */
  async pause(): Promise<boolean> {
    const before = this.#paused;
    this.#paused = true;
    await this.#running;
    return before;
  }

  /** Goes on from the position that the database has now. */
  resumeAt(applied: EntryId): void {
    this.#applied = applied;
    if (applied.lsn > this.#committedLsn) this.#committedLsn = applied.lsn;
    this.#paused = false;
    this.#start();
  }

  /** Entries from `from` on are not what will be applied there. While paused. */
  rewindTo(from: Lsn): void {
    this.#committedLsn = Math.min(this.#committedLsn, from - 1) as Lsn;
    if (this.#applied.lsn < from) return;
    const lsn = (from - 1) as Lsn;
    this.#applied = { lsn, term: this.#log.termAt(lsn) ?? this.#applied.term };
  }

  /** Runs `work` while nothing is applied, unless applying has stopped for another reason. */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    const stopped = this.#paused;
    await this.pause();
    try {
      return await work();
    } finally {
      if (!stopped) this.resumeAt(this.#applied);
    }
  }

  #start(): void {
    if (this.#running !== undefined || this.#paused) return;
    if (this.#applied.lsn >= this.#committedLsn) return;
    this.#running = this.#loop().finally(() => {
      this.#running = undefined;
      this.#start();
    });
  }

  async #loop(): Promise<void> {
    try {
      while (!this.#paused && this.#applied.lsn < this.#committedLsn) {
        if (this.#events.passesOver() && this.#passOver()) continue;
        for (const entry of await this.#next()) {
          await this.#events.change(entry);
          this.#applied = { lsn: entry.lsn, term: entry.term };
          this.#events.applied(this.#applied, entry.body.byteLength);
          if (this.#paused) return;
        }
      }
    } catch (error) {
      this.#paused = true;
      if (error instanceof CorruptionError) this.#events.damaged(messageOf(error));
      else this.#events.failed(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #passOver(): boolean {
    const term = this.#log.termAt(this.#committedLsn);
    if (term === undefined) return false;
    this.#applied = { lsn: this.#committedLsn, term };
    this.#events.applied(this.#applied, 0);
    return true;
  }

  async #next(): Promise<readonly Entry[]> {
    const from = (this.#applied.lsn + 1) as Lsn;
    const to = (this.#committedLsn + 1) as Lsn;
    const cached = this.#log.cached(from, to, limits.appendBytesMax);
    if (cached !== undefined && cached.length > 0) return cached;
    const read = await this.#log.read(from, to, limits.appendBytesMax);
    if (read.length === 0) throw new CorruptionError(`the log lacks committed entry ${from}`);
    return read;
  }
}
