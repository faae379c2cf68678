/**
 * `install.json`: the plan of a page sync that is about to take effect. Written, durable, before the database changes;
 * removed after the log agrees. What a start finds tells it how far the last run came:
 *
 *   no record                          nothing was under way
 *   record, database at its checksum   the database was installed: finish by resetting the log
 *   record, database elsewhere         it was not: forget the plan, page sync will start again
 */

import { CorruptionError } from "../../base/errors.ts";
import type { Disk } from "../../host/disk.ts";
import type { EntryId, SnapshotId } from "../../vocabulary.ts";

export type InstallRecord = {
  readonly format: 1;
  readonly clusterId: string;
  readonly snapshot: SnapshotId;
  readonly position: EntryId;
  /** Of the database, 16 hex digits. */
  readonly checksum: string;
};

const pathIn = (dir: string) => `${dir}/install.json`;

export async function writeInstallRecord(
  disk: Disk,
  dir: string,
  record: InstallRecord,
): Promise<void> {
  await disk.replaceFile(pathIn(dir), new TextEncoder().encode(JSON.stringify(record)));
}

export async function readInstallRecord(
  disk: Disk,
  dir: string,
): Promise<InstallRecord | undefined> {
  if (!(await disk.exists(pathIn(dir)))) return undefined;
  const text = new TextDecoder().decode(await disk.readFile(pathIn(dir)));
  const record = JSON.parse(text) as InstallRecord;
  if (record.format !== 1) throw new CorruptionError(`${pathIn(dir)} has format ${record.format}`);
  return record;
}

export async function removeInstallRecord(disk: Disk, dir: string): Promise<void> {
  await disk.remove(pathIn(dir));
  await disk.syncDirectory(dir);
}
