/**
 * SQLite's wal-index, the file that ends in -shm: which frame holds which page, and how far the log reaches.
 * Readers of every process map it into memory; we write it with pwrite, which Linux keeps coherent with the
 * mapping.
 *
 *   offset  size  field, in the machine's own byte order (we run on little-endian machines only)
 *        0    48  header: version, -, change counter, isInit u8, bigEndChecksum u8, page size u16, mxFrame,
 *                 pageCount, checksum of frame mxFrame (2 words), salts (8 bytes as in the WAL), checksum of 0..39
 *       48    48  the same again. A reader that sees two different copies tries again.
 *       96     4  nBackfill: frames already copied into the database
 *      100    20  five read marks
 *      120     8  lock bytes; never read nor written here
 *      128     4  nBackfillAttempted
 *      136     …  blocks (index-block.ts)
 *
 * Invariants that a writer keeps [wal.c walIndexAppend, walIndexWriteHdr]:
 *   1. Entries of a frame are in place before a header speaks of it.
 *   2. A block is zeroed before its first entry; entries of a dead writer above mxFrame are cleared before new ones
 *      go in.
 *   3. Both header copies go out in one write: a writer stopped between them would stall readers for ten seconds.
 */

import type { WalChecksum } from "./checksum.ts";
import { addToChecksum } from "./checksum.ts";
import type { Salts } from "./format.ts";

/** Both copies of the header. */
export const indexHeadersBytes = 96;

const headerBytes = 48;
const version = 3_007_000;
/** The header as a value. */
export type IndexHeader = {
  /** Counts commits; wraps at 2^32. */
  readonly change: number;
  /** Bytes of a page, or 0 before the first frame ever. */
  readonly pageSize: number;
  /** The last committed frame, 0 when the log is empty. */
  readonly mxFrame: number;
  /** Pages of the database as of mxFrame; 0 when the log is empty since it was opened. */
  readonly pageCount: number;
  readonly frameChecksum: Readonly<WalChecksum>;
  readonly salts: Salts;
};

/** Both copies, for one write at offset 0. */
export function encodeIndexHeaders(header: IndexHeader): Uint8Array {
  const bytes = new Uint8Array(indexHeadersBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, version, true);
  view.setUint32(8, header.change, true);
  view.setUint8(12, 1);
  view.setUint8(13, 0);
  view.setUint16(14, header.pageSize === 65_536 ? 1 : header.pageSize, true);
  view.setUint32(16, header.mxFrame, true);
  view.setUint32(20, header.pageCount, true);
  view.setUint32(24, header.frameChecksum.s1, true);
  view.setUint32(28, header.frameChecksum.s2, true);
  view.setUint32(32, header.salts.salt1);
  view.setUint32(36, header.salts.salt2);
  const sum = { s1: 0, s2: 0 };
  addToChecksum(sum, new Int32Array(bytes.buffer), { from: 0, to: 10 });
  view.setUint32(40, sum.s1, true);
  view.setUint32(44, sum.s2, true);
  bytes.copyWithin(headerBytes, 0, headerBytes);
  return bytes;
}

/** Undefined when the copies differ or are not valid: someone is writing, or no one has written yet. */
export function decodeIndexHeaders(source: Uint8Array): IndexHeader | undefined {
  if (source.byteLength < indexHeadersBytes) return undefined;
  const bytes = source.slice(0, indexHeadersBytes);
  for (let i = 0; i < headerBytes; i++) if (bytes[i] !== bytes[headerBytes + i]) return undefined;
  const view = new DataView(bytes.buffer);
  const sum = { s1: 0, s2: 0 };
  addToChecksum(sum, new Int32Array(bytes.buffer), { from: 0, to: 10 });
  if (view.getUint32(40, true) !== sum.s1 || view.getUint32(44, true) !== sum.s2) return undefined;
  if (view.getUint32(0, true) !== version || view.getUint8(12) === 0) return undefined;
  const pageSize = view.getUint16(14, true);
  return {
    change: view.getUint32(8, true),
    pageSize: pageSize === 1 ? 65_536 : pageSize,
    mxFrame: view.getUint32(16, true),
    pageCount: view.getUint32(20, true),
    frameChecksum: { s1: view.getUint32(24, true), s2: view.getUint32(28, true) },
    salts: { salt1: view.getUint32(32), salt2: view.getUint32(36) },
  };
}

/** Whether the two say the same of every frame. */
export function sameIndexHeader(a: IndexHeader, b: IndexHeader): boolean {
  const x = encodeIndexHeaders(a);
  const y = encodeIndexHeaders(b);
  return x.every((byte, i) => byte === y[i]);
}

/** Where the checkpoint state begins in -shm: nBackfill, five read marks; and, elsewhere, nBackfillAttempted. */
export const checkpointStateAt = { state: 96, attempted: 128 };

/**
 * The checkpoint state of a log that starts over [wal.c walRestartHdr]: nothing copied yet, read mark 0 always zero,
 * read mark 1 at zero, the others unused. Without the locks' bytes that follow it, and without nBackfillAttempted.
 */
export function encodeRestartedState(): Uint8Array {
  const words = new Uint32Array([0, 0, 0, 0xffffffff, 0xffffffff, 0xffffffff]);
  return new Uint8Array(words.buffer);
}
