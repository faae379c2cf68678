/**
 * Makes frames that follow one another into bytes for one write. Carries the running checksum from frame to frame, so
 * one encoder belongs to one position in one generation of a WAL.
 *
 * Invariant: `checksum` is that of the last frame pushed.
 */

import { assert } from "../base/assert.ts";
import type { WalChecksum } from "./checksum.ts";
import { addToChecksum } from "./checksum.ts";
import type { Salts } from "./format.ts";
import { frameBytes, frameHeaderBytes } from "./format.ts";

export class FrameEncoder {
  readonly #pageSize: number;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #view: DataView;
  /** Salts of the generation that frames are being made for. */
  #salts: Salts = { salt1: 0, salt2: 0 };
  readonly #checksum: WalChecksum = { s1: 0, s2: 0 };
  /** Bytes pushed since the last `take`. */
  #at = 0;

  /** At most `framesMax` frames fit between two calls of `take`. */
  constructor(pageSize: number, framesMax: number) {
    this.#pageSize = pageSize;
    this.#bytes = new Uint8Array(frameBytes(pageSize) * framesMax);
    this.#words = new Int32Array(this.#bytes.buffer);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Continues after a frame (or a file header) with this checksum. Forgets what was pushed and not taken. */
  continueFrom(salts: Salts, checksum: Readonly<WalChecksum>): void {
    this.#salts = salts;
    this.#checksum.s1 = checksum.s1;
    this.#checksum.s2 = checksum.s2;
    this.#at = 0;
  }

  /** Adds a frame. `commitPageCount` is the size of the database if this frame ends the transaction, else 0. */
  push(pgno: number, page: Uint8Array, commitPageCount: number): void {
    assert(page.byteLength === this.#pageSize, "page of the wrong size");
    assert(this.#at < this.#bytes.byteLength, "frame encoder is full");
    const at = this.#at;
    const word = at >>> 2;
    this.#view.setUint32(at, pgno);
    this.#view.setUint32(at + 4, commitPageCount);
    this.#view.setUint32(at + 8, this.#salts.salt1);
    this.#view.setUint32(at + 12, this.#salts.salt2);
    this.#bytes.set(page, at + frameHeaderBytes);
    addToChecksum(this.#checksum, this.#words, { from: word, to: word + 2 });
    const pageWord = word + frameHeaderBytes / 4;
    addToChecksum(this.#checksum, this.#words, {
      from: pageWord,
      to: pageWord + this.#pageSize / 4,
    });
    this.#view.setUint32(at + 16, this.#checksum.s1);
    this.#view.setUint32(at + 20, this.#checksum.s2);
    this.#at = at + frameBytes(this.#pageSize);
  }

  /** What was pushed since the last call. A view into the encoder: valid until the next `push`. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#at);
    this.#at = 0;
    return taken;
  }

  /** Checksum of the last frame pushed, as a value of its own. */
  checksum(): Readonly<WalChecksum> {
    return { ...this.#checksum };
  }
}
