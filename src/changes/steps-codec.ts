/**
 * Recorded transactions as bytes: the content of a changes or statements section of an entry (payload/sections.ts has
 * its checksum).
 *
 *   offset  size  field
 *        0     1  format version, now 1
 *        1     1  what follows is 0 as it is, 1 one zstd frame
 *        2     4  bytes of what follows when it is unpacked
 *        6     …  per transaction: number of steps u32, then the steps
 *
 *   step 1, table      name text, number of columns u16, their names text
 *   step 2, changeset  length u32, bytes
 *   step 3, statement  sql text, why text, flags u8 (1 foreign keys on, 2 failed, 4 has last rowid, 8 unsure), values
 *                      count u32 and values, named count u32 and (name text, value), captured count u32 and values,
 *                      last rowid as a value if flagged
 *   step 4, sequence   table text, value
 *
 * Text is length u32 and UTF-8; values are those of values.ts.
 */

import { constants as zlib, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { CorruptionError, messageOf, ProtocolError } from "../base/errors.ts";
import { limits } from "../limits.ts";
import type { RecordedStatement, RecordedTransaction, Step } from "./steps.ts";
import { readValue, type SqlValue, writeValue } from "./values.ts";

const version = 1;
const headBytes = 6;
const stored = { raw: 0, zstd: 1 } as const;
const tags = { table: 1, changeset: 2, statement: 3, sequence: 4 } as const;
const flags = { foreignKeys: 1, failed: 2, lastRowid: 4, isUnsure: 8 } as const;
/** Below this, compressing costs more than it saves. */
const compressFromBytes = 512;
const zstdOptions = { params: { [zlib.ZSTD_c_compressionLevel]: 1 } };

export function encodeTransactions(transactions: readonly RecordedTransaction[]): Uint8Array {
  const writer = new ByteWriter(1024);
  for (const { steps } of transactions) {
    writer.u32(steps.length);
    for (const step of steps) writeStep(writer, step);
  }
  const raw = writer.finish();
  const packed = raw.byteLength < compressFromBytes ? raw : zstdCompressSync(raw, zstdOptions);
  const pays = packed !== raw && packed.byteLength <= raw.byteLength - (raw.byteLength >>> 3);
  const content = pays ? packed : raw;
  return new ByteWriter(headBytes + content.byteLength)
    .u8(version)
    .u8(pays ? stored.zstd : stored.raw)
    .u32(raw.byteLength)
    .bytes(content)
    .finish();
}

/** Keeps views of `bytes`. Throws CorruptionError; never allocates more than limits.transactionBytesMax. */
export function decodeTransactions(bytes: Uint8Array): RecordedTransaction[] {
  try {
    const reader = new ByteReader(unpack(bytes));
    const transactions: RecordedTransaction[] = [];
    while (reader.left > 0) transactions.push({ steps: readMany(reader, readStep) });
    return transactions;
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    throw new CorruptionError(`recorded transactions: ${messageOf(cause)}`, { cause });
  }
}

/** Bytes of the record when it is unpacked, as it says itself. */
export function unpackedBytes(bytes: Uint8Array): number {
  return new ByteReader(bytes.subarray(2, headBytes)).u32();
}

function unpack(bytes: Uint8Array): Uint8Array {
  const reader = new ByteReader(bytes);
  const found = reader.u8();
  if (found !== version) {
    throw new CorruptionError(
      `recorded transactions have version ${found}, this program knows ${version}`,
    );
  }
  const storage = reader.u8();
  const wanted = reader.u32();
  if (wanted > limits.transactionBytesMax) throw new CorruptionError(`${wanted} bytes of record`);
  const content = reader.bytes(reader.left);
  if (storage !== stored.raw && storage !== stored.zstd) {
    throw new CorruptionError(`recorded transactions are stored as ${storage}`);
  }
  const raw = storage === stored.raw ? content : inflate(content, wanted);
  if (raw.byteLength !== wanted) {
    throw new CorruptionError(`${raw.byteLength} bytes of record, expected ${wanted}`);
  }
  return raw;
}

function inflate(content: Uint8Array, wanted: number): Uint8Array {
  try {
    return zstdDecompressSync(content, { maxOutputLength: Math.max(wanted, 1) });
  } catch (cause) {
    throw new CorruptionError("recorded transactions do not decompress", { cause });
  }
}

function writeStep(writer: ByteWriter, step: Step): void {
  writer.u8(tags[step.type]);
  switch (step.type) {
    case "table":
      writer.text(step.table).u16(step.columns.length);
      for (const column of step.columns) writer.text(column);
      break;
    case "changeset":
      writer.u32(step.bytes.byteLength).bytes(step.bytes);
      break;
    case "statement":
      writer.text(step.statement.sql).text(step.why);
      writeStatement(writer, step.statement);
      break;
    case "sequence":
      writer.text(step.table);
      writeValue(writer, step.value);
  }
}

function readStep(reader: ByteReader): Step {
  const tag = reader.u8();
  switch (tag) {
    case tags.table: {
      const table = reader.text();
      const columns = Array.from({ length: reader.u16() }, () => reader.text());
      return { type: "table", table, columns };
    }
    case tags.changeset:
      return { type: "changeset", bytes: reader.bytes(reader.u32()) };
    case tags.statement: {
      const sql = reader.text();
      const why = reader.text();
      return { type: "statement", statement: readStatement(reader, sql), why };
    }
    case tags.sequence:
      return { type: "sequence", table: reader.text(), value: integerOf(readValue(reader)) };
    default:
      throw new CorruptionError(`step with tag ${tag} at ${reader.at - 1}`);
  }
}

function writeStatement(writer: ByteWriter, statement: RecordedStatement): void {
  const { args, namedArgs, captured, lastRowid, foreignKeys, failed, isUnsure } = statement;
  writer.u8(
    (foreignKeys ? flags.foreignKeys : 0) |
      (failed ? flags.failed : 0) |
      (isUnsure ? flags.isUnsure : 0) |
      (lastRowid === undefined ? 0 : flags.lastRowid),
  );
  writer.u32(args.length);
  for (const value of args) writeValue(writer, value);
  writer.u32(namedArgs.length);
  for (const { name, value } of namedArgs) writeValue(writer.text(name), value);
  writer.u32(captured.length);
  for (const value of captured) writeValue(writer, value);
  if (lastRowid !== undefined) writeValue(writer, lastRowid);
}

function readStatement(reader: ByteReader, sql: string): RecordedStatement {
  const bits = reader.u8();
  if (bits > 15) throw new CorruptionError(`statement with flags ${bits}`);
  const args = readMany(reader, readValue);
  const namedArgs = readMany(reader, (from) => ({ name: from.text(), value: readValue(from) }));
  const captured = readMany(reader, readValue);
  const hasRowid = (bits & flags.lastRowid) !== 0;
  const lastRowid = hasRowid ? integerOf(readValue(reader)) : undefined;
  const foreignKeys = (bits & flags.foreignKeys) !== 0;
  const failed = (bits & flags.failed) !== 0;
  const isUnsure = (bits & flags.isUnsure) !== 0;
  return { sql, args, namedArgs, foreignKeys, failed, isUnsure, captured, lastRowid };
}

/** Count, then so many. An item is at least one byte, so a count that is too large ends with the bytes. */
function readMany<T>(reader: ByteReader, read: (reader: ByteReader) => T): T[] {
  const items: T[] = [];
  for (let left = reader.u32(); left > 0; left--) items.push(read(reader));
  return items;
}

function integerOf(value: SqlValue): bigint {
  if (typeof value !== "bigint") throw new CorruptionError("an integer is expected");
  return value;
}
