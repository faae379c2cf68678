/**
 * `checksum.json`: the checksum that the database has at its position, for as long as the log does not say it.
 *
 * The log records a checksum with every change, so a start can tell whether the database has rotted. Two things take
 * that record away: a page sync, after which the log begins behind the position, and retention, when nothing was
 * written after the entries that it drops. Both write it down here before.
 */

import { CorruptionError } from "../../base/errors.ts";
import { formatHash, type Hash64, parseHash } from "../../base/hash.ts";
import type { Disk } from "../../host/disk.ts";
import type { EntryId } from "../../vocabulary.ts";

type Record1 = { readonly format: 1; readonly position: EntryId; readonly checksum: string };

const pathIn = (dir: string) => `${dir}/checksum.json`;

/** Durable when it resolves. */
export async function writeKnownChecksum(
  disk: Disk,
  dir: string,
  position: EntryId,
  checksum: Hash64,
): Promise<void> {
  const { lsn, term } = position;
  const record: Record1 = {
    format: 1,
    position: { lsn, term },
    checksum: formatHash(checksum),
  };
  await disk.replaceFile(pathIn(dir), new TextEncoder().encode(JSON.stringify(record)));
}

/** The checksum of the database at `position`, if that is what was written down. */
export async function readKnownChecksum(
  disk: Disk,
  dir: string,
  position: EntryId,
): Promise<Hash64 | undefined> {
  const path = pathIn(dir);
  if (!(await disk.exists(path))) return undefined;
  const record = parse(new TextDecoder().decode(await disk.readFile(path)), path);
  const isIt = record.position.lsn === position.lsn && record.position.term === position.term;
  return isIt ? parseHash(record.checksum) : undefined;
}

function parse(text: string, path: string): Record1 {
  try {
    const record = JSON.parse(text) as Partial<Record1>;
    const isWhole =
      typeof record.position?.lsn === "number" && /^[0-9a-f]{16}$/.test(record.checksum ?? "");
    if (record.format === 1 && isWhole) return record as Record1;
  } catch {
    // Said below.
  }
  throw new CorruptionError(
    `${path} is not what was written; remove it, the database is checked anew`,
  );
}
