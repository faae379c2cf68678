/**
 * The newest entries of the log in memory, for appends to followers and for applying. Bounded by bytes; the oldest go
 * first. Entries are shared with whoever made them, not copied.
 *
 * Invariant: the entries have consecutive LSNs.
 */

import type { Entry, Lsn } from "../vocabulary.ts";

/** What an entry weighs beside its body. */
const entryOverheadBytes = 200;

export class TailCache {
  readonly #bytesMax: number;
  /** Entries from `#head` on are the cache; those before it are forgotten. */
  #entries: (Entry | undefined)[] = [];
  #head = 0;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Entries of [from, to) as far as `bytesMax` allows, at least one; undefined when `from` is not here. */
  slice(from: Lsn, to: Lsn, bytesMax: number): readonly Entry[] | undefined {
    const first = this.#entries[this.#head];
    if (first === undefined || from < first.lsn) return undefined;
    const start = this.#head + (from - first.lsn);
    let end = start;
    let bytes = 0;
    for (const stop = Math.min(this.#entries.length, start + (to - from)); end < stop; end++) {
      bytes += this.#entries[end]!.body.byteLength;
      if (end > start && bytes > bytesMax) break;
    }
    return end === start ? undefined : (this.#entries.slice(start, end) as Entry[]);
  }

  /** Adds entries that follow the newest one, or start the cache anew if they do not. */
  push(entries: readonly Entry[]): void {
    const last = this.#entries.at(-1);
    if (last !== undefined && entries[0]?.lsn !== last.lsn + 1) this.clear();
    for (const entry of entries) {
      this.#entries.push(entry);
      this.#bytes += weightOf(entry);
    }
    while (this.#bytes > this.#bytesMax) this.#forgetOldest();
    if (this.#head > 1_024 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Forgets entries from `lsn` on. */
  truncate(lsn: Lsn): void {
    while (this.#entries.length > this.#head && this.#entries.at(-1)!.lsn >= lsn) {
      this.#bytes -= weightOf(this.#entries.pop()!);
    }
    if (this.#entries.length === this.#head) this.clear();
  }

  /** Forgets entries below `lsn`. */
  dropBefore(lsn: Lsn): void {
    while (this.#head < this.#entries.length && this.#entries[this.#head]!.lsn < lsn) {
      this.#forgetOldest();
    }
  }

  clear(): void {
    this.#entries = [];
    this.#head = 0;
    this.#bytes = 0;
  }

  #forgetOldest(): void {
    this.#bytes -= weightOf(this.#entries[this.#head]!);
    this.#entries[this.#head] = undefined;
    this.#head += 1;
    if (this.#head === this.#entries.length) this.clear();
  }
}

function weightOf(entry: Entry): number {
  return entry.body.byteLength + entryOverheadBytes;
}
