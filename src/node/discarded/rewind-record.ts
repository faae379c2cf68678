/**
 * `rewind.json`: the database holds entries that the log is about to let go of. Written, durable, before the log does;
 * removed when page sync has brought the database back to what the log says. A start that finds it knows why the
 * database is ahead of the log, and that it needs pages.
 */

import { CorruptionError } from "../../base/errors.ts";
import type { Disk } from "../../host/disk.ts";
import type { Lsn } from "../../vocabulary.ts";

export type RewindRecord = {
  readonly format: 1;
  /** The first entry that gave way; the database is at or behind it. */
  readonly from: Lsn;
  readonly why: string;
};

const pathIn = (dir: string) => `${dir}/rewind.json`;

export async function writeRewindRecord(
  disk: Disk,
  dir: string,
  record: RewindRecord,
): Promise<void> {
  await disk.replaceFile(pathIn(dir), new TextEncoder().encode(JSON.stringify(record)));
}

export async function readRewindRecord(disk: Disk, dir: string): Promise<RewindRecord | undefined> {
  if (!(await disk.exists(pathIn(dir)))) return undefined;
  const text = new TextDecoder().decode(await disk.readFile(pathIn(dir)));
  const record = JSON.parse(text) as RewindRecord;
  if (record.format !== 1) throw new CorruptionError(`${pathIn(dir)} has format ${record.format}`);
  return record;
}

/** Harmless when there is none. */
export async function removeRewindRecord(disk: Disk, dir: string): Promise<void> {
  if (!(await disk.exists(pathIn(dir)))) return;
  await disk.remove(pathIn(dir));
  await disk.syncDirectory(dir);
}
