/**
 * The page hashes of the database as it will be once every entry proposed so far is applied. The leader stamps each
 * entry with the checksum of the database after it [D6], while earlier entries are still on their way; so it needs
 * the hashes of pages that the served database does not have yet.
 *
 * It is an overlay: hashes of pages in entries that are proposed and not applied, over the table of the served
 * database. Rebuilt from nothing on each promotion, when nothing is in flight.
 */

import { type Hash64, xorHash, zeroHash } from "../../base/hash.ts";
import type { Lsn, Pgno } from "../../vocabulary.ts";

/** The table under the overlay: hash of a page as applied, zero for a page that is not there. */
export type AppliedHashes = {
  readonly pageCount: number;
  checksum(): Hash64;
  hashOf(pgno: Pgno): Hash64;
};

/** What an entry changes, without its pages. */
export type PageChanges = {
  readonly pgnos: Uint32Array;
  readonly hashes: Uint32Array;
  readonly pageCount: number;
};

type Pending = { readonly lsn: Lsn; readonly hash: Hash64 };

export class HeadTable {
  readonly #applied: AppliedHashes;
  /** Hash by page number, of the newest entry in flight that has or drops the page. */
  readonly #pending = new Map<number, Pending>();
  /** Page numbers touched, by entry in flight; what `settle` removes. */
  readonly #touchedByLsn = new Map<Lsn, number[]>();
  /** Pages of the database after the newest entry in flight. */
  #pageCount: number;
  /** Checksum of the database after the newest entry in flight. */
  #checksum: Hash64;

  constructor(applied: AppliedHashes) {
    this.#applied = applied;
    this.#pageCount = applied.pageCount;
    this.#checksum = applied.checksum();
  }

  /** Takes an entry's changes in and returns the checksum of the database after it. */
  push(lsn: Lsn, changes: PageChanges): Hash64 {
    let sum = this.#checksum;
    const touched: number[] = [];
    const change = (pgno: number, hash: Hash64) => {
      const before = pgno <= this.#pageCount ? this.#hashOf(pgno) : zeroHash;
      sum = xorHash(sum, xorHash(before, hash));
      this.#pending.set(pgno, { lsn, hash });
      touched.push(pgno);
    };
    for (let i = 0; i < changes.pgnos.length; i++) {
      change(changes.pgnos[i]!, { high: changes.hashes[2 * i]!, low: changes.hashes[2 * i + 1]! });
    }
    for (let gone = changes.pageCount + 1; gone <= this.#pageCount; gone++) change(gone, zeroHash);
    this.#touchedByLsn.set(lsn, touched);
    this.#pageCount = changes.pageCount;
    this.#checksum = sum;
    return sum;
  }

  /** The entry at `lsn` is applied: the table below now says the same. */
  settle(lsn: Lsn): void {
    for (const pgno of this.#touchedByLsn.get(lsn) ?? []) {
      if (this.#pending.get(pgno)?.lsn === lsn) this.#pending.delete(pgno);
    }
    this.#touchedByLsn.delete(lsn);
  }

  #hashOf(pgno: number): Hash64 {
    return this.#pending.get(pgno)?.hash ?? this.#applied.hashOf(pgno as Pgno);
  }
}
