/**
 * The hash of every page of an image in the making, and their XOR.
 *
 * Sparse, in blocks: a peer that lies about page numbers costs one block per page it really sends.
 */

import type { Hash64 } from "../base/hash.ts";

const blockPages = 1024;

export class HashTable {
  /** Two words per page; block b holds the pages from b · 1024 on. */
  readonly #blocks = new Map<number, Uint32Array>();
  /** XOR of all entries. */
  #high = 0;
  #low = 0;

  checksum(): Hash64 {
    return { high: this.#high >>> 0, low: this.#low >>> 0 };
  }

  set(pgno: number, high: number, low: number): void {
    const index = Math.floor(pgno / blockPages);
    let block = this.#blocks.get(index);
    if (block === undefined) {
      block = new Uint32Array(2 * blockPages);
      this.#blocks.set(index, block);
    }
    const at = 2 * (pgno % blockPages);
    this.#high ^= block[at]! ^ high;
    this.#low ^= block[at + 1]! ^ low;
    block[at] = high;
    block[at + 1] = low;
  }

  /** Words of the pages [from, to). */
  slice(from: number, to: number): Uint32Array {
    const words = new Uint32Array(2 * (to - from));
    for (let pgno = from; pgno < to; pgno++) {
      const block = this.#blocks.get(Math.floor(pgno / blockPages));
      if (block === undefined) continue;
      const at = 2 * (pgno % blockPages);
      words[2 * (pgno - from)] = block[at]!;
      words[2 * (pgno - from) + 1] = block[at + 1]!;
    }
    return words;
  }

  dropAbove(pageCount: number): void {
    for (const index of this.#blocks.keys()) {
      const first = index * blockPages;
      for (let pgno = Math.max(first, pageCount + 1); pgno < first + blockPages; pgno++) {
        this.set(pgno, 0, 0);
      }
      if (first > pageCount) this.#blocks.delete(index);
    }
  }
}

/** XOR of hashes given as words. */
export function xorWords(words: Uint32Array): Hash64 {
  let high = 0;
  let low = 0;
  for (let at = 0; at < words.length; at += 2) {
    high ^= words[at]!;
    low ^= words[at + 1]!;
  }
  return { high: high >>> 0, low: low >>> 0 };
}
