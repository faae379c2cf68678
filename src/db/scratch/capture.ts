/**
 * Reads back what the writer has committed: the last image of every changed page, from the scratch WAL. Lives in the
 * writer process, beside the node:sqlite connection that writes there.
 *
 * Only frames in (last capture, mxFrame] count, with mxFrame taken from -shm after COMMIT: behind it the file holds
 * frames of transactions that were rolled back or not finished [sqlite-facts 1.10]. They must carry the salts of
 * the WAL, continue its chain of checksums, and end with a commit frame. Anything else is CorruptionError, and the
 * writer must go.
 *
 * A captured set says everything about every page up to `pageCount`. When a database grows, SQLite does not write
 * pages that were freed again in the same transaction, and what the file holds there depends on its past. Such
 * pages are captured as zeros, so that all copies are the same byte for byte.
 *
 * Invariant: the scratch WAL is never checkpointed [D2 rule 1], so it is never restarted and the salts never change.
 */

import { statSync } from "node:fs";
import { assert } from "../../base/assert.ts";
import { CorruptionError } from "../../base/errors.ts";
import { pageHash } from "../../base/hash.ts";
import { limits } from "../../limits.ts";
import type { Pgno } from "../../vocabulary.ts";
import type { WalChecksum } from "../../wal/checksum.ts";
import {
  decodeWalHeader,
  frameBytes,
  frameHeaderBytes,
  frameOffset,
  walHeaderBytes,
} from "../../wal/format.ts";
import type { PageSet } from "../../wal/page-set.ts";
import { lockPage } from "../../wal/page-size.ts";
import type { IndexHeader } from "../../wal/wal-index.ts";
import { decodeIndexHeaders, indexHeadersBytes } from "../../wal/wal-index.ts";
import { WalReader } from "../../wal/wal-reader.ts";
import { Descriptors } from "../served/descriptors.ts";

/** Stands for "no frame: zeros". Frames count from 1. */
const zeroPage = 0;

export class Capture {
  readonly #files: Descriptors;
  readonly #pageSize: number;
  /** State of the WAL at the last capture. */
  #seen: Pick<IndexHeader, "mxFrame" | "pageCount" | "frameChecksum" | "salts">;

  /**
   * Starts at what is committed now. `path` is that of the scratch database; its connection has run a statement on
   * it, so that -wal and -shm exist. The descriptors stay open until the process ends [D4].
   */
  static open(path: string, pageSize: number): Capture {
    const files = new Descriptors(path);
    files.open("wal", "r");
    files.open("shm", "r");
    const header = readHeader(files);
    const pageCount = header.mxFrame > 0 ? header.pageCount : statSync(path).size / pageSize;
    return new Capture(files, pageSize, { ...header, pageCount });
  }

  private constructor(files: Descriptors, pageSize: number, seen: IndexHeader) {
    this.#files = files;
    this.#pageSize = pageSize;
    this.#seen = seen;
  }

  /** Committed frames in the scratch WAL; it only grows. */
  get walFrames(): number {
    return this.#seen.mxFrame;
  }

  /**
   * Bytes of pages in frames behind the last commit: of the open transaction, as far as SQLite has let go of them, and
   * of greater ones that were rolled back before it.
   */
  uncommittedBytes(): number {
    const frames = (this.#files.size("wal") - walHeaderBytes) / frameBytes(this.#pageSize);
    return Math.max(0, Math.floor(frames) - this.#seen.mxFrame) * this.#pageSize;
  }

  /**
   * What was committed since the last call, as one change; undefined when nothing was, "too-large" when it has more
   * bytes of pages than `bytesMax`. Then it is of no more use.
   */
  capture(): PageSet | undefined;
  capture(bytesMax: number): PageSet | "too-large" | undefined;
  capture(bytesMax = Number.POSITIVE_INFINITY): PageSet | "too-large" | undefined {
    const header = readHeader(this.#files);
    assert(header.mxFrame >= this.#seen.mxFrame, "scratch WAL went back");
    if (header.mxFrame === this.#seen.mxFrame) return undefined;
    if (header.pageSize !== this.#pageSize) throw new CorruptionError("scratch page size changed");
    const reader = new WalReader(this.#pageSize, header.salts, this.#chainStart(header));
    const images = this.#readFrames(reader, header.mxFrame);
    const { s1, s2 } = reader.checksum();
    if (s1 !== header.frameChecksum.s1 || s2 !== header.frameChecksum.s2) {
      throw new CorruptionError("scratch WAL does not end with the checksum in its index");
    }
    this.#seen = header;
    if (images.size * this.#pageSize > bytesMax) return "too-large";
    return this.#pageSet(images, header.pageCount);
  }

  /** Checksum before the first new frame. */
  #chainStart(header: IndexHeader): Readonly<WalChecksum> {
    if (this.#seen.mxFrame > 0) {
      const same =
        this.#seen.salts.salt1 === header.salts.salt1 &&
        this.#seen.salts.salt2 === header.salts.salt2;
      if (!same) throw new CorruptionError("scratch WAL was restarted");
      return this.#seen.frameChecksum;
    }
    const bytes = new Uint8Array(walHeaderBytes);
    this.#files.readNow("wal", bytes, 0);
    const walHeader = decodeWalHeader(bytes);
    if (walHeader === undefined || walHeader.pageSize !== this.#pageSize) {
      throw new CorruptionError("scratch WAL has no valid header");
    }
    return walHeader.checksum;
  }

  /** Verifies all new frames and tells for each page which one counts. */
  #readFrames(reader: WalReader, mxFrame: number): Map<number, number> {
    const frameByPgno = new Map<number, number>();
    /** Frames of the transaction that is being read; moved to `frameByPgno` by its commit frame. */
    let transaction = new Map<number, number>();
    let pageCount = this.#seen.pageCount;
    let frame = this.#seen.mxFrame;
    const visit = (pgno: number, commitPageCount: number): void => {
      frame++;
      transaction.set(pgno, frame);
      if (commitPageCount === 0) return;
      fillGrowth(transaction, { from: pageCount, to: commitPageCount });
      if (commitPageCount < pageCount) dropBeyond(frameByPgno, commitPageCount);
      for (const [page, image] of transaction) {
        if (page <= commitPageCount) frameByPgno.set(page, image);
      }
      pageCount = commitPageCount;
      transaction = new Map();
    };
    while (frame < mxFrame) {
      const count = Math.min(limits.applySliceFrames, mxFrame - frame);
      const chunk = new Uint8Array(count * frameBytes(this.#pageSize));
      this.#files.readNow("wal", chunk, frameOffset(frame + 1, this.#pageSize));
      if (reader.read(chunk, visit) < count) {
        throw new CorruptionError(`scratch WAL is not valid at frame ${frame + 1}`);
      }
    }
    if (transaction.size > 0) throw new CorruptionError("scratch WAL does not end with a commit");
    frameByPgno.delete(lockPage(this.#pageSize));
    return frameByPgno;
  }

  #pageSet(images: Map<number, number>, pageCount: number): PageSet {
    const pgnos = Uint32Array.from(images.keys()).sort();
    const pages = new Uint8Array(pgnos.length * this.#pageSize);
    const hashes = new Uint32Array(pgnos.length * 2);
    for (let i = 0; i < pgnos.length; i++) {
      const pgno = pgnos[i] as Pgno;
      const page = pages.subarray(i * this.#pageSize, (i + 1) * this.#pageSize);
      const frame = images.get(pgno)!;
      if (frame !== zeroPage) {
        const at = frameOffset(frame, this.#pageSize) + frameHeaderBytes;
        this.#files.readNow("wal", page, at);
      }
      const hash = pageHash(pgno, page);
      hashes[2 * i] = hash.high;
      hashes[2 * i + 1] = hash.low;
    }
    return { pageSize: this.#pageSize, pageCount, pgnos, pages, hashes };
  }
}

/** Pages in (from, to] that the transaction does not write are zeros. */
function fillGrowth(
  transaction: Map<number, number>,
  growth: { readonly from: number; readonly to: number },
): void {
  for (let pgno = growth.from + 1; pgno <= growth.to; pgno++) {
    if (!transaction.has(pgno)) transaction.set(pgno, zeroPage);
  }
}

function dropBeyond(frameByPgno: Map<number, number>, pageCount: number): void {
  for (const pgno of frameByPgno.keys()) if (pgno > pageCount) frameByPgno.delete(pgno);
}

function readHeader(files: Descriptors): IndexHeader {
  const bytes = new Uint8Array(indexHeadersBytes);
  files.readNow("shm", bytes, 0);
  const header = decodeIndexHeaders(bytes);
  if (header === undefined) throw new CorruptionError("scratch wal-index is not valid");
  return header;
}
