/**
 * The blocks of the wal-index, 32 KiB each, the first counted from offset 0 of -shm: page number by frame (4062 in the
 * first block, 4096 in the others), then a hash table of 8192 u16 slots: entry of the block by page number.
 *
 * Not here: the header in front of them (wal-index.ts).
 */

import { assert } from "../base/assert.ts";

const indexBlockBytes = 32_768;
/** Entries in the first block are fewer: header and checkpoint state take the space of 34 of them. */
const entriesPerBlock = 4096;
const reservedWords = 34;
const firstBlockEntries = entriesPerBlock - reservedWords;
const hashSlots = 8192;

/** Number of the block (from 0) that has the entry of `frame`. */
export function blockOfFrame(frame: number): number {
  return Math.floor((frame + reservedWords - 1) / entriesPerBlock);
}

/** The frame before the first one of a block. */
export function frameBeforeBlock(block: number): number {
  return block === 0 ? 0 : firstBlockEntries + (block - 1) * entriesPerBlock;
}

/**
 * Our copy of one block. SQLite's layout depends only on the order of insertion, so building a block again from its
 * frames gives the bytes that are there already.
 */
export class IndexBlock {
  readonly block: number;
  readonly #bytes = new Uint8Array(indexBlockBytes);
  readonly #pgnos = new Uint32Array(this.#bytes.buffer, 0, entriesPerBlock);
  readonly #slots = new Uint16Array(this.#bytes.buffer, entriesPerBlock * 4, hashSlots);
  /** Entries in the block. */
  #count = 0;
  /** Entries that were there at the last `takeChanged`; -1 before the first, so that it gives the whole block. */
  #taken = -1;

  constructor(block: number) {
    this.block = block;
  }

  isFull(): boolean {
    return this.#count === (this.block === 0 ? firstBlockEntries : entriesPerBlock);
  }

  /** Adds the entry of the next frame. */
  push(pgno: number): void {
    assert(!this.isFull(), "index block is full");
    this.#pgnos[(this.block === 0 ? reservedWords : 0) + this.#count] = pgno;
    this.#count++;
    let key = Math.imul(pgno, 383) & (hashSlots - 1);
    while (this.#slots[key] !== 0) key = (key + 1) & (hashSlots - 1);
    this.#slots[key] = this.#count;
  }

  /**
   * The part of the block that changed since the last call, and its offset in the file; the first time all of it,
   * which zeroes whatever was there. Starts and ends at multiples of 8, so that the kernel copies whole words and a
   * reader never sees half a slot. A view.
   */
  takeChanged(): { readonly at: number; readonly bytes: Uint8Array } {
    const firstByte = this.block === 0 ? reservedWords * 4 : 0;
    const from = this.#taken < 0 ? firstByte : (firstByte + this.#taken * 4) & ~7;
    this.#taken = this.#count;
    return { at: this.block * indexBlockBytes + from, bytes: this.#bytes.subarray(from) };
  }
}
