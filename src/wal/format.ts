/**
 * SQLite's WAL file, byte for byte. Pure: bytes in, values out.
 *
 *   offset  size  header of the file               offset  size  header of a frame
 *        0     4  magic 0x377f0682                      0     4  page number
 *        4     4  version 3007000                       4     4  pages of the database after a commit, else 0
 *        8     4  page size (65536 as 1)                8     8  salts, as in the file header
 *       12     4  checkpoint sequence                  16     8  checksum
 *       16     8  salts                                24     …  the page
 *       24     8  checksum of bytes 0..23
 *
 * All fields are big-endian. The checksum runs on: a frame's covers the header, every frame before it, the first
 * 8 bytes of its own header and its page. A frame is valid when its salts are those of the header and its checksum
 * fits; the log ends before the first frame that is not. The sum is taken over little-endian words, which is what the
 * magic says. Magic 0x377f0683 (written on a big-endian machine) is not read: we say so instead of guessing.
 *
 * Not here: the index in -shm (wal-index.ts), walking over frames (wal-reader.ts), any file.
 */

import { assert } from "../base/assert.ts";
import type { WalChecksum } from "./checksum.ts";
import { addToChecksum } from "./checksum.ts";
import { isPageSize } from "./page-size.ts";

export const walHeaderBytes = 32;
export const frameHeaderBytes = 24;

const magic = 0x377f0682;
const version = 3_007_000;

/** The two salts of a WAL generation, as unsigned integers. */
export type Salts = { readonly salt1: number; readonly salt2: number };

export type WalHeader = {
  readonly pageSize: number;
  /** Counts restarts of the file. SQLite writes it and reads it back, and never compares it. */
  readonly checkpointSequence: number;
  readonly salts: Salts;
  /** Checksum of the header: where the chain of the frames starts. */
  readonly checksum: Readonly<WalChecksum>;
};

/** Size of one frame in the file. */
export function frameBytes(pageSize: number): number {
  return frameHeaderBytes + pageSize;
}

/** Offset of frame `frame`, counted from 1 as SQLite does. */
export function frameOffset(frame: number, pageSize: number): number {
  return walHeaderBytes + (frame - 1) * frameBytes(pageSize);
}

/** A header ready to be written at offset 0, and the same as a value, with its checksum. */
export function encodeWalHeader(fields: Omit<WalHeader, "checksum">): {
  readonly bytes: Uint8Array;
  readonly header: WalHeader;
} {
  assert(isPageSize(fields.pageSize), "page size out of range");
  const bytes = new Uint8Array(walHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic);
  view.setUint32(4, version);
  view.setUint32(8, fields.pageSize);
  view.setUint32(12, fields.checkpointSequence);
  view.setUint32(16, fields.salts.salt1);
  view.setUint32(20, fields.salts.salt2);
  const checksum = { s1: 0, s2: 0 };
  addToChecksum(checksum, new Int32Array(bytes.buffer), { from: 0, to: 6 });
  view.setUint32(24, checksum.s1);
  view.setUint32(28, checksum.s2);
  return { bytes, header: { ...fields, checksum } };
}

/** Undefined when the bytes are not a header that SQLite on this machine would continue. */
export function decodeWalHeader(bytes: Uint8Array): WalHeader | undefined {
  if (bytes.byteLength < walHeaderBytes) return undefined;
  const own = bytes.slice(0, walHeaderBytes);
  const view = new DataView(own.buffer);
  if (view.getUint32(0) !== magic || view.getUint32(4) !== version) return undefined;
  const pageSize = view.getUint32(8);
  if (!isPageSize(pageSize)) return undefined;
  const checksum = { s1: 0, s2: 0 };
  addToChecksum(checksum, new Int32Array(own.buffer), { from: 0, to: 6 });
  if (view.getUint32(24) !== checksum.s1 || view.getUint32(28) !== checksum.s2) return undefined;
  const salts = { salt1: view.getUint32(16), salt2: view.getUint32(20) };
  return { pageSize, checkpointSequence: view.getUint32(12), salts, checksum };
}
