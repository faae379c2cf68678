/**
 * The content of a database, table by table, as checksums: equal for equal rows, wherever in the file they are. For
 * copies that cannot be compared page by page.
 *
 * The checksum of a table is the sum of those of its rows, so the order of rows does not matter. Virtual tables are
 * compared by the ordinary ones in which they keep what they have. Statistics of the planner and our own table are left
 * out: they are not content.
 */

import { createHash, hash } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { type RowValue, TextBytes } from "../../../changes/row-values.ts";
import type { Lsn, Term } from "../../../vocabulary.ts";
import { ExactRows } from "../../record/rows/exact-rows.ts";
import { SchemaFacts } from "../../record/schema-facts.ts";
import { quoted } from "../../sql/quoted.ts";

/** Of one moment. `tables` also has the schema, under the name "". */
export type Content = {
  readonly lsn: Lsn;
  readonly term: Term;
  readonly tables: Readonly<Record<string, string>>;
};

/** Or no more than the position, which was not the one that was wanted. */
export type ContentOrPosition = Omit<Content, "tables"> & Partial<Content>;

/** How long one position is waited for. */
const meetMs = 15_000;

/**
 * In one read transaction, which it opens and ends. `at`: only as of this position, so that several nodes read the
 * same state while writes go on; it is looked for until it is passed, or too much time has.
 */
export function readContent(db: DatabaseSync, at?: Lsn): ContentOrPosition {
  const position = db.prepare("SELECT term, lsn FROM sqlite_paceline");
  for (const until = performance.now() + meetMs; ; ) {
    db.exec("BEGIN");
    const [term, lsn] = (position.get() as unknown as bigint[]).map(Number) as [Term, Lsn];
    if (at === undefined || lsn === at) return readTables(db, { term, lsn });
    db.exec("COMMIT");
    if (lsn > at || performance.now() > until) return { term, lsn };
    // Close by, a longer sleep might miss it: a follower applies what has piled up without a pause.
    Atomics.wait(sleeper, 0, 0, at - lsn > closeBy ? 1 : 0.05);
  }
}

const closeBy = 100;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

function readTables(db: DatabaseSync, position: Omit<Content, "tables">): Content {
  try {
    const names = db
      .prepare(
        `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')
           AND (name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name = 'sqlite_sequence') ORDER BY name`,
      )
      .all() as unknown as string[][];
    const tables: Record<string, string> = { "": schemaChecksum(db) };
    const facts = new SchemaFacts(db);
    for (const [name] of names as [string][]) {
      const rowid = name.startsWith("sqlite_") ? undefined : facts.of(name)?.rowid;
      tables[name] = tableChecksum(db, name, rowid);
    }
    return { ...position, tables };
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

/** Number of rows, and the sum of their checksums. The rowid belongs to a row that has no other key. */
function tableChecksum(db: DatabaseSync, name: string, rowid: string | undefined): string {
  let sum = 0n;
  let rows = 0;
  const from = `main.${quoted(name)}`;
  const columns = db.prepare(`SELECT * FROM ${from}`).columns();
  const read = columns.map((column) => quoted(column.name));
  if (rowid !== undefined) read.unshift(rowid);
  for (const row of new ExactRows(db, read, from).iterate()) {
    const digest = hash("sha256", rowText(row), "buffer");
    sum += digest.readBigUInt64BE(0);
    rows++;
  }
  return `${rows}:${BigInt.asUintN(64, sum).toString(16).padStart(16, "0")}`;
}

/** Different for different rows: each value with its type and length. */
function rowText(row: readonly RowValue[]): string {
  let text = "";
  for (const value of row) {
    if (value === null) text += "n;";
    else if (typeof value === "bigint") text += `i${value};`;
    else if (typeof value === "number") text += Object.is(value, -0) ? "f-0;" : `f${value};`;
    else if (typeof value === "string") text += `t${value.length}:${value};`;
    else if (value instanceof TextBytes) text += `x${Buffer.from(value.bytes).toString("base64")};`;
    else text += `b${Buffer.from(value).toString("base64")};`;
  }
  return text;
}
