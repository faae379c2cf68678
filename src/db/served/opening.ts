/**
 * Opens the served database: everything that happens once, in the only order that is safe.
 *
 *   1. finish an installation that a crash interrupted; discard the scratch of a dead leader
 *   2. open `db` raw and look at its first page, before SQLite does
 *   3. take the write lock: opens a connection, runs SQLite's recovery, keeps others from writing
 *   4. only now open `-wal` and `-shm` raw: the first connection would have truncated -shm
 *   5. read the position row; walk over the WAL; hash every page
 *
 * A flipped bit in a page that SQLite does not need for this is no error here: the checksum tells, and the caller
 * compares it with what the log says about the position.
 */

import { mkdir } from "node:fs/promises";
import { setImmediate as turn } from "node:timers/promises";
import { CorruptionError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import type { EntryId } from "../../vocabulary.ts";
import { isPageSize } from "../../wal/page-size.ts";
import { Applier } from "./applier.ts";
import { Checkpointer } from "./connections/checkpointer.ts";
import { WriteLock } from "./connections/write-lock.ts";
import { Descriptors } from "./descriptors.ts";
import type { Layout } from "./layout.ts";
import { putReadyIntoPlace } from "./layout.ts";
import type { PageRun } from "./page-reader.ts";
import { PageReader } from "./page-reader.ts";
import { PageTable } from "./page-table.ts";
import { checkPlatform } from "./platform.ts";
import { discardScratch } from "./scratch.ts";

/** How far a long walk over all pages has come. */
export type PageProgress = { readonly pages: number; readonly of: number };

/** The parts of an open database. */
export type OpenedParts = {
  readonly files: Descriptors;
  readonly lock: WriteLock;
  readonly checkpointer: Checkpointer;
  readonly applier: Applier;
  readonly reader: PageReader;
  readonly table: PageTable;
  readonly position: EntryId;
};

export async function openParts(
  layout: Layout,
  onProgress: ((progress: PageProgress) => void) | undefined,
): Promise<OpenedParts> {
  await mkdir(layout.dbDir, { recursive: true });
  await mkdir(layout.stagingDir, { recursive: true });
  await checkPlatform(layout.dbDir);
  await putReadyIntoPlace(layout);
  await discardScratch(layout);

  const files = new Descriptors(layout.db);
  const undo: (() => void | Promise<void>)[] = [() => files.close()];
  try {
    files.open("db", "r");
    const pageSize = checkFirstPage(files);
    const lock = await WriteLock.open(layout.db);
    undo.unshift(() => lock.close());
    files.open("wal", "r+");
    files.open("shm", "r+");
    const checkpointer = new Checkpointer(layout.db);
    undo.unshift(() => checkpointer.close());
    const position = checkpointer.readPosition();
    const applier = await Applier.attach(files, pageSize);
    const reader = new PageReader(files, applier, pageSize);
    const pageCount = applier.pageCount || Math.floor(files.size("db") / pageSize);
    const table = new PageTable(pageSize);
    table.resize(pageCount);
    await hashAllPages(reader, table, onProgress);
    return { files, lock, checkpointer, applier, reader, table, position };
  } catch (error) {
    for (const step of undo) await step();
    throw error;
  }
}

/** Visits all pages in slices that leave the event loop its turns. */
export async function walkPages(
  reader: PageReader,
  table: PageTable,
  visit: (run: PageRun, pages: Uint8Array) => void,
): Promise<void> {
  for (let first = 1; first <= table.pageCount; first += limits.applySliceFrames) {
    const count = Math.min(limits.applySliceFrames, table.pageCount - first + 1);
    const pages = new Uint8Array(count * table.pageSize);
    const run = { first, count, at: 0 };
    await reader.read(run, pages);
    visit(run, pages);
    await turn();
  }
}

async function hashAllPages(
  reader: PageReader,
  table: PageTable,
  onProgress: ((progress: PageProgress) => void) | undefined,
): Promise<void> {
  await walkPages(reader, table, (run, pages) => {
    reader.hash(run, pages, (pgno, hash) => table.set(pgno, hash));
    onProgress?.({ pages: run.first + run.count - 1, of: table.pageCount });
  });
}

/** Returns the page size. What SQLite would make of another file is not tried out on it. */
function checkFirstPage(files: Descriptors): number {
  const head = new Uint8Array(100);
  const n = files.readNow("db", head, 0);
  const isSqlite =
    n === 100 && new TextDecoder().decode(head.subarray(0, 16)) === "SQLite format 3\0";
  if (!isSqlite) throw new CorruptionError("served database: not a SQLite file");
  if (head[18] !== 2 || head[19] !== 2) {
    throw new CorruptionError("served database: not in WAL mode");
  }
  const field = (head[16]! << 8) | head[17]!;
  const pageSize = field === 1 ? 65_536 : field;
  if (!isPageSize(pageSize)) throw new CorruptionError(`served database: page size ${pageSize}`);
  return pageSize;
}
