/**
 * Values of SQLite as they are recorded: in rows that changed, as arguments of statements, as answers of functions.
 * NULL is `null`; an absent value, where a format has one, is `undefined`. Integers are 64 bits wide, hence bigint.
 *
 *   tag  followed by
 *     1  8 bytes, signed integer, big-endian
 *     2  8 bytes, IEEE 754 double, big-endian
 *     3  length u32, then UTF-8
 *     4  length u32, then bytes
 *     5  nothing: NULL
 *
 * The tags are those of SQLite's changesets; lengths there are varints (changeset.ts).
 */

import type { ByteReader, ByteWriter } from "../base/bytes.ts";
import { CorruptionError } from "../base/errors.ts";

export type SqlValue = null | bigint | number | string | Uint8Array;

export const valueTags = { undefined: 0, integer: 1, float: 2, text: 3, blob: 4, null: 5 } as const;

export function writeValue(writer: ByteWriter, value: SqlValue): void {
  if (value === null) writer.u8(valueTags.null);
  else if (typeof value === "bigint") {
    const bits = BigInt.asUintN(64, value);
    writer.u8(valueTags.integer);
    writer.u32(Number(bits >> 32n)).u32(Number(bits & 0xffff_ffffn));
  } else if (typeof value === "number") writer.u8(valueTags.float).f64(value);
  else if (typeof value === "string") writer.u8(valueTags.text).text(value);
  else writer.u8(valueTags.blob).u32(value.byteLength).bytes(value);
}

/** A blob is a view of the reader's bytes. Throws CorruptionError for an unknown tag. */
export function readValue(reader: ByteReader): SqlValue {
  const tag = reader.u8();
  switch (tag) {
    case valueTags.integer:
      return readInteger(reader);
    case valueTags.float:
      return reader.f64();
    case valueTags.text:
      return reader.text();
    case valueTags.blob:
      return reader.bytes(reader.u32());
    case valueTags.null:
      return null;
    default:
      throw new CorruptionError(`value with tag ${tag} at ${reader.at - 1}`);
  }
}

/** Eight bytes, signed. */
export function readInteger(reader: ByteReader): bigint {
  const high = BigInt(reader.u32());
  return BigInt.asIntN(64, (high << 32n) | BigInt(reader.u32()));
}
