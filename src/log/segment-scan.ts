/**
 * Reading a segment from front to back after a start: every checksum, and the decision where the log ends.
 *
 * The rule (segment.ts): a bad batch ends the log only when nothing was written behind it. "Behind" is read off the
 * bad batch's own head if that is whole, and otherwise found by looking for any valid head; heads are bound to their
 * place, so one that verifies was written there. Everything else is CorruptionError.
 *
 * Memory: one window of the file, whatever the size of segment or batch.
 */

import { crc32 } from "node:zlib";
import type { DiskFile } from "../host/disk.ts";
import type { Lsn } from "../vocabulary.ts";
import {
  batchMagic,
  decodeHead,
  decodeTable,
  headBytes,
  type Row,
  rowBytes,
} from "./entry-codec.ts";
import type { Segment } from "./segment.ts";

const windowBytes = 1 << 20;

/** What is told of each entry, in LSN order. */
export type Scanned = { readonly lsn: Lsn; readonly row: Row; readonly bodyOffset: number };

/**
 * Reads all batches into `segment` and tells each entry. Returns how many bytes at the end are a torn batch (0: none);
 * they are still there. `isLast`: no other segment follows, so the end may be torn.
 */
export async function scanSegment(
  segment: Segment,
  isLast: boolean,
  onEntry: (entry: Scanned) => void,
): Promise<number> {
  const window = new Window(segment.file, await segment.file.size());
  while (segment.bytes < window.size) {
    const offset = segment.bytes;
    const found = await readBatch(window, segment, offset);
    if (!found.ok) {
      const behind = found.end ?? (await findHead(window, segment, offset + 1));
      const isTorn = isLast && (behind === undefined || behind >= window.size);
      if (!isTorn) throw segment.damagedAt(offset, `${found.why}, and more was written behind it`);
      return window.size - offset;
    }
    const { firstLsn, rows, size } = found;
    if (firstLsn !== segment.nextLsn) {
      throw segment.damagedAt(offset, `entry ${segment.nextLsn} is expected, ${firstLsn} is there`);
    }
    let bodyOffset = offset + headBytes + rows.length * rowBytes;
    for (const [i, row] of rows.entries()) {
      onEntry({ lsn: (firstLsn + i) as Lsn, row, bodyOffset });
      bodyOffset += row.bodyBytes;
    }
    segment.adopt({ firstLsn, count: rows.length, offset, size });
  }
  return 0;
}

type Found =
  | {
      readonly ok: true;
      readonly firstLsn: Lsn;
      readonly rows: readonly Row[];
      readonly size: number;
    }
  /** `end`: where the batch would end, if its head is whole. */
  | { readonly ok: false; readonly why: string; readonly end: number | undefined };

async function readBatch(window: Window, segment: Segment, offset: number): Promise<Found> {
  const head = decodeHead(await window.bytes(offset, headBytes), { seed: segment.seed, offset });
  if (head === undefined) return { ok: false, why: "a batch has no valid head", end: undefined };
  const end = offset + headBytes + head.size;
  if (end > window.size) return { ok: false, why: "a batch is cut short", end };
  const table = await window.bytes(offset + headBytes, head.count * rowBytes);
  const rows = decodeTable(table, head);
  if (rows === undefined) return { ok: false, why: "the table of a batch fails its checksum", end };
  let at = offset + headBytes + head.count * rowBytes;
  for (const row of rows) {
    if ((await window.crcOf(at, row.bodyBytes)) !== row.bodyCrc) {
      return { ok: false, why: `the entry at offset ${at} fails its checksum`, end };
    }
    at += row.bodyBytes;
  }
  return { ok: true, firstLsn: head.firstLsn, rows, size: end - offset };
}

/** Offset of the first valid head at or after `from`. */
async function findHead(
  window: Window,
  { seed }: Segment,
  from: number,
): Promise<number | undefined> {
  for (let at = from; at + headBytes <= window.size; at += windowBytes - headBytes) {
    const bytes = await window.bytes(at, windowBytes);
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let hit = text.indexOf(batchMagic); hit >= 0; hit = text.indexOf(batchMagic, hit + 1)) {
      const offset = at + hit;
      if (decodeHead(bytes.subarray(hit, hit + headBytes), { seed, offset })) return offset;
    }
  }
  return undefined;
}

/** A file seen through one buffer, read in large pieces. Views are valid until the next call. */
class Window {
  readonly size: number;
  readonly #file: DiskFile;
  #from = 0;
  #bytes: Uint8Array = new Uint8Array(0);

  constructor(file: DiskFile, size: number) {
    this.#file = file;
    this.size = size;
  }

  /** Fewer than `length` only at the end of the file. */
  async bytes(offset: number, length: number): Promise<Uint8Array> {
    const wanted = Math.min(length, Math.max(0, this.size - offset));
    if (offset < this.#from || offset + wanted > this.#from + this.#bytes.byteLength) {
      const piece = Math.min(Math.max(wanted, windowBytes), this.size - offset);
      this.#bytes = await this.#file.read(offset, Math.max(0, piece));
      this.#from = offset;
    }
    return this.#bytes.subarray(offset - this.#from, offset - this.#from + wanted);
  }

  /** Checksum of a range of any length. */
  async crcOf(offset: number, length: number): Promise<number> {
    let crc = 0;
    for (let done = 0; done < length; done += windowBytes) {
      crc = crc32(await this.bytes(offset + done, Math.min(windowBytes, length - done)), crc);
    }
    return crc;
  }
}
