/**
 * What is in the file, and how each thing is carried over. Made before anything is done to the cluster.
 *
 * Tables come first, then rows, then indexes, views and triggers: so no trigger fires for a row that was there
 * before, and indexes are built once. Left out: `sqlite_stat*` (ANALYZE makes them anew), the tables inside a virtual
 * table (it makes them itself) and our own position table.
 */

import type { DatabaseSync } from "node:sqlite";
import { quoted } from "../../db/sql/quoted.ts";
import { Failure } from "../terminal.ts";

/** Something that is made by one statement. */
export type Piece = { readonly type: string; readonly name: string; readonly sql: string };

export type TablePlan = Piece & {
  /** Columns that are written, in order. Generated and hidden ones are not. */
  readonly columns: readonly string[];
  /** Name by which the rowid is read and written; undefined when a column holds it or there is none. */
  readonly rowid: string | undefined;
  /** A second copy of a row is recognised as one: by rowid or primary key. */
  readonly hasKey: boolean;
  readonly rows: number;
  /** Full-text index over another table: filled from that table, not from rows of its own. */
  readonly rebuild: boolean;
  readonly withoutRowid: boolean;
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
  readonly rows: number;
  readonly isUtf8: boolean;
};

/** Virtual tables whose content can be read and written as rows. */
const modules: ReadonlySet<string> = new Set([
  "fts3",
  "fts4",
  "fts5",
  "rtree",
  "rtree_i32",
  "geopoly",
]);

export function planImport(db: DatabaseSync): Plan {
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
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
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
  return {
    ...piece,
    columns: all.filter((c) => c.hidden === 0).map((c) => c.name),
    rowid,
    hasKey: withoutRowid || isAlias || rowid !== undefined,
    rows: countRows(db, piece.name),
    rebuild: false,
    withoutRowid,
  };
}

function planVirtual(db: DatabaseSync, piece: Piece, module: string): TablePlan {
  const { name, sql } = piece;
  if (!modules.has(module)) {
    throw new Failure(
      `${name} is a virtual table of the module "${module}", which a cluster does not have`,
      `Known are ${[...modules].join(", ")}. Work on a copy of the file without it: DROP TABLE ${quoted(name)};`,
    );
  }
  const content = /[(,]\s*content\s*=\s*("[^"]*"|'[^']*'|[^\s,)]*)/i.exec(sql)?.[1];
  const of = content?.replace(/^["']|["']$/g, "");
  if (module.startsWith("fts") && of === "") {
    throw new Failure(
      `${name} is a full-text index without its texts (content=''), so there is nothing to copy`,
      `Work on a copy of the file without it, DROP TABLE ${quoted(name)};, and fill it again afterwards`,
    );
  }
  const rebuild = module.startsWith("fts") && of !== undefined;
  const isTree = module.startsWith("rtree");
  return {
    ...piece,
    columns: columnsOf(db, name)
      .filter((c) => c.hidden === 0)
      .map((c) => c.name),
    rowid: isTree ? undefined : "rowid",
    hasKey: true,
    rows: rebuild ? 0 : countRows(db, name),
    rebuild,
    withoutRowid: false,
  };
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

function countRows(db: DatabaseSync, table: string): number {
  return Number(single(db, `SELECT count(*) FROM ${quoted(table)}`));
}

function single(db: DatabaseSync, sql: string): unknown {
  return Object.values(db.prepare(sql).get()!)[0];
}
