/**
 * A backup: one file that any SQLite opens, and that says itself what it is.
 *
 *   the pages of the database, exactly as a node had them at one LSN
 *   one or more pages of trailer that SQLite never looks at, because they lie behind the end its header names:
 *     spaces, then the label as JSON, then
 *     offset from the end  size  field
 *                     -20     8  the letters "PACELINE"
 *                     -12     4  trailer version, now 1
 *                      -8     4  length of the JSON, bytes
 *                      -4     4  crc32 of the JSON
 *
 * The label names the checksum of all pages: the same XOR of page hashes that nodes compare. So a file that was cut
 * short, grew, was written to or has rotted is found before anything is made of it.
 */

import type { FileHandle } from "node:fs/promises";
import { open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { CorruptionError, messageOf } from "../base/errors.ts";
import { formatHash, type Hash64, pageHash, xorHash, zeroHash } from "../base/hash.ts";
import { limits } from "../limits.ts";
import { lsn, type Membership, pgno, type Settings, type SnapshotId, term } from "../vocabulary.ts";
import { isPageSize, lockPage } from "../wal/page-size.ts";

/** What a backup says about itself. */
export type BackupLabel = {
  readonly format: 1;
  readonly clusterId: string;
  /** Wall clock of the machine that took it, ISO 8601. */
  readonly takenAt: string;
  /** The node it was taken from, `host:port`. */
  readonly takenFrom: string;
  /** The image is that of this entry. `chain` is the hash chain of the log up to it. */
  readonly lsn: number;
  readonly term: number;
  readonly chain: string;
  readonly pageSize: number;
  readonly pageCount: number;
  /** XOR of the hashes of all pages, 16 hex digits. */
  readonly checksum: string;
  /** The cluster as it was. For people: a restored cluster begins with one member. */
  readonly membership: Membership;
  /**
   * What the cluster had agreed on, in the words of raft/rule/settings.ts. Missing in older backups. A newer program
   * may have written words that this one does not know, so it is read by carried-settings.ts only.
   */
  readonly settings?: { readonly [K in keyof Settings]?: unknown } | undefined;
};

const magic = "PACELINE";
const footBytes = 20;
const trailerVersion = 1;
/** A label of a thousand members is far below this. */
const labelBytesMax = 1024 * 1024;

/** Whole pages to be written behind the last page of the database. */
export function encodeTrailer(label: BackupLabel): Uint8Array {
  const json = Buffer.from(JSON.stringify(label));
  const bytes = json.byteLength + footBytes;
  const trailer = Buffer.alloc(Math.ceil(bytes / label.pageSize) * label.pageSize, " ");
  const at = trailer.byteLength - footBytes;
  json.copy(trailer, at - json.byteLength);
  trailer.write(magic, at, "latin1");
  trailer.writeUInt32BE(trailerVersion, at + 8);
  trailer.writeUInt32BE(json.byteLength, at + 12);
  trailer.writeUInt32BE(crc32(json), at + 16);
  return trailer;
}

/**
 * The label of an open file, and whether the file's length is the one it must have. Throws CorruptionError when the
 * file has no label that can be trusted.
 */
export async function readLabel(handle: FileHandle, path: string): Promise<BackupLabel> {
  const { size } = await handle.stat();
  const tail = Buffer.alloc(Math.min(size, labelBytesMax));
  await handle.read(tail, 0, tail.byteLength, size - tail.byteLength);
  const label = decodeTail(tail, path);
  const bytes = label.pageSize * label.pageCount + encodeTrailer(label).byteLength;
  if (bytes !== size) {
    throw new CorruptionError(`${path} has ${size} bytes, its label says ${bytes}`);
  }
  return label;
}

/** What a file says about itself, as `readLabel`. */
export async function labelOf(path: string): Promise<BackupLabel> {
  const handle = await open(path, "r");
  try {
    return await readLabel(handle, path);
  } finally {
    await handle.close();
  }
}

/** Reads a label from the last bytes of a file. Throws CorruptionError. */
export function decodeTail(tail: Uint8Array, path: string): BackupLabel {
  const bytes = Buffer.from(tail.buffer, tail.byteOffset, tail.byteLength);
  const at = bytes.byteLength - footBytes;
  if (at < 0 || bytes.toString("latin1", at, at + 8) !== magic) {
    throw new CorruptionError(
      `${path} does not end with the label of a backup: it was cut short, written to, or is something else`,
    );
  }
  const version = bytes.readUInt32BE(at + 8);
  if (version !== trailerVersion) {
    throw new CorruptionError(
      `${path} has label version ${version}, this program knows ${trailerVersion}: use the newer one`,
    );
  }
  const length = bytes.readUInt32BE(at + 12);
  const json = length <= at ? bytes.subarray(at - length, at) : undefined;
  if (json === undefined || crc32(json) !== bytes.readUInt32BE(at + 16)) {
    throw new CorruptionError(`the label of ${path} is damaged`);
  }
  let label: unknown;
  try {
    label = JSON.parse(json.toString());
  } catch (cause) {
    throw new CorruptionError(`the label of ${path} is not JSON: ${messageOf(cause)}`);
  }
  if (!isLabel(label)) throw new CorruptionError(`the label of ${path} lacks its fields`);
  return label;
}

/** Where a log goes on from the image. */
export function snapshotOf(
  label: BackupLabel,
  agreed: Pick<SnapshotId, "membership" | "settings">,
): SnapshotId {
  return { lsn: lsn(label.lsn), term: term(label.term), chain: label.chain, ...agreed };
}

/**
 * Reads every page of the backup and gives them out in order. Throws CorruptionError in the end when the checksum is
 * not the label's.
 */
export async function readImage(
  path: string,
  onPages: (first: number, pages: Uint8Array, label: BackupLabel) => Promise<void>,
): Promise<BackupLabel> {
  const handle = await open(path, "r");
  try {
    const label = await readLabel(handle, path);
    const { pageSize, pageCount } = label;
    let sum = zeroHash;
    for (let first = 1; first <= pageCount; first += limits.applySliceFrames) {
      const count = Math.min(limits.applySliceFrames, pageCount - first + 1);
      const pages = new Uint8Array(count * pageSize);
      await handle.read(pages, 0, pages.byteLength, (first - 1) * pageSize);
      sum = xorHash(sum, hashOfPages(first, pages, pageSize));
      await onPages(first, pages, label);
    }
    if (formatHash(sum) !== label.checksum) {
      throw new CorruptionError(
        `${path} is damaged: its pages have checksum ${formatHash(sum)}, its label says ${label.checksum}`,
      );
    }
    return label;
  } finally {
    await handle.close();
  }
}

function hashOfPages(first: number, pages: Uint8Array, pageSize: number): Hash64 {
  let sum = zeroHash;
  for (let i = 0; i * pageSize < pages.byteLength; i++) {
    if (first + i === lockPage(pageSize)) continue;
    const page = pages.subarray(i * pageSize, (i + 1) * pageSize);
    sum = xorHash(sum, pageHash(pgno(first + i), page));
  }
  return sum;
}

function isLabel(value: unknown): value is BackupLabel {
  if (typeof value !== "object" || value === null) return false;
  const label = value as Partial<Record<keyof BackupLabel, unknown>>;
  const counts = [label.lsn, label.term, label.pageCount];
  const texts = [label.clusterId, label.takenAt, label.takenFrom];
  return (
    label.format === 1 &&
    counts.every((n) => Number.isSafeInteger(n) && (n as number) >= 1) &&
    texts.every((text) => typeof text === "string") &&
    typeof label.pageSize === "number" &&
    isPageSize(label.pageSize) &&
    isHex64(label.chain) &&
    isHex64(label.checksum) &&
    Array.isArray(label.membership) &&
    isObjectOrMissing(label.settings)
  );
}

function isObjectOrMissing(value: unknown): boolean {
  return (
    value === undefined || (typeof value === "object" && value !== null && !Array.isArray(value))
  );
}

function isHex64(value: unknown): boolean {
  return typeof value === "string" && /^[0-9a-f]{16}$/.test(value);
}
