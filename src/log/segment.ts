/**
 * One segment of the replication log: a file of consecutive entries, written once, front to back.
 *
 *   offset  size  field
 *        0     8  magic "SEGMENT\0"
 *        8     4  format version, now 1; a reader refuses versions it does not know
 *       12     4  crc32 of bytes 0..11 and 16..47
 *       16     8  number of the segment; files are named after it
 *       24     8  LSN of the first entry
 *       32     8  term of the entry before it
 *       40     8  chain of the entry before it
 *       48     …  batches (entry-codec.ts), one per `persist`, and seals
 *
 * The header is durable, name included, before the first batch is written, and a batch is durable before the next one
 * is. A seal is an empty batch: at close and after recovery it puts on record that all before it was durable.
 *
 * End of log. A batch of the last segment that is cut short or fails a checksum ends the log if nothing was written
 * behind it: the machine stopped while we wrote, and no one was told that these entries were durable [invariants I4].
 * If there is anything behind it, be it a batch, a seal, or another segment, then the bad one had been synced and the
 * disk has lost a promise: reading throws CorruptionError instead of guessing (segment-scan.ts).
 *
 * Not here: which segments exist, and when they may be deleted (log-store.ts).
 */

import { crc32 } from "node:zlib";
import { assert } from "../base/assert.ts";
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { CorruptionError, messageOf } from "../base/errors.ts";
import { formatHash, parseHash } from "../base/hash.ts";
import type { Disk, DiskFile } from "../host/disk.ts";
import type { Entry, Lsn, Term } from "../vocabulary.ts";
import { encodeHead, headBytes } from "./entry-codec.ts";

export const segmentHeaderBytes = 48;
export const remedy: string =
  "this node's log cannot be trusted: keep the data directory for inspection, start the node with an empty one and " +
  "let it copy from the others; a cluster of one restores its backup";

/** Which segment this is, and what it continues. */
export type SegmentStart = {
  readonly number: number;
  readonly firstLsn: Lsn;
  /** Of the entry before the first one. */
  readonly previousTerm: Term;
  readonly previousChain: string;
};

/** Where a batch of entries lies. Seals are not listed. */
export type Batch = {
  readonly firstLsn: Lsn;
  readonly count: number;
  readonly offset: number;
  /** Head, table and bodies. */
  readonly size: number;
};

const magic = new TextEncoder().encode("SEGMENT\0");
const version = 1;

export class Segment {
  readonly start: SegmentStart;
  readonly #file: DiskFile;
  /** Checksum of the header: ties the batches to this segment. */
  readonly #seed: number;
  /** Durable batches, ascending and without gaps from `start.firstLsn` on. */
  readonly #batches: Batch[] = [];
  /** Where the next batch goes; everything before it is durable. */
  #end = segmentHeaderBytes;
  /** The last thing in the file is a seal, or there is nothing to seal. */
  #sealed = true;

  private constructor(file: DiskFile, start: SegmentStart, seed: number) {
    this.#file = file;
    this.start = start;
    this.#seed = seed;
  }

  /** A new segment without entries. Its header is durable when this resolves; its name is not. */
  static async create(disk: Disk, path: string, start: SegmentStart): Promise<Segment> {
    const header = encodeHeader(start);
    const file = await disk.open(path, "create");
    await file.write(0, [header]);
    await file.syncData();
    return new Segment(file, start, seedOf(header));
  }

  /** Opens a file and reads its header, nothing more. Undefined when there is no whole header and nothing after it. */
  static async open(disk: Disk, path: string): Promise<Segment | undefined> {
    const file = await disk.open(path, "open");
    try {
      const header = await file.read(0, segmentHeaderBytes);
      const start = decodeHeader(header);
      if (typeof start !== "string") return new Segment(file, start, seedOf(header));
      if ((await file.size()) > segmentHeaderBytes) {
        throw new CorruptionError(`${path}: ${start}, and entries follow; ${remedy}`);
      }
    } catch (error) {
      await file.close();
      throw error;
    }
    await file.close();
    return undefined;
  }

  get path(): string {
    return this.#file.path;
  }

  get file(): DiskFile {
    return this.#file;
  }

  get seed(): number {
    return this.#seed;
  }

  get batches(): readonly Batch[] {
    return this.#batches;
  }

  /** Bytes of the file that count. */
  get bytes(): number {
    return this.#end;
  }

  /** LSN that the next entry in this file has. */
  get nextLsn(): Lsn {
    const last = this.#batches.at(-1);
    return last === undefined ? this.start.firstLsn : ((last.firstLsn + last.count) as Lsn);
  }

  /** Appends the entries as one batch: one write, one sync. Keeps no reference to them. */
  async append(entries: readonly Entry[]): Promise<void> {
    assert(entries.length > 0, "a batch has entries");
    assert(entries[0]!.lsn === this.nextLsn, "entries of a segment have no gaps");
    const offset = this.#end;
    const head = encodeHead(this.nextLsn, entries, { seed: this.#seed, offset });
    const parts = [head, ...entries.map((entry) => entry.body)];
    const size = parts.reduce((sum, part) => sum + part.byteLength, 0);
    await this.#file.write(offset, parts);
    await this.#file.syncData();
    this.adopt({ firstLsn: this.nextLsn, count: entries.length, offset, size });
  }

  /** Puts on record that everything so far is durable. Nothing when that is on record already. */
  async seal(): Promise<void> {
    if (this.#sealed) return;
    const offset = this.#end;
    await this.#file.write(offset, [encodeHead(this.nextLsn, [], { seed: this.#seed, offset })]);
    await this.#file.syncData();
    this.adopt({ firstLsn: this.nextLsn, count: 0, offset, size: headBytes });
  }

  /** Takes note of a batch or seal that was read or written at the end. */
  adopt(batch: Batch): void {
    assert(batch.offset === this.#end && batch.firstLsn === this.nextLsn, "batches adjoin");
    this.#end += batch.size;
    this.#sealed = batch.count === 0;
    if (batch.count > 0) this.#batches.push(batch);
  }

  /**
   * After a start: makes what was read durable, for it may be in the kernel's cache only, left there by a sync that
   * failed before the process died; the kernel would not say so again [sqlite-facts 5]. Only the last batch or seal can
   * be in doubt, and writing the same bytes over it makes the kernel write them.
   */
  async secureTail(): Promise<void> {
    // A seal proves that the batch before it is durable; of itself it proves nothing.
    const from = this.#sealed ? this.#end - headBytes : this.#batches.at(-1)!.offset;
    if (this.#sealed && this.#end === segmentHeaderBytes) return;
    const pieceBytes = 1 << 20;
    for (let at = from; at < this.#end; at += pieceBytes) {
      const piece = await this.#file.read(at, Math.min(pieceBytes, this.#end - at));
      await this.#file.write(at, [piece]);
    }
    await this.#file.syncData();
    // A sync of its own: a seal that outlived the batch before it would call that batch damaged.
    await this.seal();
  }

  /** Cuts everything behind the last good batch. Durable when it resolves. */
  async cutTail(): Promise<void> {
    await this.#file.truncate(this.#end);
    await this.#file.syncData();
  }

  /** The batch that holds `lsn`. Undefined when this segment does not. */
  batchOf(lsn: Lsn): Batch | undefined {
    let from = 0;
    let to = this.#batches.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const { firstLsn, count } = this.#batches[middle]!;
      if (lsn >= firstLsn + count) from = middle + 1;
      else to = middle;
    }
    const found = this.#batches[from];
    return found !== undefined && lsn >= found.firstLsn ? found : undefined;
  }

  /** Bytes of the batches behind `lsn`; of the batch that `lsn` lies in, the share that comes after it. */
  bytesAfter(lsn: Lsn): number {
    if (lsn < this.start.firstLsn) return this.#end - segmentHeaderBytes;
    const batch = this.batchOf(lsn);
    if (batch === undefined) return 0;
    const behind = batch.firstLsn + batch.count - 1 - lsn;
    return this.#end - batch.offset - batch.size + (batch.size * behind) / batch.count;
  }

  /** Names file and offset, and what to do. */
  damagedAt(offset: number, why: string): CorruptionError {
    return new CorruptionError(`${this.path} at offset ${offset}: ${why}; ${remedy}`);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

function encodeHeader(start: SegmentStart): Uint8Array {
  const chain = parseHash(start.previousChain);
  const bytes = new ByteWriter(segmentHeaderBytes)
    .bytes(magic)
    .u32(version)
    .u32(0)
    .u64(start.number)
    .u64(start.firstLsn)
    .u64(start.previousTerm)
    .u32(chain.high)
    .u32(chain.low)
    .finish();
  assert(bytes.byteLength === segmentHeaderBytes, "segment header has a wrong size");
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(12, checksum(bytes));
  return bytes;
}

/** The header, or what is wrong with it. */
function decodeHeader(bytes: Uint8Array): SegmentStart | string {
  if (bytes.byteLength < segmentHeaderBytes) return `the header ends at offset ${bytes.byteLength}`;
  if (!magic.every((byte, i) => byte === bytes[i])) return "no segment at offset 0";
  const reader = new ByteReader(bytes.subarray(magic.byteLength));
  const found = reader.u32();
  if (reader.u32() !== checksum(bytes)) return "the header's checksum at offset 12 disagrees";
  if (found !== version) return `version ${found} at offset 8, this program knows ${version}`;
  try {
    const number = reader.u64();
    const firstLsn = reader.u64() as Lsn;
    const previousTerm = reader.u64() as Term;
    const previousChain = formatHash({ high: reader.u32(), low: reader.u32() });
    return { number, firstLsn, previousTerm, previousChain };
  } catch (error) {
    return `a field of the header: ${messageOf(error)}`;
  }
}

function seedOf(header: Uint8Array): number {
  return new DataView(header.buffer, header.byteOffset).getUint32(12);
}

function checksum(bytes: Uint8Array): number {
  return crc32(bytes.subarray(16, segmentHeaderBytes), crc32(bytes.subarray(0, 12)));
}
