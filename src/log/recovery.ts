/**
 * Opening a log: from the files a crash may have left to a log that can be written to.
 *
 *   1. no base record: the log was never made, or its making was cut; make it
 *   2. make the names durable that we are about to believe, then remove leftovers (temp file, dropped segments)
 *   3. read all segments; only in the last one may the end be torn, and a last one without entries goes
 *   4. make durable what we have read but may never have been synced
 *
 * Everything here can be cut at any point and done again.
 */

import { CorruptionError, messageOf, ProtocolError } from "../base/errors.ts";
import type { Disk } from "../host/disk.ts";
import { decodeMembership } from "../raft/membership.ts";
import { decodeSettings } from "../raft/rule/settings.ts";
import type { Lsn, SnapshotId } from "../vocabulary.ts";
import { decodeBase, encodeBase } from "./base-record.ts";
import { HardStateFile } from "./hard-state.ts";
import { LogIndex } from "./log-index.ts";
import { remedy, Segment } from "./segment.ts";
import { type Scanned, scanSegment } from "./segment-scan.ts";

export type Recovered = {
  readonly hardState: HardStateFile;
  readonly index: LogIndex;
  readonly segments: Segment[];
  readonly nextNumber: number;
};

type Opening = {
  /** What a new log starts from. */
  readonly initial: SnapshotId;
  readonly onRecovered: (line: string) => void;
};

type Opened = Opening & { readonly opened: { close(): Promise<void> }[] };

const segmentName = /^(\d{12})\.segment$/;

export function basePath(dir: string): string {
  return `${dir}/base`;
}

export function segmentPath(dir: string, number: number): string {
  return `${dir}/${String(number).padStart(12, "0")}.segment`;
}

/** Opens or makes the log in `dir`. Errors as LogStore.open. */
export async function recover(disk: Disk, dir: string, opening: Opening): Promise<Recovered> {
  const opened: { close(): Promise<void> }[] = [];
  try {
    return await open(disk, dir, { ...opening, opened });
  } catch (error) {
    for (const file of opened) await file.close();
    throw error;
  }
}

async function open(disk: Disk, dir: string, opening: Opened): Promise<Recovered> {
  await disk.makeDirectory(dir);
  const names = await disk.list(dir);
  if (!names.includes("base")) await create(disk, dir, { names, initial: opening.initial });
  const path = basePath(dir);
  const base = decodeBase(await disk.readFile(path), path);
  // Before anything is removed: if the base record's rename were undone by a power cut and a removal were not, the
  // old base would miss its segments.
  await disk.syncDirectory(dir);
  if (names.includes("base.tmp")) await disk.remove(`${path}.tmp`);
  const numbers = segmentNumbers(names);
  for (const number of numbers.filter((n) => n < base.firstSegment)) {
    await disk.remove(segmentPath(dir, number));
    opening.onRecovered(`removed ${segmentPath(dir, number)}: dropped before the last stop`);
  }
  if (!(await disk.exists(`${dir}/hard-state`))) {
    throw new CorruptionError(`${dir}/hard-state is missing, with it term and vote; ${remedy}`);
  }
  const hardState = await HardStateFile.open(disk, `${dir}/hard-state`);
  opening.opened.push(hardState);
  const index = new LogIndex(base.snapshot);
  const live = numbers.filter((n) => n >= base.firstSegment);
  const last = live.at(-1);
  const segments: Segment[] = [];
  for (const [i, number] of live.entries()) {
    const expected = base.firstSegment + i;
    if (number !== expected) {
      throw new CorruptionError(`${segmentPath(dir, expected)} is missing; ${remedy}`);
    }
    const segment = await openSegment(disk, segmentPath(dir, number), { number, last });
    if (segment === undefined) break;
    opening.opened.push(segment);
    await readSegment(segment, index, { isFirst: i === 0, isLast: number === last, ...opening });
    if (segment.batches.length === 0 && number === last) await segment.close();
    else segments.push(segment);
  }
  if (last !== undefined && segments.at(-1)?.start.number !== last) {
    opening.onRecovered(`removed ${segmentPath(dir, last)}: it holds no entries`);
    await disk.remove(segmentPath(dir, last));
    // Its number is used again, and then the old file must not come back under it.
    await disk.syncDirectory(dir);
  }
  await segments.at(-1)?.secureTail();
  const nextNumber = (segments.at(-1)?.start.number ?? base.firstSegment - 1) + 1;
  return { hardState, index, segments, nextNumber };
}

/** The base record comes last: while there is none, there is no log. */
async function create(
  disk: Disk,
  dir: string,
  { names, initial }: { names: readonly string[]; initial: SnapshotId },
): Promise<void> {
  const path = `${dir}/hard-state`;
  const isUsed = names.includes("hard-state") && (await HardStateFile.isUsed(disk, path));
  if (isUsed || segmentNumbers(names).length > 0) {
    throw new CorruptionError(`${basePath(dir)} is missing, but the log is not new; ${remedy}`);
  }
  const hardState = await HardStateFile.create(disk, path);
  await hardState.close();
  await disk.syncDirectory(dir);
  await disk.replaceFile(basePath(dir), encodeBase({ snapshot: initial, firstSegment: 1 }));
}

function segmentNumbers(names: readonly string[]): number[] {
  return names.flatMap((name) => segmentName.exec(name)?.[1] ?? []).map(Number);
}

/** Undefined for a last segment whose header was never finished. */
async function openSegment(
  disk: Disk,
  path: string,
  { number, last }: { number: number; last: number | undefined },
): Promise<Segment | undefined> {
  const segment = await Segment.open(disk, path);
  if (segment === undefined && number !== last) {
    throw new CorruptionError(`${path} at offset 0: no header, and segments follow; ${remedy}`);
  }
  if (segment !== undefined && segment.start.number !== number) {
    await segment.close();
    throw segment.damagedAt(16, `it says it is segment ${segment.start.number}`);
  }
  return segment;
}

/** Reads all entries into `index`, and cuts a torn tail unless it is all there is. */
async function readSegment(
  segment: Segment,
  index: LogIndex,
  how: { isFirst: boolean; isLast: boolean; onRecovered: (line: string) => void },
): Promise<void> {
  const kept: Scanned[] = [];
  const tornBytes = await scanSegment(segment, how.isLast, (entry) => {
    if (entry.lsn === segment.start.firstLsn) attach(segment, index, how.isFirst);
    if (entry.row.term < index.last.term) {
      throw segment.damagedAt(entry.bodyOffset, `the term of entry ${entry.lsn} falls`);
    }
    index.append({ lsn: entry.lsn, term: entry.row.term }, entry.row.chain);
    if (entry.row.kind === "membership" || entry.row.kind === "settings") kept.push(entry);
  });
  if (tornBytes > 0 && segment.batches.length > 0) {
    const { path, bytes } = segment;
    how.onRecovered(`${path}: cut ${tornBytes} bytes at offset ${bytes}, never acknowledged`);
    await segment.cutTail();
  }
  for (const { lsn, row, bodyOffset } of kept) {
    const body = await segment.file.read(bodyOffset, row.bodyBytes);
    try {
      if (row.kind === "membership") index.addMembership(lsn, decodeMembership(body));
      else index.addSettings(lsn, decodeSettings(body));
    } catch (cause) {
      if (!(cause instanceof ProtocolError)) throw cause;
      throw segment.damagedAt(bodyOffset, `${row.kind} does not decode: ${messageOf(cause)}`);
    }
  }
}

/** Joins a segment that has entries to what is before it, and replaces what it replaces. */
function attach(segment: Segment, index: LogIndex, isFirst: boolean): void {
  const { firstLsn, previousTerm, previousChain } = segment.start;
  const before = (firstLsn - 1) as Lsn;
  const follows = before === index.last.lsn;
  const fits = follows ? previousChain === index.lastChain : !isFirst;
  if (index.termAt(before) !== previousTerm || !fits) {
    throw segment.damagedAt(24, `it continues ${before}@${previousTerm}, which is not before it`);
  }
  if (!follows) index.truncate(firstLsn, previousChain);
}
