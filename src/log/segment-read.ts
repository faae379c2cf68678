/**
 * Reading entries back from a segment that is in use: for followers that are behind and for applying after a start.
 * Every byte is checked again; what fails now had been synced, so it is CorruptionError and never a torn tail.
 *
 * Neighbouring small batches are read in one go; of a batch larger than asked for, only the bodies that are wanted.
 */

import { crc32Of, largeBodyBytes, summed } from "../base/body-sums.ts";
import type { Entry, Lsn } from "../vocabulary.ts";
import { decodeHead, decodeTable, headBytes, type Row, rowBytes } from "./entry-codec.ts";
import type { Batch, Segment } from "./segment.ts";

/** Half-open range of entries, and a bound on their bodies. The first entry comes whatever its size. */
export type Wanted = { readonly from: Lsn; readonly to: Lsn; readonly bytesMax: number };

/**
 * Entries from `wanted.from` on, at least one, not beyond this segment. The bodies are views of one buffer.
 * The segment must hold `wanted.from`.
 */
export async function readEntries(segment: Segment, wanted: Wanted): Promise<Entry[]> {
  const first = segment.batchOf(wanted.from);
  if (first === undefined) return [];
  if (first.size > wanted.bytesMax) return readPart(segment, first, wanted);
  const run: Batch[] = [];
  let size = 0;
  for (let batch: Batch | undefined = first; batch !== undefined; ) {
    run.push(batch);
    // Seals may lie in between.
    size = batch.offset + batch.size - first.offset;
    batch = segment.batchOf((batch.firstLsn + batch.count) as Lsn);
    if (batch === undefined || batch.firstLsn >= wanted.to) break;
    if (size + batch.size > wanted.bytesMax) break;
  }
  const bytes = await segment.file.read(first.offset, size);
  const entries: Entry[] = [];
  for (const batch of run) {
    const from = batch.offset - first.offset;
    const rows = rowsOf(segment, batch, bytes.subarray(from));
    let at = from + headBytes + rows.length * rowBytes;
    for (const [i, row] of rows.entries()) {
      const lsn = (batch.firstLsn + i) as Lsn;
      if (lsn >= wanted.from && lsn < wanted.to) {
        const body = bytes.subarray(at, at + row.bodyBytes);
        entries.push(await entryOf(segment, { lsn, row, body, offset: first.offset + at }));
      }
      at += row.bodyBytes;
    }
  }
  return entries;
}

/** Table row of one entry that the segment holds. */
export async function readRow(segment: Segment, lsn: Lsn): Promise<Row | undefined> {
  const batch = segment.batchOf(lsn);
  return batch && (await readRows(segment, batch))[lsn - batch.firstLsn];
}

async function readPart(segment: Segment, batch: Batch, wanted: Wanted): Promise<Entry[]> {
  const rows = await readRows(segment, batch);
  const firstRow = wanted.from - batch.firstLsn;
  let start = batch.offset + headBytes + rows.length * rowBytes;
  for (const row of rows.slice(0, firstRow)) start += row.bodyBytes;
  const chosen: Row[] = [];
  let size = 0;
  for (const row of rows.slice(firstRow, wanted.to - batch.firstLsn)) {
    if (chosen.length > 0 && size + row.bodyBytes > wanted.bytesMax) break;
    chosen.push(row);
    size += row.bodyBytes;
  }
  const bytes = await segment.file.read(start, size);
  const entries: Entry[] = [];
  let at = 0;
  for (const [i, row] of chosen.entries()) {
    const lsn = (wanted.from + i) as Lsn;
    const body = bytes.subarray(at, at + row.bodyBytes);
    entries.push(await entryOf(segment, { lsn, row, body, offset: start + at }));
    at += row.bodyBytes;
  }
  return entries;
}

async function readRows(segment: Segment, batch: Batch): Promise<readonly Row[]> {
  const bytes = await segment.file.read(batch.offset, headBytes + batch.count * rowBytes);
  return rowsOf(segment, batch, bytes);
}

/** `bytes` begin with the batch. */
function rowsOf(segment: Segment, { offset, count }: Batch, bytes: Uint8Array): readonly Row[] {
  const head = decodeHead(bytes, { seed: segment.seed, offset });
  if (head !== undefined && head.count === count) {
    const rows = decodeTable(bytes.subarray(headBytes, headBytes + count * rowBytes), head);
    if (rows !== undefined) return rows;
  }
  throw segment.damagedAt(offset, "a batch has changed since it was written");
}

async function entryOf(
  segment: Segment,
  read: { lsn: Lsn; row: Row; body: Uint8Array; offset: number },
): Promise<Entry> {
  const { lsn, row, body } = read;
  if (body.byteLength >= largeBodyBytes) await summed(body);
  if (body.byteLength !== row.bodyBytes || crc32Of(body) !== row.bodyCrc) {
    throw segment.damagedAt(read.offset, `entry ${lsn} has changed since it was written`);
  }
  return { lsn, term: row.term, kind: row.kind, chain: row.chain, body };
}
