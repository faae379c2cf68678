/**
 * Bytes of one batch: the entries that one `persist` wrote, or a seal.
 *
 *   offset  size  field
 *        0     4  magic "BTCH"
 *        4     4  crc32 of bytes 8..31, of the batch's offset in its file, and of the segment's own checksum
 *        8     8  LSN of the first entry; the others follow without gaps
 *       16     4  count of entries; 0 is a seal, which says that everything before it was durable when it was written
 *       20     4  crc32 of the table
 *       24     8  size in bytes of table and bodies together
 *       32  28×n  table: term u64, chain u64, kind u32, size of body u32, crc32 of body u32
 *        …     …  bodies, back to back, in the table's order
 *
 * The head's checksum is bound to its place. So bytes that look like a batch (a user may store a copy of a log file
 * in a blob) are no batch anywhere but where it was written, and a valid head proves that its writing had begun.
 *
 * Bodies are checksummed once and written as they are; only head and table are built here.
 *
 * Not here: files, and what a broken batch means (segment.ts).
 */

import { crc32 } from "node:zlib";
import { assert } from "../base/assert.ts";
import { crc32Of } from "../base/body-sums.ts";
import { ByteWriter } from "../base/bytes.ts";
import { formatHash, parseHash } from "../base/hash.ts";
import type { Entry, EntryKind, Lsn, Term } from "../vocabulary.ts";

export const headBytes = 32;
export const rowBytes = 28;
/** What every batch begins with, to search for. */
export const batchMagic: Uint8Array = new TextEncoder().encode("BTCH");

/** Where a batch stands; part of its checksum. `seed` is the checksum of the segment's header. */
type Place = { readonly seed: number; readonly offset: number };

type BatchHead = {
  readonly firstLsn: Lsn;
  /** Number of entries; 0 for a seal. */
  readonly count: number;
  readonly tableCrc: number;
  /** Bytes after the head. */
  readonly size: number;
};

/** An entry without its body. */
export type Row = {
  readonly term: Term;
  readonly chain: string;
  readonly kind: EntryKind;
  readonly bodyBytes: number;
  readonly bodyCrc: number;
};

const kindCodes: Record<EntryKind, number> = {
  noop: 1,
  genesis: 2,
  membership: 3,
  payload: 4,
  settings: 5,
};
const kindsByCode: readonly (EntryKind | undefined)[] = [
  undefined,
  "noop",
  "genesis",
  "membership",
  "payload",
  "settings",
];

/** Head and table of a batch; the bodies are to follow them in the file. No entries: a seal. */
export function encodeHead(firstLsn: Lsn, entries: readonly Entry[], place: Place): Uint8Array {
  const bytes = new ByteWriter(headBytes + rowBytes * entries.length);
  bytes.bytes(batchMagic).u32(0).u64(firstLsn).u32(entries.length).u32(0).u64(0);
  let size = rowBytes * entries.length;
  for (const { term, chain, kind, body } of entries) {
    const { high, low } = parseHash(chain);
    bytes.u64(term).u32(high).u32(low).u32(kindCodes[kind]).u32(body.byteLength).u32(crc32Of(body));
    size += body.byteLength;
  }
  const head = bytes.finish();
  assert(head.byteLength === headBytes + rowBytes * entries.length, "batch head has a wrong size");
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  view.setUint32(20, crc32(head.subarray(headBytes)));
  view.setUint32(24, Math.floor(size / 0x1_0000_0000));
  view.setUint32(28, size >>> 0);
  view.setUint32(4, headCrc(head, place));
  return head;
}

/** The head of a batch at `place`, or undefined when these bytes are none. Wants `headBytes` bytes. */
export function decodeHead(bytes: Uint8Array, place: Place): BatchHead | undefined {
  if (bytes.byteLength < headBytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, headBytes);
  for (let i = 0; i < batchMagic.byteLength; i++) if (bytes[i] !== batchMagic[i]) return undefined;
  if (view.getUint32(4) !== headCrc(bytes, place)) return undefined;
  const firstLsn = u64At(view, 8);
  const count = view.getUint32(16);
  const size = u64At(view, 24);
  if (!Number.isSafeInteger(firstLsn + count) || !Number.isSafeInteger(size)) return undefined;
  if (size < count * rowBytes || (count === 0 && size !== 0)) return undefined;
  return { firstLsn: firstLsn as Lsn, count, tableCrc: view.getUint32(20), size };
}

/** The table of a batch, or undefined when the bytes are not it. Wants exactly the table's bytes. */
export function decodeTable(bytes: Uint8Array, head: BatchHead): readonly Row[] | undefined {
  if (bytes.byteLength !== head.count * rowBytes || crc32(bytes) !== head.tableCrc)
    return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const rows: Row[] = [];
  let size = bytes.byteLength;
  for (let at = 0; at < bytes.byteLength; at += rowBytes) {
    const term = u64At(view, at);
    const kind = kindsByCode[view.getUint32(at + 16)];
    if (!Number.isSafeInteger(term) || kind === undefined) return undefined;
    const chain = formatHash({ high: view.getUint32(at + 8), low: view.getUint32(at + 12) });
    const bodyBytes = view.getUint32(at + 20);
    rows.push({ term: term as Term, chain, kind, bodyBytes, bodyCrc: view.getUint32(at + 24) });
    size += bodyBytes;
  }
  return size === head.size ? rows : undefined;
}

function headCrc(head: Uint8Array, { seed, offset }: Place): number {
  const at = new Uint32Array([seed, Math.floor(offset / 0x1_0000_0000), offset >>> 0]);
  const placed = crc32(new Uint8Array(at.buffer).reverse());
  return crc32(head.subarray(8, headBytes), placed);
}

function u64At(view: DataView, at: number): number {
  return view.getUint32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
}
