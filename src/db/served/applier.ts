/**
 * Appends pages to the served WAL as SQLite would, and makes them visible all at once [D3]. To every reader in every
 * process it is an ordinary commit of another writer.
 *
 * Order of one transaction: `begin` · frames into -wal and their entries into -shm, in as many calls of `append` as
 * the caller likes · `publish`: both header copies in one write of 96 bytes. Killed before that write, nothing has
 * happened; the next process clears the remnants.
 *
 * Invariants:
 *   1. The process holds SQLite's write lock while anything here runs.
 *   2. `header` is byte for byte what is in -shm, or a foreign writer has been there: `begin` compares.
 *   3. `#pgnoByFrame` and `#frameByPgno` speak of the current generation of the WAL and of frames up to
 *      `header.mxFrame`, except between `begin` and `publish`, when the first holds the new frames too.
 *
 * Synchronous writes go to the page cache; the caller cuts large changes into slices.
 */

import { randomBytes } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { assert } from "../../base/assert.ts";
import { CorruptionError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import type { WalChecksum } from "../../wal/checksum.ts";
import type { Salts } from "../../wal/format.ts";
import {
  decodeWalHeader,
  encodeWalHeader,
  frameBytes,
  frameOffset,
  walHeaderBytes,
} from "../../wal/format.ts";
import { FrameEncoder } from "../../wal/frame-encoder.ts";
import { blockOfFrame, frameBeforeBlock, IndexBlock } from "../../wal/index-block.ts";
import * as index from "../../wal/wal-index.ts";
import { WalReader } from "../../wal/wal-reader.ts";
import type { Descriptors } from "./descriptors.ts";

/** Somebody else has written to the served database. */
export class ForeignWriteError extends CorruptionError {}

export class Applier {
  readonly #files: Descriptors;
  readonly #pageSize: number;
  readonly #encoder: FrameEncoder;
  /** What we last wrote to -shm, or read from it at the start and after a truncating checkpoint. */
  #header: index.IndexHeader;
  /** Salts of the generation that is being written; differs from those of `#header` before its first commit only. */
  #salts: Salts;
  /** Counts generations of the WAL file; undefined while we have not seen one. */
  #checkpointSequence: number | undefined;
  /** Page of each frame; frame f at f-1. Grows by doubling. */
  #pgnoByFrame = new Uint32Array(4096);
  /**
   * The last published frame of each page in the WAL; a page that is not here is read from the database file. Pages
   * beyond the end stay until the WAL is emptied: if they come back, they come back in a frame of their own
   * [checkChange].
   */
  readonly #frameByPgno = new Map<number, number>();
  /** Frames written, published or not. Equal to `header.mxFrame` outside of a transaction. */
  #written = 0;
  /** Our copy of the index block that the next entry goes into. */
  #block = new IndexBlock(0);
  #inTransaction = false;
  /** Frames above `#written` may be in -wal and -shm: of a dead writer, or abandoned. */
  #hasRemnants = true;

  /** Reads the header and walks over the WAL, verifying every frame. The write lock is held. */
  static async attach(files: Descriptors, pageSize: number): Promise<Applier> {
    const header = readIndexHeader(files);
    if (header === undefined) throw new CorruptionError("wal-index is not valid");
    const applier = new Applier(files, pageSize, header);
    await applier.#readWal();
    return applier;
  }

  private constructor(files: Descriptors, pageSize: number, header: index.IndexHeader) {
    this.#files = files;
    this.#pageSize = pageSize;
    this.#header = header;
    this.#salts = header.salts;
    this.#encoder = new FrameEncoder(pageSize, limits.applySliceFrames);
  }

  get mxFrame(): number {
    return this.#header.mxFrame;
  }

  /** Pages of the database as the WAL has it, or 0 when the WAL is empty and the file's own size counts. */
  get pageCount(): number {
    return this.#header.mxFrame === 0 ? 0 : this.#header.pageCount;
  }

  /** The frame that holds the published image of a page; undefined: it is in the database file. */
  frameOf(pgno: number): number | undefined {
    return this.#frameByPgno.get(pgno);
  }

  /** Throws ForeignWriteError when the wal-index is not as we left it. */
  assertUntouched(): void {
    const found = readIndexHeader(this.#files);
    if (found !== undefined && index.sameIndexHeader(found, this.#header)) return;
    throw new ForeignWriteError("a foreign process has written to the served database");
  }

  /** Starts a transaction. In an empty WAL it writes the file header, and waits until that is durable. */
  async begin(): Promise<void> {
    assert(!this.#inTransaction, "transaction inside a transaction");
    this.assertUntouched();
    this.#inTransaction = true;
    let checksum = this.#header.frameChecksum;
    if (this.#header.mxFrame === 0) checksum = await this.#writeFileHeader();
    if (this.#hasRemnants) this.#rebuildBlock();
    this.#encoder.continueFrom(this.#salts, checksum);
  }

  /**
   * Adds frames, at most `limits.applySliceFrames`. `commitPageCount` is 0 for all but the last call, which ends the
   * transaction and says how large the database is.
   */
  append(pgnos: Uint32Array, pages: Uint8Array, commitPageCount: number): void {
    assert(this.#inTransaction && pgnos.length > 0, "append outside of a transaction");
    const at = frameOffset(this.#written + 1, this.#pageSize);
    for (let i = 0; i < pgnos.length; i++) {
      const page = pages.subarray(i * this.#pageSize, (i + 1) * this.#pageSize);
      this.#encoder.push(pgnos[i]!, page, i === pgnos.length - 1 ? commitPageCount : 0);
    }
    this.#hasRemnants = true;
    this.#files.writeNow("wal", this.#encoder.take(), at);
    for (const pgno of pgnos) this.#addEntry(pgno);
    this.#writeBlock();
    if (commitPageCount > 0) this.#publish(commitPageCount);
  }

  /** Gives up a transaction that was not published. Readers never see it. */
  abandon(): void {
    this.#written = this.#header.mxFrame;
    this.#inTransaction = false;
    this.#hasRemnants = true;
  }

  /**
   * Takes notice of a truncating checkpoint. Everything is in the database file now. Throws ForeignWriteError when
   * more than the checkpoint has happened.
   */
  restarted(): void {
    const found = readIndexHeader(this.#files);
    const explained =
      found?.mxFrame === 0 &&
      found.change === this.#header.change &&
      found.pageCount === this.#header.pageCount &&
      found.salts.salt1 === (this.#header.salts.salt1 + 1) >>> 0;
    if (!explained) {
      throw new ForeignWriteError("a foreign process wrote during a checkpoint");
    }
    this.#header = found;
    this.#salts = found.salts;
    this.#forgetFrames();
  }

  /** A new generation of the log begins: no page is in it. */
  #forgetFrames(): void {
    if (this.#checkpointSequence !== undefined) this.#checkpointSequence++;
    this.#written = 0;
    this.#frameByPgno.clear();
    this.#hasRemnants = true;
  }

  /**
   * Starts the log over, from its first frame, as SQLite's next writer would after a RESTART checkpoint [wal.c
   * walRestartHdr]. The caller knows that everything is in the database file and that every reader reads only there:
   * as long as that is so, new readers do the same, so nobody can be in the log when it begins anew. The file keeps
   * its size: overwriting is cheaper than growing.
   */
  startOver(): void {
    assert(!this.#inTransaction, "the log starts over inside a transaction");
    this.assertUntouched();
    const { salt1 } = this.#header.salts;
    const salts = { salt1: (salt1 + 1) >>> 0, salt2: randomBytes(4).readUInt32BE(0) };
    this.#header = { ...this.#header, mxFrame: 0, salts };
    this.#salts = salts;
    this.#files.writeNow("shm", index.encodeIndexHeaders(this.#header), 0);
    const { state, attempted } = index.checkpointStateAt;
    this.#files.writeNow("shm", index.encodeRestartedState(), state);
    this.#files.writeNow("shm", new Uint8Array(4), attempted);
    this.#forgetFrames();
  }

  /** One write for both copies of the header: the moment of the commit. */
  #publish(pageCount: number): void {
    const before = this.#header;
    this.#header = {
      change: (before.change + 1) >>> 0,
      pageSize: this.#pageSize,
      mxFrame: this.#written,
      pageCount,
      frameChecksum: this.#encoder.checksum(),
      salts: this.#salts,
    };
    this.#files.writeNow("shm", index.encodeIndexHeaders(this.#header), 0);
    for (let frame = before.mxFrame + 1; frame <= this.#written; frame++) {
      this.#frameByPgno.set(this.#pgnoByFrame[frame - 1]!, frame);
    }
    this.#inTransaction = false;
    this.#hasRemnants = false;
  }

  #addEntry(pgno: number): void {
    if (this.#block.isFull()) {
      this.#writeBlock();
      this.#block = new IndexBlock(this.#block.block + 1);
    }
    this.#block.push(pgno);
    this.#rememberFrame(pgno);
  }

  #rememberFrame(pgno: number): void {
    if (this.#written === this.#pgnoByFrame.length) {
      const longer = new Uint32Array(this.#pgnoByFrame.length * 2);
      longer.set(this.#pgnoByFrame);
      this.#pgnoByFrame = longer;
    }
    this.#pgnoByFrame[this.#written] = pgno;
    this.#written++;
  }

  #writeBlock(): void {
    const { at, bytes } = this.#block.takeChanged();
    this.#files.writeNow("shm", bytes, at);
  }

  /** Makes our copy of the block after `mxFrame` anew, and the one in -shm equal: remnants are cleared by that. */
  #rebuildBlock(): void {
    const block = new IndexBlock(blockOfFrame(this.#written + 1));
    for (let f = frameBeforeBlock(block.block) + 1; f <= this.#written; f++) {
      block.push(this.#pgnoByFrame[f - 1]!);
    }
    this.#block = block;
    this.#writeBlock();
    this.#hasRemnants = false;
  }

  /**
   * The header of a new generation: SQLite's rule for its fields [wal.c sqlite3WalFrames]. It must be durable before
   * frames overwrite those of the generation before; otherwise a power cut could bring back a part of the old log.
   * Returns its checksum, from which the frames go on.
   */
  async #writeFileHeader(): Promise<Readonly<WalChecksum>> {
    if (this.#checkpointSequence === undefined) {
      const random = randomBytes(8);
      this.#salts = { salt1: random.readUInt32BE(0), salt2: random.readUInt32BE(4) };
      this.#checkpointSequence = 0;
    }
    const { bytes, header } = encodeWalHeader({
      pageSize: this.#pageSize,
      checkpointSequence: this.#checkpointSequence,
      salts: this.#salts,
    });
    this.#files.writeNow("wal", bytes, 0);
    await this.#files.syncWal();
    return header.checksum;
  }

  /** Learns which frame holds which page, and checks that the chain of checksums ends where -shm says. */
  async #readWal(): Promise<void> {
    const { mxFrame, salts, frameChecksum } = this.#header;
    if (mxFrame === 0) return;
    const head = new Uint8Array(walHeaderBytes);
    await this.#files.read("wal", head, 0);
    const header = decodeWalHeader(head);
    if (header === undefined || header.pageSize !== this.#pageSize) throw damagedAt(0);
    if (header.salts.salt1 !== salts.salt1 || header.salts.salt2 !== salts.salt2)
      throw damagedAt(0);
    this.#checkpointSequence = header.checkpointSequence;
    const reader = new WalReader(this.#pageSize, salts, header.checksum);
    while (this.#written < mxFrame) {
      const frames = Math.min(limits.applySliceFrames, mxFrame - this.#written);
      const chunk = new Uint8Array(frames * frameBytes(this.#pageSize));
      await this.#files.read("wal", chunk, frameOffset(this.#written + 1, this.#pageSize));
      const valid = reader.read(chunk, (pgno) => this.#rememberFrame(pgno));
      if (valid < frames) throw damagedAt(this.#written + 1);
      await turn();
    }
    const { s1, s2 } = reader.checksum();
    if (s1 !== frameChecksum.s1 || s2 !== frameChecksum.s2) throw damagedAt(mxFrame);
    for (let f = 1; f <= mxFrame; f++) this.#frameByPgno.set(this.#pgnoByFrame[f - 1]!, f);
  }
}

function readIndexHeader(files: Descriptors): index.IndexHeader | undefined {
  const bytes = new Uint8Array(index.indexHeadersBytes);
  files.readNow("shm", bytes, 0);
  return index.decodeIndexHeaders(bytes);
}

function damagedAt(frame: number): CorruptionError {
  return new CorruptionError(`served WAL is damaged at frame ${frame}`);
}
