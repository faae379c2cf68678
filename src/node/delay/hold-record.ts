/**
 * `held.json`: a delayed node was rolled forward to an entry and stays there. Durable before the first entry is applied
 * for it, removed when the node goes back to its delay; so a restart in between changes nothing.
 */

import type { Disk } from "../../host/disk.ts";
import { RecordFile } from "../../host/record-file.ts";
import type { EntryId, Lsn, Term } from "../../vocabulary.ts";

type Record1 = { readonly format: 1 } & EntryId;

const file = new RecordFile<Record1>("held.json", decode, "remove it to go back to the delay");

export function writeHold(disk: Disk, dir: string, { lsn, term }: EntryId): Promise<void> {
  return file.write(disk, dir, { format: 1, lsn, term });
}

export async function readHold(disk: Disk, dir: string): Promise<EntryId | undefined> {
  const record = await file.read(disk, dir);
  return record && { lsn: record.lsn, term: record.term };
}

/** Harmless when there is none. */
export function removeHold(disk: Disk, dir: string): Promise<void> {
  return file.remove(disk, dir);
}

function decode({ format, lsn, term }: { [K in keyof Record1]?: unknown }): Record1 | undefined {
  if (format !== 1 || !isCount(lsn) || !isCount(term)) return undefined;
  return { format, lsn: lsn as Lsn, term: term as Term };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
