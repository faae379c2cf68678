/**
 * `install.json`: the plan of a page sync that is about to take effect. Written, durable, before the database changes;
 * removed after the log agrees. What a start finds tells it how far the last run came:
 *
 *   no record                          nothing was under way
 *   record, database at its checksum   the database was installed: finish by resetting the log
 *   record, database elsewhere         it was not: forget the plan, page sync will start again
 *
 *   format      2; one of another format is not read
 *   clusterId   empty when it was not known
 *   lsn, term, chain, members, settings   the snapshot that the log is to start from; members as in a membership
 *               entry, in base64
 *   position    of the database, { lsn, term }
 *   checksum    of the database, 16 hex digits
 *
 * The file is replaced as a whole; one that cannot be read has rotted. Then nobody knows whether the database is the
 * old one or the new, and the node does not start.
 */

import { CorruptionError, messageOf, ProtocolError } from "../../base/errors.ts";
import type { Disk } from "../../host/disk.ts";
import { decodeMembership, encodeMembership } from "../../raft/membership.ts";
import { settingsFrom } from "../../raft/rule/settings.ts";
import {
  defaultSettings,
  type EntryId,
  type Lsn,
  type SnapshotId,
  type Term,
} from "../../vocabulary.ts";

export type InstallRecord = {
  readonly clusterId: string;
  readonly snapshot: SnapshotId;
  readonly position: EntryId;
  /** Of the database, 16 hex digits. */
  readonly checksum: string;
};

const format = 2;
const hashPattern = /^[0-9a-f]{16}$/;
const pathIn = (dir: string) => `${dir}/install.json`;

export async function writeInstallRecord(
  disk: Disk,
  dir: string,
  { clusterId, snapshot, position, checksum }: InstallRecord,
): Promise<void> {
  const { lsn, term, chain, membership, settings } = snapshot;
  const members = Buffer.from(encodeMembership(membership)).toString("base64");
  const text = JSON.stringify({
    ...{ format, clusterId, lsn, term, chain, members, settings, checksum },
    position: { lsn: position.lsn, term: position.term },
  });
  await disk.replaceFile(pathIn(dir), new TextEncoder().encode(text));
}

/** Undefined when there is none. Throws CorruptionError. */
export async function readInstallRecord(
  disk: Disk,
  dir: string,
): Promise<InstallRecord | undefined> {
  const path = pathIn(dir);
  if (!(await disk.exists(path))) return undefined;
  const bytes = await disk.readFile(path);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return recordFrom(JSON.parse(text) ?? {});
  } catch (cause) {
    throw new CorruptionError(
      `${path}: ${messageOf(cause)}; move the data directory aside and join anew`,
      { cause },
    );
  }
}

export async function removeInstallRecord(disk: Disk, dir: string): Promise<void> {
  await disk.remove(pathIn(dir));
  await disk.syncDirectory(dir);
}

function recordFrom(fields: Record<string, unknown>): InstallRecord {
  if (fields["format"] !== format) {
    throw new ProtocolError(`format ${fields["format"]}, this program knows ${format}`);
  }
  const position = (fields["position"] ?? {}) as Record<string, unknown>;
  const members = Buffer.from(textFrom(fields["members"], /^[A-Za-z0-9+/]*=*$/), "base64");
  const chain = textFrom(fields["chain"], hashPattern);
  const settings = settingsFrom(fields["settings"], defaultSettings);
  return {
    clusterId: textFrom(fields["clusterId"], /^/),
    snapshot: { ...idFrom(fields), chain, membership: decodeMembership(members), settings },
    position: idFrom(position),
    checksum: textFrom(fields["checksum"], hashPattern),
  };
}

function idFrom({ lsn, term }: Record<string, unknown>): EntryId {
  if (!Number.isSafeInteger(lsn) || !Number.isSafeInteger(term)) {
    throw new ProtocolError("lsn and term are not whole numbers");
  }
  return { lsn: lsn as Lsn, term: term as Term };
}

function textFrom(value: unknown, pattern: RegExp): string {
  if (typeof value === "string" && pattern.test(value)) return value;
  throw new ProtocolError("a text is missing or malformed");
}
