/**
 * `held.json`: a delayed node was rolled forward to an entry and stays there. Durable before the first entry is applied
 * for it, removed when the node goes back to its delay; so a restart in between changes nothing.
 */

import { CorruptionError, messageOf } from "../../base/errors.ts";
import type { Disk } from "../../host/disk.ts";
import type { EntryId, Lsn, Term } from "../../vocabulary.ts";

const pathIn = (dir: string) => `${dir}/held.json`;

export async function writeHold(disk: Disk, dir: string, { lsn, term }: EntryId): Promise<void> {
  const text = JSON.stringify({ format: 1, lsn, term });
  await disk.replaceFile(pathIn(dir), new TextEncoder().encode(text));
}

export async function readHold(disk: Disk, dir: string): Promise<EntryId | undefined> {
  const path = pathIn(dir);
  if (!(await disk.exists(path))) return undefined;
  return parse(await disk.readFile(path), path);
}

/** Harmless when there is none. */
export async function removeHold(disk: Disk, dir: string): Promise<void> {
  if (!(await disk.exists(pathIn(dir)))) return;
  await disk.remove(pathIn(dir));
  await disk.syncDirectory(dir);
}

function parse(bytes: Uint8Array, path: string): EntryId {
  let record: { format?: unknown; lsn?: unknown; term?: unknown };
  try {
    record = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) ?? {};
  } catch (cause) {
    throw new CorruptionError(`${path} is not JSON: ${messageOf(cause)}`, { cause });
  }
  const { format, lsn, term } = record;
  if (format !== 1 || !isCount(lsn) || !isCount(term)) {
    throw new CorruptionError(`${path} lacks its fields; remove it to go back to the delay`);
  }
  return { lsn: lsn as Lsn, term: term as Term };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
