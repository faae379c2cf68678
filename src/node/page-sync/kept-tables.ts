/**
 * `tables.json`: the tables whose rows this copy keeps, where it does not keep all. A copy that was started for other
 * tables lacks rows, and must be made anew; nothing in the database itself would tell.
 */

import { CorruptionError } from "../../base/errors.ts";
import type { Disk } from "../../host/disk.ts";

type Record1 = { readonly format: 1; readonly tables: readonly string[] };

const pathIn = (dir: string) => `${dir}/tables.json`;

/** As they were written down; undefined when all are kept. */
export async function readKeptTables(
  disk: Disk,
  dir: string,
): Promise<readonly string[] | undefined> {
  const path = pathIn(dir);
  if (!(await disk.exists(path))) return undefined;
  try {
    const text = new TextDecoder().decode(await disk.readFile(path));
    const { format, tables } = JSON.parse(text) as Partial<Record1>;
    if (format === 1 && Array.isArray(tables)) return tables;
  } catch {
    // Said below.
  }
  throw new CorruptionError(
    `${path} is not what was written; move the directory aside and start with an empty one`,
  );
}

/** Durable when it resolves. */
export async function writeKeptTables(
  disk: Disk,
  dir: string,
  tables: readonly string[] | undefined,
): Promise<void> {
  if (tables === undefined) {
    if (await disk.exists(pathIn(dir))) await disk.remove(pathIn(dir));
    return;
  }
  const record: Record1 = { format: 1, tables };
  await disk.replaceFile(pathIn(dir), new TextEncoder().encode(JSON.stringify(record)));
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
