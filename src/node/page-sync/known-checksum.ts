/**
 * `checksum.json`: the checksum that the database has at its position, for as long as the log does not say it.
 *
 * The log records a checksum with every change, so a start can tell whether the database has rotted. Two things take
 * that record away: a page sync, after which the log begins behind the position, and retention, when nothing was
 * written after the entries that it drops. Both write it down here before.
 */

import { formatHash, type Hash64, parseHash } from "../../base/hash.ts";
import type { Disk } from "../../host/disk.ts";
import { RecordFile } from "../../host/record-file.ts";
import type { EntryId } from "../../vocabulary.ts";

type Record1 = { readonly format: 1; readonly position: EntryId; readonly checksum: string };

const file = new RecordFile<Record1>(
  "checksum.json",
  (fields) => {
    const { format, position, checksum } = fields as Partial<Record1>;
    const isWhole = typeof position?.lsn === "number" && /^[0-9a-f]{16}$/.test(checksum ?? "");
    return format === 1 && isWhole ? (fields as Record1) : undefined;
  },
  "remove it, the database is checked anew",
);

/** Durable when it resolves. */
export function writeKnownChecksum(
  disk: Disk,
  dir: string,
  { lsn, term }: EntryId,
  checksum: Hash64,
): Promise<void> {
  const position = { lsn, term };
  return file.write(disk, dir, { format: 1, position, checksum: formatHash(checksum) });
}

/** The checksum of the database at `position`, if that is what was written down. */
export async function readKnownChecksum(
  disk: Disk,
  dir: string,
  { lsn, term }: EntryId,
): Promise<Hash64 | undefined> {
  const record = await file.read(disk, dir);
  const isIt = record?.position.lsn === lsn && record.position.term === term;
  return isIt ? parseHash(record.checksum) : undefined;
}
