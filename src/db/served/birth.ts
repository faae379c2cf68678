/**
 * Birth of a cluster: the first image of the database. An ordinary SQLite file in WAL mode that holds nothing but the
 * system table `sqlite_paceline(term, lsn)` with its one row [D1].
 *
 * SQLite refuses to create a table of that name, so it gets another one first and is renamed in sqlite_schema. From
 * then on SQLite protects it from DROP, ALTER, indexes and triggers, and tools leave it out.
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { limits } from "../../limits.ts";
import { becomePositionTable } from "../position-table.ts";

/** A whole database file. */
export type DatabaseImage = { readonly pageSize: number; readonly pages: Uint8Array };

/** Makes the image in a directory of its own below `tmpDir`, which it removes. */
export function makeGenesisImage(tmpDir: string): DatabaseImage {
  const dir = mkdtempSync(join(tmpDir, "genesis-"));
  try {
    const path = join(dir, "main.sqlite");
    const connection = new DatabaseSync(path);
    connection.exec(`PRAGMA page_size = ${limits.pageSize}; PRAGMA journal_mode = WAL`);
    connection.exec(`
      CREATE TABLE paceline(term INTEGER, lsn INTEGER);
      INSERT INTO paceline VALUES (0, 0);
    `);
    becomePositionTable(connection, "paceline");
    connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    connection.close();
    return { pageSize: limits.pageSize, pages: new Uint8Array(readFileSync(path)) };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
