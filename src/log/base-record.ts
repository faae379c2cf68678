/**
 * The base of the log: the snapshot it starts from, and the first segment that belongs to it. One small file, `base`,
 * replaced as a whole (temp file, sync, rename, sync of the directory).
 *
 *   offset  size  field
 *        0     8  magic "LOGBASE\0"
 *        8     4  format version, now 2
 *       12     4  crc32 of bytes 0..11 and of everything from 16 on
 *       16     8  number of the first segment; smaller ones are leftovers
 *       24     8  LSN of the snapshot
 *       32     8  its term
 *       40     8  its chain
 *       48     …  its membership: size u32, then the bytes of raft/membership.ts
 *        …     …  its settings: size u32, then the bytes of raft/rule/settings.ts
 *
 * History of the version: 1 had no settings, and stands for the default ones; 2.
 *
 * Its replacement is the one moment at which a prefix is dropped or the log is reset: before it nothing has changed,
 * after it the segments below the first one may go at any time.
 */

import { crc32 } from "node:zlib";
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { CorruptionError, messageOf, ProtocolError } from "../base/errors.ts";
import { formatHash, parseHash } from "../base/hash.ts";
import { decodeMembership, encodeMembership } from "../raft/membership.ts";
import { decodeSettings, encodeSettings } from "../raft/rule/settings.ts";
import { defaultSettings, type Lsn, type SnapshotId, type Term } from "../vocabulary.ts";
import { remedy } from "./segment.ts";

export type BaseRecord = {
  readonly snapshot: SnapshotId;
  /** Number of the first segment of the log; it may not exist yet. */
  readonly firstSegment: number;
};

const magic = new TextEncoder().encode("LOGBASE\0");
const version = 2;

export function encodeBase({ snapshot, firstSegment }: BaseRecord): Uint8Array {
  const chain = parseHash(snapshot.chain);
  const membership = encodeMembership(snapshot.membership);
  const settings = encodeSettings(snapshot.settings);
  const bytes = new ByteWriter(64 + membership.byteLength + settings.byteLength)
    .bytes(magic)
    .u32(version)
    .u32(0)
    .u64(firstSegment)
    .u64(snapshot.lsn)
    .u64(snapshot.term)
    .u32(chain.high)
    .u32(chain.low)
    .u32(membership.byteLength)
    .bytes(membership)
    .u32(settings.byteLength)
    .bytes(settings)
    .finish();
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(12, checksum(bytes));
  return bytes;
}

/** Throws CorruptionError, naming `path`. The file is replaced as a whole, so nothing in it is ever half written. */
export function decodeBase(bytes: Uint8Array, path: string): BaseRecord {
  try {
    return decode(bytes);
  } catch (cause) {
    throw new CorruptionError(`${path}: ${messageOf(cause)}; ${remedy}`, { cause });
  }
}

function decode(bytes: Uint8Array): BaseRecord {
  const reader = new ByteReader(bytes);
  const found = reader.bytes(magic.byteLength);
  if (!found.every((byte, i) => byte === magic[i]))
    throw new ProtocolError("no log base at offset 0");
  const foundVersion = reader.u32();
  if (reader.u32() !== checksum(bytes)) throw new ProtocolError("checksum at offset 12 disagrees");
  if (foundVersion !== version && foundVersion !== 1) {
    throw new ProtocolError(`version ${foundVersion} at offset 8, this program knows ${version}`);
  }
  const firstSegment = reader.u64();
  const lsn = reader.u64() as Lsn;
  const term = reader.u64() as Term;
  const chain = formatHash({ high: reader.u32(), low: reader.u32() });
  const membership = decodeMembership(reader.bytes(reader.u32()));
  const settings =
    foundVersion === 1 ? defaultSettings : decodeSettings(reader.bytes(reader.u32()));
  if (reader.left !== 0) throw new ProtocolError(`${reader.left} bytes too many at ${reader.at}`);
  return { snapshot: { lsn, term, chain, membership, settings }, firstSegment };
}

function checksum(bytes: Uint8Array): number {
  return crc32(bytes.subarray(16), crc32(bytes.subarray(0, 12)));
}
