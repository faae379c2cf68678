/**
 * Walks over the frames of a WAL and stops where the valid ones end. Fed with chunks of bytes that begin at frame
 * boundaries, so it needs no file and no whole log in memory.
 *
 * It does not know about commits: frames after the last commit frame are valid and not committed. Its caller decides.
 */

import type { WalChecksum } from "./checksum.ts";
import { addToChecksum } from "./checksum.ts";
import type { Salts } from "./format.ts";
import { frameBytes, frameHeaderBytes } from "./format.ts";

/** Sees each valid frame. `page` is a view of the chunk. */
export type FrameVisitor = (pgno: number, commitPageCount: number, page: Uint8Array) => void;

export class WalReader {
  readonly #pageSize: number;
  readonly #salts: Salts;
  /** Checksum of the last valid frame, at first that of where the walk started. */
  readonly #checksum: WalChecksum;

  /** Starts after the frame (or file header) that has this checksum. */
  constructor(pageSize: number, salts: Salts, checksum: Readonly<WalChecksum>) {
    this.#pageSize = pageSize;
    this.#salts = salts;
    this.#checksum = { ...checksum };
  }

  /** Visits the valid frames at the start of `chunk` and says how many. Fewer than it holds: the log ends there. */
  read(chunk: Uint8Array, visit: FrameVisitor): number {
    const bytes = chunk.byteOffset % 4 === 0 ? chunk : chunk.slice();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
    const size = frameBytes(this.#pageSize);
    const count = Math.floor(bytes.byteLength / size);
    for (let i = 0; i < count; i++) {
      const at = i * size;
      if (!this.#accepts(view, words, at)) return i;
      const page = bytes.subarray(at + frameHeaderBytes, at + size);
      visit(view.getUint32(at), view.getUint32(at + 4), page);
    }
    return count;
  }

  checksum(): Readonly<WalChecksum> {
    return { ...this.#checksum };
  }

  /** Moves the running checksum past the frame at `at` if the frame is valid. */
  #accepts(view: DataView, words: Int32Array, at: number): boolean {
    if (view.getUint32(at) === 0) return false;
    if (view.getUint32(at + 8) !== this.#salts.salt1) return false;
    if (view.getUint32(at + 12) !== this.#salts.salt2) return false;
    const sum = { ...this.#checksum };
    const word = at >>> 2;
    addToChecksum(sum, words, { from: word, to: word + 2 });
    const pageWord = word + frameHeaderBytes / 4;
    addToChecksum(sum, words, { from: pageWord, to: pageWord + this.#pageSize / 4 });
    if (view.getUint32(at + 16) !== sum.s1 || view.getUint32(at + 20) !== sum.s2) return false;
    this.#checksum.s1 = sum.s1;
    this.#checksum.s2 = sum.s2;
    return true;
  }
}
