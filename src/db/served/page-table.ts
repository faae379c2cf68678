/**
 * The hash of every page of a database and their XOR, the checksum of the whole [D6]. Eight bytes per page: 1 GiB of
 * database is 2 MiB of table.
 *
 * Invariants:
 *   1. `checksum` is the XOR of all hashes from page 1 to `pageCount`.
 *   2. A page above `pageCount`, the lock page, and a page that is known to be missing have hash zero.
 *
 * It says what the pages should be, not what they are: page-reader.ts compares.
 */

import { assert } from "../../base/assert.ts";
import { CorruptionError } from "../../base/errors.ts";
import type { Hash64 } from "../../base/hash.ts";
import type { Pgno } from "../../vocabulary.ts";
import type { PageSet } from "../../wal/page-set.ts";
import { lockPage } from "../../wal/page-size.ts";

/** The part of a PageSet that a table needs. */
export type HashedChange = Pick<PageSet, "pageCount" | "pgnos" | "hashes">;

/**
 * Throws CorruptionError when a change cannot be one that `Capture` made for a database of this size: page numbers
 * out of order or range, the lock page, or a gap between the old end and the new one (its content would be left to
 * chance).
 */
export function checkChange(change: HashedChange, table: PageTable): void {
  const { pgnos, pageCount } = change;
  const locked = lockPage(table.pageSize);
  let last = 0;
  let added = 0;
  for (const pgno of pgnos) {
    if (pgno <= last || pgno > pageCount || pgno === locked) {
      throw new CorruptionError(`page ${pgno} after ${last} in a change to ${pageCount} pages`);
    }
    if (pgno > table.pageCount) added++;
    last = pgno;
  }
  const growth = Math.max(0, pageCount - table.pageCount);
  const lockAdded = table.pageCount < locked && locked <= pageCount ? 1 : 0;
  if (pgnos.length === 0 || change.hashes.length !== 2 * pgnos.length) {
    throw new CorruptionError(`${change.hashes.length} hash halves for ${pgnos.length} pages`);
  }
  if (added !== growth - lockAdded) {
    throw new CorruptionError(`database grows by ${growth} pages and ${added} are there`);
  }
}

export class PageTable {
  readonly pageSize: number;
  /** Halves of the hash of page p at 2(p-1) and 2(p-1)+1. Longer than needed; zero beyond the last page. */
  #halves: Uint32Array;
  #pageCount = 0;
  #high = 0;
  #low = 0;

  constructor(pageSize: number) {
    this.pageSize = pageSize;
    this.#halves = new Uint32Array(2048);
  }

  get pageCount(): number {
    return this.#pageCount;
  }

  checksum(): Hash64 {
    return { high: this.#high, low: this.#low };
  }

  /** Zero for a page that does not exist. */
  hashOf(pgno: number): Hash64 {
    if (pgno < 1 || pgno > this.#pageCount) return { high: 0, low: 0 };
    return { high: this.#halves[2 * pgno - 2]!, low: this.#halves[2 * pgno - 1]! };
  }

  /** Whether page `pgno` has this hash. */
  matches(pgno: number, hash: Hash64): boolean {
    const own = this.hashOf(pgno);
    return own.high === hash.high && own.low === hash.low;
  }

  /** Sets the hash of one page; the table grows to hold it. */
  set(pgno: Pgno, hash: Hash64): void {
    assert(pgno >= 1 && pgno !== lockPage(this.pageSize), "page without content in page table");
    if (pgno > this.#pageCount) this.resize(pgno);
    const at = 2 * pgno - 2;
    this.#high = (this.#high ^ this.#halves[at]! ^ hash.high) >>> 0;
    this.#low = (this.#low ^ this.#halves[at + 1]! ^ hash.low) >>> 0;
    this.#halves[at] = hash.high;
    this.#halves[at + 1] = hash.low;
  }

  /** Drops the pages above the new end, or adds pages of hash zero. */
  resize(pageCount: number): void {
    for (let at = 2 * pageCount; at < 2 * this.#pageCount; at += 2) {
      this.#high = (this.#high ^ this.#halves[at]!) >>> 0;
      this.#low = (this.#low ^ this.#halves[at + 1]!) >>> 0;
    }
    if (pageCount < this.#pageCount) this.#halves.fill(0, 2 * pageCount, 2 * this.#pageCount);
    if (2 * pageCount > this.#halves.length) {
      const halves = new Uint32Array(Math.max(2 * pageCount, this.#halves.length * 2));
      halves.set(this.#halves);
      this.#halves = halves;
    }
    this.#pageCount = pageCount;
  }

  /** The checksum that `change` would lead to. Changes nothing. */
  checksumAfter(change: HashedChange): Hash64 {
    let { high, low } = this.checksum();
    for (let i = 0; i < change.pgnos.length; i++) {
      const old = this.hashOf(change.pgnos[i]!);
      high ^= old.high ^ change.hashes[2 * i]!;
      low ^= old.low ^ change.hashes[2 * i + 1]!;
    }
    for (let at = 2 * change.pageCount; at < 2 * this.#pageCount; at += 2) {
      high ^= this.#halves[at]!;
      low ^= this.#halves[at + 1]!;
    }
    return { high: high >>> 0, low: low >>> 0 };
  }

  apply(change: HashedChange): void {
    this.resize(change.pageCount);
    for (let i = 0; i < change.pgnos.length; i++) {
      const hash = { high: change.hashes[2 * i]!, low: change.hashes[2 * i + 1]! };
      this.set(change.pgnos[i] as Pgno, hash);
    }
  }

  /** An independent copy. */
  clone(): PageTable {
    const copy = new PageTable(this.pageSize);
    copy.#halves = this.#halves.slice();
    copy.#pageCount = this.#pageCount;
    copy.#high = this.#high;
    copy.#low = this.#low;
    return copy;
  }
}
