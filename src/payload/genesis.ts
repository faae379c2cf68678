/**
 * The body of a genesis entry: birth of a cluster.
 *
 *   offset  size  field
 *        0     1  version, now 1
 *        1     4  length of the cluster id, then the cluster id (UTF-8)
 *        …     4  page size, bytes
 *        …     …  the pages of the first database file, from page 1
 *
 * The first leader makes it; every node starts from exactly these bytes, so that files can be identical.
 */

import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { CorruptionError, ProtocolError } from "../base/errors.ts";
import { type Hash64, pageHash, xorHash, zeroHash } from "../base/hash.ts";
import type { Pgno } from "../vocabulary.ts";
import { isPageSize } from "../wal/page-size.ts";

export type DatabaseImage = { readonly pageSize: number; readonly pages: Uint8Array };

export type Genesis = { readonly clusterId: string; readonly image: DatabaseImage };

const version = 1;

export function encodeGenesis(genesis: Genesis): Uint8Array {
  return new ByteWriter(64 + genesis.image.pages.byteLength)
    .u8(version)
    .text(genesis.clusterId)
    .u32(genesis.image.pageSize)
    .bytes(genesis.image.pages)
    .finish();
}

/** Keeps a view of `body`. Throws CorruptionError. */
export function decodeGenesis(body: Uint8Array): Genesis {
  try {
    return read(new ByteReader(body));
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new CorruptionError(`genesis: ${cause.message}`, { cause });
  }
}

function read(reader: ByteReader): Genesis {
  const found = reader.u8();
  if (found !== version) {
    throw new CorruptionError(`genesis has version ${found}, this program knows ${version}`);
  }
  const clusterId = reader.text();
  const pageSize = reader.u32();
  const pages = reader.bytes(reader.left);
  if (!isPageSize(pageSize) || pages.byteLength === 0 || pages.byteLength % pageSize !== 0) {
    throw new CorruptionError(
      `genesis has ${pages.byteLength} bytes, not whole pages of ${pageSize}`,
    );
  }
  return { clusterId, image: { pageSize, pages } };
}

/** Checksum of a whole database file. */
export function imageChecksum({ pageSize, pages }: DatabaseImage): Hash64 {
  let sum = zeroHash;
  for (let i = 0; i * pageSize < pages.byteLength; i++) {
    const page = pages.subarray(i * pageSize, (i + 1) * pageSize);
    sum = xorHash(sum, pageHash((i + 1) as Pgno, page));
  }
  return sum;
}
