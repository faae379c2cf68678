/**
 * The body of a `pages` payload: the change of one entry, as whole pages.
 *
 *   offset  size  field
 *        0     1  payload kind, 1
 *        1     1  format version, now 1
 *        2     1  pages are stored 0 as they are, 1 as one zstd frame
 *        3     1  page size, as its power of two: 9 to 16
 *        4     4  crc32 of bytes 0..3 and 8..47
 *        8     4  pages of the database after the change
 *       12     4  n, pages in this body
 *       16     8  checksum of the database after the change [D6]; zero until it is stamped
 *       24     8  leader's wall clock at the commit, milliseconds since 1970, float
 *       32     4  bytes of the pages as stored
 *       36     4  crc32 of the table
 *       40     4  crc32 of the pages as stored
 *       44     4  zero
 *       48  12×n  table: page number u32, then its hash, high u32 and low u32
 *        …     …  the pages, as stored
 *
 * Page numbers ascend strictly, from 1 to the page count; the lock page is never among them [sqlite-facts 2.1].
 *
 * The page hashes are the leader's word: that they are those of the pages is checked by whoever reads pages back, not
 * here, where it would cost a SHA-256 per page on every follower.
 *
 * Not here: how pages are captured (wal/) or applied (db/).
 */

import {
  crc32,
  createZstdDecompress,
  constants as zlib,
  zstdCompressSync,
  zstdDecompressSync,
} from "node:zlib";
import { assert } from "../base/assert.ts";
import { crc32InTurns, largeBodyBytes } from "../base/body-sums.ts";
import { CorruptionError } from "../base/errors.ts";
import type { Hash64 } from "../base/hash.ts";
import { limits } from "../limits.ts";
import type { PageSet } from "../wal/page-set.ts";

export type PagesBody = {
  readonly set: PageSet;
  /** Of the whole database after the change. Zero if it was never stamped. */
  readonly checksumAfter: Hash64;
  /** Leader's wall clock, for people. */
  readonly committedAtMs: number;
};

/** What a body says about its pages, without them. */
export type PagesHeader = {
  readonly pageSize: number;
  readonly pageCount: number;
  readonly pgnos: Uint32Array;
  readonly hashes: Uint32Array;
  readonly checksumAfter: Hash64;
  readonly committedAtMs: number;
};

const kindPages = 1;
const version = 1;
const headerBytes = 48;
const rowBytes = 12;
const pageBits = { min: 9, max: 16 } as const;
const stored = { raw: 0, zstd: 1 } as const;
const unpackBytes = 1024 * 1024;
const zstdOptions = { params: { [zlib.ZSTD_c_compressionLevel]: 1 } };

/**
 * Encodes a change, with the checksum left zero (stampChecksum). Pages are compressed if that saves an eighth.
 * Copies the pages.
 */
export function encodePages(set: PageSet, committedAtMs: number, compress: boolean): Uint8Array {
  const { pageSize, pageCount, pgnos, pages, hashes } = set;
  const n = pgnos.length;
  const bits = Math.log2(pageSize);
  assert(Number.isInteger(bits), "page size is a power of two");
  assert(pages.byteLength === n * pageSize && hashes.length === 2 * n, "a set is whole");
  assert(faultOf(set) === undefined, "a set is valid");
  const packed = compress && n > 0 ? zstdCompressSync(pages, zstdOptions) : pages;
  const pays = packed.byteLength <= pages.byteLength - (pages.byteLength >>> 3);
  const content = pays ? packed : pages;
  const body = new Uint8Array(headerBytes + n * rowBytes + content.byteLength);
  const view = viewOf(body);
  body.set([kindPages, version, content === pages ? stored.raw : stored.zstd, bits]);
  view.setUint32(8, pageCount);
  view.setUint32(12, n);
  view.setFloat64(24, committedAtMs);
  for (let i = 0, at = headerBytes; i < n; i++, at += rowBytes) {
    view.setUint32(at, pgnos[i]!);
    view.setUint32(at + 4, hashes[2 * i]!);
    view.setUint32(at + 8, hashes[2 * i + 1]!);
  }
  body.set(content, headerBytes + n * rowBytes);
  view.setUint32(32, content.byteLength);
  view.setUint32(36, crc32(body.subarray(headerBytes, headerBytes + n * rowBytes)));
  view.setUint32(40, crc32(content));
  view.setUint32(4, headerCrc(body));
  return body;
}

/** Writes the checksum into an encoded body, in place. To be called before the entry is made of it. */
export function stampChecksum(body: Uint8Array, checksum: Hash64): void {
  assert(body.byteLength >= headerBytes && body[0] === kindPages, "only a pages body is stamped");
  const view = viewOf(body);
  view.setUint32(16, checksum.high);
  view.setUint32(20, checksum.low);
  view.setUint32(4, headerCrc(body));
}

/**
 * Decodes and checks a body. The pages may be a view of it. Throws CorruptionError for anything but what encodePages
 * makes; never allocates more than limits.transactionBytesMax for pages.
 */
export function decodePages(body: Uint8Array): PagesBody {
  const header = pagesHeader(body);
  const content = contentOf(body, header);
  checkContent(body, crc32(content));
  const wanted = header.pgnos.length * header.pageSize;
  return bodyOf(header, body[2] === stored.raw ? content : unpack(content, wanted));
}

/** As decodePages; what takes long with a large body is done in pieces, and others have their turns meanwhile. */
export async function decodePagesInTurns(body: Uint8Array): Promise<PagesBody> {
  const header = pagesHeader(body);
  const wanted = header.pgnos.length * header.pageSize;
  if (wanted < largeBodyBytes) return decodePages(body);
  const content = contentOf(body, header);
  checkContent(body, await crc32InTurns(content));
  return bodyOf(header, body[2] === stored.raw ? content : await unpackInTurns(content, wanted));
}

/** The pages as stored. */
function contentOf(body: Uint8Array, { pgnos }: PagesHeader): Uint8Array {
  return body.subarray(headerBytes + pgnos.length * rowBytes);
}

function checkContent(body: Uint8Array, crc: number): void {
  if (crc !== viewOf(body).getUint32(40)) throw corrupt(40, "checksum of the pages disagrees");
}

function bodyOf(header: PagesHeader, pages: Uint8Array): PagesBody {
  const { checksumAfter, committedAtMs, ...rest } = header;
  const wanted = header.pgnos.length * header.pageSize;
  if (pages.byteLength !== wanted) {
    throw corrupt(32, `${pages.byteLength} bytes of pages, expected ${wanted}`);
  }
  return { set: { ...rest, pages }, checksumAfter, committedAtMs };
}

/** Everything of a body but the pages, checked, without touching the pages. Throws CorruptionError. */
export function pagesHeader(body: Uint8Array): PagesHeader {
  if (body.byteLength < headerBytes) throw corrupt(body.byteLength, "the header is cut short");
  if (body[0] !== kindPages) throw corrupt(0, `payload kind ${body[0]}, expected ${kindPages}`);
  if (body[1] !== version) throw corrupt(1, `version ${body[1]}, this program knows ${version}`);
  const view = viewOf(body);
  if (view.getUint32(4) !== headerCrc(body)) throw corrupt(4, "checksum of the header disagrees");
  if (body[2] !== stored.raw && body[2] !== stored.zstd) throw corrupt(2, `storage ${body[2]}`);
  const bits = body[3]!;
  if (bits < pageBits.min || bits > pageBits.max) throw corrupt(3, `page size 2^${bits}`);
  const pageSize = 2 ** bits;
  const pageCount = view.getUint32(8);
  const n = view.getUint32(12);
  const committedAtMs = view.getFloat64(24);
  if (!Number.isFinite(committedAtMs)) throw corrupt(24, "commit time is no number");
  if (n * pageSize > limits.transactionBytesMax) throw corrupt(12, `${n} pages of ${pageSize}`);
  const tableEnd = headerBytes + n * rowBytes;
  if (body.byteLength !== tableEnd + view.getUint32(32)) {
    throw corrupt(32, `${body.byteLength} bytes, expected ${tableEnd + view.getUint32(32)}`);
  }
  if (crc32(body.subarray(headerBytes, tableEnd)) !== view.getUint32(36)) {
    throw corrupt(36, "checksum of the table disagrees");
  }
  const pgnos = new Uint32Array(n);
  const hashes = new Uint32Array(2 * n);
  for (let i = 0, at = headerBytes; i < n; i++, at += rowBytes) {
    pgnos[i] = view.getUint32(at);
    hashes[2 * i] = view.getUint32(at + 4);
    hashes[2 * i + 1] = view.getUint32(at + 8);
  }
  const fault = faultOf({ pgnos, pageCount, pageSize });
  if (fault !== undefined) throw corrupt(headerBytes + fault.index * rowBytes, fault.why);
  const checksumAfter = { high: view.getUint32(16), low: view.getUint32(20) };
  return { pageSize, pageCount, pgnos, hashes, checksumAfter, committedAtMs };
}

/** What is wrong with the page numbers, or undefined. */
function faultOf(
  set: Pick<PageSet, "pgnos" | "pageCount" | "pageSize">,
): { readonly index: number; readonly why: string } | undefined {
  const lockPage = 0x40000000 / set.pageSize + 1;
  let previous = 0;
  for (const [index, pgno] of set.pgnos.entries()) {
    if (pgno === 0) return { index, why: "page number 0" };
    if (pgno <= previous) return { index, why: `page ${pgno} after page ${previous}` };
    if (pgno > set.pageCount) return { index, why: `page ${pgno} of ${set.pageCount}` };
    if (pgno === lockPage) return { index, why: `the lock page, ${lockPage}` };
    previous = pgno;
  }
  return undefined;
}

function unpack(content: Uint8Array, wanted: number): Uint8Array {
  try {
    return zstdDecompressSync(content, { maxOutputLength: Math.max(wanted, 1) });
  } catch (cause) {
    throw new CorruptionError("pages do not decompress", { cause });
  }
}

/** In the machine's own threads, straight into the memory that is wanted. */
async function unpackInTurns(content: Uint8Array, wanted: number): Promise<Uint8Array> {
  const pages = new Uint8Array(wanted);
  let at = 0;
  const stream = createZstdDecompress({ chunkSize: unpackBytes });
  stream.end(content);
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      if (at + chunk.byteLength > wanted) throw corrupt(32, `more than ${wanted} bytes of pages`);
      pages.set(chunk, at);
      at += chunk.byteLength;
    }
  } catch (cause) {
    if (cause instanceof CorruptionError) throw cause;
    throw new CorruptionError("pages do not decompress", { cause });
  }
  return pages.subarray(0, at);
}

function headerCrc(body: Uint8Array): number {
  return crc32(body.subarray(8, headerBytes), crc32(body.subarray(0, 4)));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function corrupt(offset: number, why: string): CorruptionError {
  return new CorruptionError(`pages payload, offset ${offset}: ${why}`);
}
