/**
 * How connections that run user SQL are opened: the same bounds and the same behaviour everywhere, so that a statement
 * means the same on a reader as on the writer.
 *
 * The bounds are SQLite's own where ours need not be lower: what runs on SQLite runs here. What a statement can cost is
 * bounded by its time and its process.
 */

import { DatabaseSync } from "node:sqlite";
import { StorageError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";

const bounds = {
  /** Any text, blob or row. */
  length: limits.valueBytesMax,
  sqlLength: limits.sqlBytesMax,
  /** VACUUM attaches a nameless database; clients are kept from ATTACH by the authorizer. */
  attach: 1,
};

/** The writer's connection. The log is the truth, so nothing is synced; and nothing is ever checkpointed [D2]. */
export function openScratch(path: string): DatabaseSync {
  const db = open(path, false);
  db.exec("PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -65536");
  return db;
}

/** A reader's connection to the served database. */
export function openServed(path: string): DatabaseSync {
  const db = open(path, true);
  // Not query_only: there are TEMP tables, for what a client's connection counts (db/stream/counters.ts).
  db.exec("PRAGMA wal_autocheckpoint = 0");
  return db;
}

/** A file of somebody else's that is kept equal to the cluster: it must understand all that the nodes accept. */
export function openCopy(path: string): DatabaseSync {
  return open(path, false, copyBusyMs);
}

/** Another program may be writing to the file. */
const copyBusyMs = 5_000;

function open(path: string, readOnly: boolean, timeout = readOnly ? 1_000 : 0): DatabaseSync {
  return new DatabaseSync(path, {
    readOnly,
    enableForeignKeyConstraints: false,
    enableDoubleQuotedStringLiterals: true,
    allowExtension: false,
    // Names are bound with their prefix: without it, `:a` and `$a` in one statement would be an error.
    allowBareNamedParameters: false,
    defensive: true,
    readBigInts: true,
    returnArrays: true,
    // Only SQLite's own short locks: recovery after a crash, the start of a checkpoint.
    timeout,
    limits: bounds,
  });
}

/** The scratch must be a WAL database already: anything else would be changed in place. */
export function checkedPageSize(db: DatabaseSync): number {
  const one = (pragma: string) => String(db.prepare(`PRAGMA ${pragma}`).get());
  const mode = one("journal_mode");
  if (mode !== "wal") throw new StorageError(`the scratch database has journal mode ${mode}`);
  db.prepare("SELECT term, lsn FROM sqlite_paceline").get();
  return Number(one("page_size"));
}
