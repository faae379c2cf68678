/**
 * The first image of a database that understands the statements of the clients (story/statements), with tables behind
 * them: lists that only grow, and filler that becomes more or fewer pages.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { vacuum } from "../../db/position-table.ts";
import { type DatabaseImage, makeGenesisImage } from "../../db/served/birth.ts";

/** Blobs of the filler: readers are not shown them, so pages that hold nothing else may rot unread. */
export const fillerByte = 0xfa;

const schema = `
  CREATE TABLE lists(k INTEGER NOT NULL, v INTEGER NOT NULL);
  CREATE INDEX list ON lists(k);
  CREATE TABLE filler(n INTEGER, pages INTEGER);
  INSERT INTO filler VALUES (0, 0);
  CREATE TABLE pad(i INTEGER PRIMARY KEY, b BLOB);
  CREATE TRIGGER refill AFTER UPDATE ON filler BEGIN
    DELETE FROM pad;
    INSERT INTO pad SELECT value, unhex(replace(hex(zeroblob(new.n % 900 + 200 * value)), '00', 'FA'))
    FROM (WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < new.pages)
          SELECT value FROM s WHERE new.pages > 0);
  END;
`;

/** Makes the image in a directory of its own below `tmpDir`. */
export function makeBirth(tmpDir: string, autoVacuum: number): DatabaseImage {
  const { pageSize, pages } = makeGenesisImage(tmpDir);
  const dir = mkdtempSync(join(tmpDir, "birth-"));
  try {
    const path = join(dir, "main.sqlite");
    writeFileSync(path, pages);
    const connection = new DatabaseSync(path);
    // Takes effect with the next VACUUM.
    connection.exec(`PRAGMA auto_vacuum = ${autoVacuum}`);
    vacuum(connection, () => connection.exec("VACUUM"));
    connection.exec(schema);
    connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    connection.close();
    return { pageSize, pages: new Uint8Array(readFileSync(path)) };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
