/**
 * The running checksum of SQLite's WAL and wal-index: two sums over pairs of little-endian words. Fast and weak: it
 * finds torn writes, which is what it is for. Everything else is found by base/hash.ts.
 */

/** Mutable, because it is carried through hot loops. Both words are unsigned. */
export type WalChecksum = { s1: number; s2: number };

/** Adds `words[from, to)` to the running checksum, in place. The range has an even length. */
export function addToChecksum(
  sum: WalChecksum,
  words: Int32Array,
  range: { readonly from: number; readonly to: number },
): void {
  let s1 = sum.s1 | 0;
  let s2 = sum.s2 | 0;
  for (let i = range.from; i < range.to; i += 2) {
    s1 = (s1 + words[i]! + s2) | 0;
    s2 = (s2 + words[i + 1]! + s1) | 0;
  }
  sum.s1 = s1 >>> 0;
  sum.s2 = s2 >>> 0;
}
