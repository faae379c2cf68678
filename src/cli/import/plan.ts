/**
 * What is in the file, how much of it, and how each thing is carried over. Made before anything is done to the
 * cluster, so that what cannot be carried over is refused before.
 *
 * Tables come first, then rows, then indexes, views and triggers: so no trigger fires for a row that was there
 * before, and indexes are built once. Left out: `sqlite_stat*` (ANALYZE makes them anew), the tables inside a virtual
 * table (it makes them itself) and our own position table.
 */

import type { DatabaseSync } from "node:sqlite";
import { messageOf } from "../../base/errors.ts";
import { allowedModules } from "../../db/sql/authorizer.ts";
import { quoted } from "../../db/sql/quoted.ts";
import { limits } from "../../limits.ts";
import { Failure, plural } from "../terminal.ts";
import { checkIndex, indexedRows, type Setting, textIndexOf } from "./fts5.ts";

/** Something that is made by one statement. */
export type Piece = { readonly type: string; readonly name: string; readonly sql: string };

export type TablePlan = Piece & {
  /** Columns that are written, in order. Generated and hidden ones are not. */
  readonly columns: readonly string[];
  /** Name by which the rowid is written; undefined when a column holds it or there is none. */
  readonly rowid: string | undefined;
  /** Where its rows are read: what follows FROM, with the alias T, and the rowid there. */
  readonly from: string;
  readonly fromRowid: string | undefined;
  /** Names of what tells one row from another, for messages. */
  readonly key: readonly string[];
  readonly rows: number;
  /** Of all values. */
  readonly bytes: number;
  /** Its rows are those of another table: a full-text index over it. */
  readonly isIndex: boolean;
  /** Settings of a full-text index that are made before its rows come, and after. */
  readonly before: readonly Setting[];
  readonly after: readonly Setting[];
};

export type Plan = {
  readonly tables: readonly TablePlan[];
  readonly indexes: readonly Piece[];
  /** Views, then triggers. */
  readonly behaviours: readonly Piece[];
  /** Next values of AUTOINCREMENT tables. */
  readonly sequences: readonly { readonly name: string; readonly seq: bigint }[];
  /** Numbers that applications keep in the file's header, where they are not 0. */
  readonly marks: readonly { readonly pragma: string; readonly value: number }[];
  /** Names that come into being by themselves: the tables inside a virtual table. */
  readonly shadows: readonly string[];
  /** Of tables. Rows of an index over one of them are not counted again. */
  readonly rows: number;
  readonly isUtf8: boolean;
};

/** Throws Failure. */
export function planImport(db: DatabaseSync, path: string): Plan {
  try {
    return planOf(db);
  } catch (error) {
    // The file passed SQLite's check, and yet its schema may name what is not there.
    if ((error as { code?: unknown }).code !== "ERR_SQLITE_ERROR") throw error;
    throw new Failure(`${path} cannot be read: ${messageOf(error)}`, undefined, 1, {
      cause: error,
    });
  }
}

function planOf(db: DatabaseSync): Plan {
  const pieces = db
    .prepare(
      "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'" +
        " ORDER BY rowid",
    )
    .all() as Piece[];
  const list = db.prepare("PRAGMA main.table_list").all() as TableRow[];
  const shadows = list.filter((row) => row.type === "shadow").map((row) => row.name);
  const tables = pieces
    .filter((piece) => piece.type === "table" && !shadows.includes(piece.name))
    .map((piece) => planTable(db, piece, list));
  const of = (type: string): Piece[] => pieces.filter((piece) => piece.type === type);
  return {
    tables,
    // Indexes inside the tables of a virtual table come with it.
    indexes: of("index").filter((piece) => !shadows.includes(tableOfIndex(db, piece))),
    behaviours: [...of("view"), ...of("trigger")],
    sequences: sequencesOf(db),
    marks: ["user_version", "application_id"]
      .map((pragma) => ({ pragma, value: Number(single(db, `PRAGMA ${pragma}`)) }))
      .filter(({ value }) => value !== 0),
    shadows,
    rows: tables.reduce((sum, table) => sum + (table.isIndex ? 0 : table.rows), 0),
    isUtf8: single(db, "PRAGMA encoding") === "UTF-8",
  };
}

type TableRow = { readonly name: string; readonly type: string; readonly wr: number };
type ColumnRow = {
  readonly name: string;
  readonly type: string;
  readonly pk: number;
  readonly hidden: number;
};

function planTable(db: DatabaseSync, piece: Piece, list: readonly TableRow[]): TablePlan {
  const module = /^CREATE\s+VIRTUAL\s+TABLE\s[\s\S]*?\sUSING\s+["[`]?(\w+)/i.exec(piece.sql)?.[1];
  if (module !== undefined) return planVirtual(db, piece, module.toLowerCase());
  const all = columnsOf(db, piece.name);
  const withoutRowid = list.find((row) => row.name === piece.name)?.wr === 1;
  const indexes = db.prepare("SELECT origin FROM pragma_index_list(?)").all(piece.name);
  const isAlias = all.some((c) => c.pk > 0) && !indexes.some((index) => index["origin"] === "pk");
  const taken = new Set(all.map((c) => c.name.toLowerCase()));
  const rowid =
    withoutRowid || isAlias
      ? undefined
      : ["rowid", "_rowid_", "oid"].find((name) => !taken.has(name));
  const keyColumns = all.filter((c) => c.pk > 0).sort((a, b) => a.pk - b.pk);
  return measured(db, {
    ...piece,
    ...plain,
    columns: all.filter((c) => c.hidden === 0).map((c) => c.name),
    rowid,
    from: `main.${quoted(piece.name)} AS T`,
    fromRowid: rowid === undefined ? undefined : `T.${rowid}`,
    key: rowid === undefined ? keyColumns.map((c) => c.name) : [rowid],
  });
}

const plain = { isIndex: false, before: [], after: [] } as const;

function planVirtual(db: DatabaseSync, piece: Piece, module: string): TablePlan {
  const { name, sql } = piece;
  if (!allowedModules.has(module)) {
    throw new Failure(
      `${name} is a virtual table of the module "${module}", which a cluster does not have`,
      `It has ${[...allowedModules].join(", ")}. Work on a copy of the file without it: DROP TABLE ${quoted(name)};`,
    );
  }
  const columns = columnsOf(db, name)
    .filter((c) => c.hidden === 0)
    .map((c) => c.name);
  const from = `main.${quoted(name)} AS T`;
  const own = { ...piece, ...plain, columns, from };
  // It shows what is in a full-text index, and has no rows of its own.
  if (module === "fts5vocab") {
    return { ...own, rowid: undefined, fromRowid: undefined, key: [], rows: 0, bytes: 0 };
  }
  if (module.startsWith("rtree")) {
    return measured(db, { ...own, rowid: undefined, fromRowid: undefined, key: [columns[0]!] });
  }
  const byRowid = { ...own, rowid: "rowid", fromRowid: "T.rowid", key: ["rowid"] };
  if (module !== "fts5") return measured(db, byRowid);
  const index = textIndexOf(db, name, sql);
  const { before, after, content } = index;
  if (content === undefined) return measured(db, { ...byRowid, before, after });
  if (index.isEmpty) return { ...byRowid, before, after, isIndex: true, rows: 0, bytes: 0 };
  checkIndex(db, { name, sql, columns }, index);
  return measured(db, {
    ...byRowid,
    ...{ before, after, isIndex: true },
    from: indexedRows(name, index),
    fromRowid: `T.${quoted(index.contentRowid)}`,
  });
}

/** Counts its rows and bytes. Throws Failure when a row is larger than a cluster takes. */
function measured(db: DatabaseSync, table: Omit<TablePlan, "rows" | "bytes">): TablePlan {
  const sizes = table.columns.map((name) => `coalesce(octet_length(T.${quoted(name)}), 0)`);
  const keys = table.key.map((name) =>
    name === table.rowid ? table.fromRowid! : `T.${quoted(name)}`,
  );
  // Beside max(), SQLite gives the other columns of the row that has the largest value.
  const columns = [`${sumOf(sizes)} AS n`, ...keys.map((key, i) => `quote(${key}) AS k${i}`)];
  const each = `SELECT ${columns.join(", ")} FROM ${table.from}`;
  const row = db
    .prepare(`SELECT count(*) AS rows, sum(n) AS bytes, max(n) AS largest, * FROM (${each})`)
    .get()!;
  const largest = Number(row["largest"] ?? 0);
  if (largest > limits.valueBytesMax) {
    const which = table.key.map((name, i) => `${name} ${String(row[`k${i}`]).slice(0, 100)}`);
    throw new Failure(
      `table ${table.name}: the row with ${which.join(", ")} has ${plural(largest, "byte")}; ` +
        `a cluster takes rows and values of up to ${plural(limits.valueBytesMax, "byte")}`,
      "Work on a copy of the file in which that value is split over several rows.",
    );
  }
  return { ...table, rows: Number(row["rows"]), bytes: Number(row["bytes"] ?? 0) };
}

/** Nested by hundreds: SQLite bounds the depth of an expression. */
function sumOf(terms: readonly string[]): string {
  if (terms.length === 0) return "0";
  if (terms.length <= 100) return terms.join(" + ");
  const groups: string[] = [];
  for (let at = 0; at < terms.length; at += 100)
    groups.push(`(${terms.slice(at, at + 100).join(" + ")})`);
  return groups.join(" + ");
}

function columnsOf(db: DatabaseSync, table: string): ColumnRow[] {
  return db
    .prepare("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?)")
    .all(table) as ColumnRow[];
}

function tableOfIndex(db: DatabaseSync, { name }: Piece): string {
  const row = db.prepare("SELECT tbl_name FROM sqlite_schema WHERE name = ?").get(name);
  return String(row?.["tbl_name"]);
}

function sequencesOf(db: DatabaseSync): { name: string; seq: bigint }[] {
  const exists = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").get();
  if (exists === undefined) return [];
  const query = db.prepare("SELECT name, seq FROM sqlite_sequence WHERE typeof(seq) = 'integer'");
  query.setReadBigInts(true);
  return query.all() as { name: string; seq: bigint }[];
}

function single(db: DatabaseSync, sql: string): unknown {
  return Object.values(db.prepare(sql).get()!)[0];
}
