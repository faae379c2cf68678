/**
 * `rewind.json`: the database holds entries that the log is about to let go of. Written, durable, before the log does;
 * removed when page sync has brought the database back to what the log says. A start that finds it knows why the
 * database is ahead of the log, and that it needs pages.
 */

import { CorruptionError, messageOf } from "../../base/errors.ts";
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
  const path = pathIn(dir);
  if (!(await disk.exists(path))) return undefined;
  return parse(await disk.readFile(path), path);
}

/** Harmless when there is none. */
export async function removeRewindRecord(disk: Disk, dir: string): Promise<void> {
  if (!(await disk.exists(pathIn(dir)))) return;
  await disk.remove(pathIn(dir));
  await disk.syncDirectory(dir);
}

function parse(bytes: Uint8Array, path: string): RewindRecord {
  let record: Partial<Record<keyof RewindRecord, unknown>>;
  try {
    record = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) ?? {};
  } catch (cause) {
    throw new CorruptionError(`${path} is not JSON: ${messageOf(cause)}`, { cause });
  }
  const { format, from, why } = record;
  if (format !== 1 || !Number.isSafeInteger(from) || (from as Lsn) < 1 || typeof why !== "string") {
    throw new CorruptionError(
      `${path} lacks its fields; move the data directory aside and join anew`,
    );
  }
  return { format, from: from as Lsn, why };
}
