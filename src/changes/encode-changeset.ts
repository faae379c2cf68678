/**
 * Changed rows as SQLite's changeset or patchset (changeset.ts has the format), and their inverse. For rows that were
 * collected otherwise than by a session of SQLite's, so that they are applied in the same way.
 */

import { assert } from "../base/assert.ts";
import { ByteWriter } from "../base/bytes.ts";
import {
  formatCodes,
  operationCodes,
  type RowChange,
  type SparseRow,
  type TableChanges,
} from "./changeset.ts";
import type { RowValue } from "./row-values.ts";
import { valueTags } from "./values.ts";

export function encodeChangeset(tables: readonly TableChanges[]): Uint8Array {
  const writer = new ByteWriter(1024);
  for (const { format, table, primaryKey, changes } of tables) {
    if (changes.length === 0) continue;
    writer.u8(formatCodes[format]);
    writeVarint(writer, primaryKey.length);
    writer.bytes(primaryKey).bytes(Buffer.from(table)).u8(0);
    for (const change of changes) writeChange(writer, change, { format, primaryKey });
  }
  return writer.finish();
}

/** What undoes the changes, in the same order: a changeset has at most one change of each row. */
export function inverseOf(tables: readonly TableChanges[]): TableChanges[] {
  return tables.map((table) => {
    assert(table.format === "changeset", "only a changeset has an inverse");
    return { ...table, changes: table.changes.map((change) => inverse(change, table.primaryKey)) };
  });
}

function inverse(change: RowChange, primaryKey: Uint8Array): RowChange {
  const { operation, indirect, before, after } = change;
  if (operation === "insert")
    return { operation: "delete", indirect, before: after, after: before };
  if (operation === "delete")
    return { operation: "insert", indirect, before: after, after: before };
  const key = (i: number) => primaryKey[i]! > 0;
  return {
    operation,
    indirect,
    before: before!.map((value, i) => (key(i) ? value : after![i])),
    after: before!.map((value, i) => (key(i) ? undefined : value)),
  };
}

function writeChange(
  writer: ByteWriter,
  { operation, indirect, before, after }: RowChange,
  { format, primaryKey }: Pick<TableChanges, "format" | "primaryKey">,
): void {
  writer.u8(operationCodes[operation]).u8(indirect ? 1 : 0);
  const isPatch = format === "patchset";
  if (before !== undefined && !(isPatch && operation === "update")) {
    const isKeyOnly = isPatch && operation === "delete";
    writeRecord(writer, isKeyOnly ? before.filter((_, i) => primaryKey[i]! > 0) : before);
  }
  if (after !== undefined) writeRecord(writer, after);
}

function writeRecord(writer: ByteWriter, row: SparseRow): void {
  for (const value of row) writeField(writer, value);
}

function writeField(writer: ByteWriter, value: RowValue | undefined): void {
  if (value === undefined) writer.u8(valueTags.undefined);
  else if (value === null) writer.u8(valueTags.null);
  else if (typeof value === "bigint") {
    const bits = BigInt.asUintN(64, value);
    writer.u8(valueTags.integer);
    writer.u32(Number(bits >> 32n)).u32(Number(bits & 0xffff_ffffn));
  } else if (typeof value === "number") writer.u8(valueTags.float).f64(value);
  else {
    const isBlob = value instanceof Uint8Array;
    writer.u8(isBlob ? valueTags.blob : valueTags.text);
    const bytes = typeof value === "string" ? Buffer.from(value) : isBlob ? value : value.bytes;
    writeVarint(writer, bytes.byteLength);
    writer.bytes(bytes);
  }
}

function writeVarint(writer: ByteWriter, value: number): void {
  const groups = [value & 0x7f];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) {
    groups.unshift((rest & 0x7f) | 0x80);
  }
  for (const group of groups) writer.u8(group);
}
