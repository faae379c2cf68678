/**
 * Where the files of the database are, and the steps that put a whole database file into place so that a crash at any
 * line leaves either the old or the new one.
 *
 *   <dir>/db/main.sqlite        the served database; its -wal and -shm beside it
 *   <dir>/scratch/main.sqlite   a hard link to it: the leader's writer has a WAL of its own there [D2]
 *   <dir>/staging/main.sqlite   a database that page sync is building
 *   <dir>/staging/ready.sqlite  the same, complete and durable, not yet in place
 *   <dir>/staging/patch         pages for an open database
 */

import { open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, StorageError } from "../../base/errors.ts";

/** Paths of one data directory. */
export type Layout = {
  readonly dbDir: string;
  readonly db: string;
  readonly scratchDir: string;
  readonly scratch: string;
  readonly stagingDir: string;
  readonly staged: string;
  readonly ready: string;
  readonly patch: string;
};

export function layoutOf(dir: string): Layout {
  const dbDir = join(dir, "db");
  const scratchDir = join(dir, "scratch");
  const stagingDir = join(dir, "staging");
  return {
    dbDir,
    db: join(dbDir, "main.sqlite"),
    scratchDir,
    scratch: join(scratchDir, "main.sqlite"),
    stagingDir,
    staged: join(stagingDir, "main.sqlite"),
    ready: join(stagingDir, "ready.sqlite"),
    patch: join(stagingDir, "patch"),
  };
}

/** Makes the names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Moves a complete database into place if there is one at `ready`. Its existence is the promise that it is durable
 * and wanted, so this can be repeated after a crash at any point. The old WAL goes first: SQLite would replay it
 * onto the new file. No connection may be open.
 */
export async function putReadyIntoPlace(layout: Layout): Promise<void> {
  try {
    await (await open(layout.ready, "r")).close();
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return;
    throw new StorageError(`cannot look for ${layout.ready}: ${messageOf(cause)}`, { cause });
  }
  await rm(`${layout.db}-wal`, { force: true });
  await rm(`${layout.db}-shm`, { force: true });
  await syncDirectory(layout.dbDir);
  await rename(layout.ready, layout.db);
  await syncDirectory(layout.dbDir);
  await syncDirectory(layout.stagingDir);
}
