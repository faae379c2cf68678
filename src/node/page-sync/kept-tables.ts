/**
 * `tables.json`: the tables whose rows this copy keeps, where it does not keep all. A copy that was started for other
 * tables lacks rows, and must be made anew; nothing in the database itself would tell.
 */

import type { Disk } from "../../host/disk.ts";
import { RecordFile } from "../../host/record-file.ts";

type Record1 = { readonly format: 1; readonly tables: readonly string[] };

const file = new RecordFile<Record1>(
  "tables.json",
  ({ format, tables }) => (format === 1 && areNames(tables) ? { format, tables } : undefined),
  "move the directory aside and start with an empty one",
);

/** As they were written down; undefined when all are kept. */
export async function readKeptTables(
  disk: Disk,
  dir: string,
): Promise<readonly string[] | undefined> {
  return (await file.read(disk, dir))?.tables;
}

/** Durable when it resolves. */
export function writeKeptTables(
  disk: Disk,
  dir: string,
  tables: readonly string[] | undefined,
): Promise<void> {
  if (tables === undefined) return file.remove(disk, dir);
  return file.write(disk, dir, { format: 1, tables });
}

function areNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((name) => typeof name === "string");
}

/** In any order and any case. */
export function areSameTables(
  a: readonly string[] | undefined,
  b: readonly string[] | undefined,
): boolean {
  const text = (tables: readonly string[] | undefined) =>
    JSON.stringify(tables?.map((name) => name.toLowerCase()).sort());
  return text(a) === text(b);
}
