/**
 * The content of a database, table by table, as checksums: equal for equal rows, wherever in the file they are. For
 * copies that cannot be compared page by page.
 *
 * The checksum of a table is the sum of those of its rows, so the order of rows does not matter. What virtual tables
 * keep in ordinary tables is left out, as are statistics of the planner and our own table: they are not content.
 */

import { createHash, hash } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import type { SqlValue } from "../../../changes/values.ts";
import type { Lsn, Term } from "../../../vocabulary.ts";
import { quoted } from "../../sql/quoted.ts";

/** Of one moment. `tables` also has the schema, under the name "". */
export type Content = {
  readonly lsn: Lsn;
  readonly term: Term;
  readonly tables: Readonly<Record<string, string>>;
};

/** In one read transaction, which it opens and ends. */
export function readContent(db: DatabaseSync): Content {
  db.exec("BEGIN");
  try {
    const [term, lsn] = db
      .prepare("SELECT term, lsn FROM sqlite_paceline")
      .get() as unknown as bigint[];
    const names = db
      .prepare(
        `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
           AND (name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name = 'sqlite_sequence') ORDER BY name`,
      )
      .all() as unknown as string[][];
    const tables: Record<string, string> = { "": schemaChecksum(db) };
    for (const [name] of names) tables[name!] = tableChecksum(db, name!);
    return { lsn: Number(lsn) as Lsn, term: Number(term) as Term, tables };
  } finally {
    db.exec("COMMIT");
  }
}

function schemaChecksum(db: DatabaseSync): string {
  const digest = createHash("sha256");
  const rows = db.prepare(
    `SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1, 2`,
  );
  for (const row of rows.iterate()) digest.update(JSON.stringify(row));
  return digest.digest("hex").slice(0, 16);
}

/** Number of rows, and the sum of their checksums. */
function tableChecksum(db: DatabaseSync, name: string): string {
  let sum = 0n;
  let rows = 0;
  const all = db.prepare(`SELECT * FROM main.${quoted(name)}`);
  for (const row of all.iterate()) {
    const digest = hash("sha256", rowText(row as unknown as SqlValue[]), "buffer");
    sum += digest.readBigUInt64BE(0);
    rows++;
  }
  return `${rows}:${BigInt.asUintN(64, sum).toString(16).padStart(16, "0")}`;
}

/** Different for different rows: each value with its type and length. */
function rowText(row: readonly SqlValue[]): string {
  let text = "";
  for (const value of row) {
    if (value === null) text += "n;";
    else if (typeof value === "bigint") text += `i${value};`;
    else if (typeof value === "number") text += `f${value};`;
    else if (typeof value === "string") text += `t${value.length}:${value};`;
    else text += `b${Buffer.from(value).toString("base64")};`;
  }
  return text;
}
