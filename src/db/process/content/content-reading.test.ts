import assert from "node:assert/strict";
import { test } from "node:test";
import { newDatabase } from "../../sql/test-database.ts";
import { openScratch } from "../connection.ts";
import { readContent } from "./content-reading.ts";

/** Of a table that has these rows. */
function checksum(...rows: readonly string[]): string {
  const db = openScratch(newDatabase());
  db.exec('CREATE TABLE t(a, "b ""b", c AS (a) VIRTUAL)');
  for (const row of rows) db.exec(`INSERT INTO t VALUES (${row})`);
  const { tables } = readContent(db);
  db.close();
  return tables!["t"]!;
}

test("rows that differ have different checksums: in type, sign of zero, bytes of text that is no UTF-8", () => {
  const around = (value: string) => checksum("1, 2", `'x', ${value}`, "'é', 'ü'", "x'ff', NULL");
  const values = [
    ...["NULL", "0", "0.0", "CAST('-0.0' AS REAL)", "'0'", "x'30'", "'\ufffd'", "x'ff'"],
    ...["CAST(x'ff' AS TEXT)", "CAST(x'fe' AS TEXT)", "CAST(x'00ff' AS TEXT)"],
    ...["CAST(x'ffff' AS TEXT)", "'\ufeffa'", "'a'", "'\ufffd\ufffd'"],
  ];
  assert.equal(new Set(values.map(around)).size, values.length);
  for (const value of values) assert.equal(around(value), around(value));
});
