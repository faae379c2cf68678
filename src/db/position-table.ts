/**
 * `sqlite_paceline(term, lsn)`: the table of one row inside every database that says up to which position of the log
 * it is.
 *
 * The schema lists it with the type 'TABLE', in capitals. SQLite accepts that, because it compares the type without
 * regard to case [build.c, sqlite3CheckObjectName]; programs that list tables ask for `type = 'table'` and do not see
 * it. Otherwise a schema tool would want to drop it, since none of its models has such a table.
 *
 * VACUUM asks for `type = 'table'` as well, and would leave the table out: so it is listed as an ordinary one while
 * VACUUM runs. Databases of older versions list it as an ordinary table; VACUUM makes them like the others.
 */

import type { DatabaseSync } from "node:sqlite";

export const positionTable = "sqlite_paceline";

/** Makes a table of two columns the position table. */
export function becomePositionTable(db: DatabaseSync, name: string): void {
  const sql = `CREATE TABLE ${positionTable}(term INTEGER, lsn INTEGER)`;
  const columns = `type = 'TABLE', name = '${positionTable}', tbl_name = '${positionTable}'`;
  changeSchema(db, `UPDATE sqlite_schema SET ${columns}, sql = '${sql}' WHERE name = '${name}'`);
}

/** Runs VACUUM, as `run` does it. Outside of transactions; three of them are committed. */
export function vacuum(db: DatabaseSync, run: () => void): void {
  list(db, "table");
  try {
    run();
  } finally {
    list(db, "TABLE");
  }
}

/**
 * Makes a TEMP table of one column, x, if there is none. Nobody else can give a table its name, which begins with
 * `sqlite_`.
 */
export function makeTemporary(db: DatabaseSync, name: string): void {
  if (db.prepare("SELECT 1 FROM temp.sqlite_schema WHERE name = ?").get(name) !== undefined) return;
  db.exec("CREATE TEMP TABLE paceline_new(x)");
  const columns = `name = '${name}', tbl_name = '${name}', sql = 'CREATE TABLE ${name}(x)'`;
  changeSchema(db, `UPDATE temp.sqlite_schema SET ${columns} WHERE name = 'paceline_new'`);
}

/** TEMP tables and views of ours: what lists those does not see them either. */
export function hideTemporary(db: DatabaseSync): void {
  const listed = "type IN ('table', 'view')";
  changeSchema(db, `UPDATE temp.sqlite_schema SET type = upper(type) WHERE ${listed}`, "OFF");
}

function list(db: DatabaseSync, type: string): void {
  changeSchema(db, `UPDATE sqlite_schema SET type = '${type}' WHERE name = '${positionTable}'`);
}

/** RESET: the connection reads the schema anew. SQLite keeps no types in memory, so after those OFF will do. */
function changeSchema(db: DatabaseSync, sql: string, after: "OFF" | "RESET" = "RESET"): void {
  db.enableDefensive(false);
  try {
    db.exec(`PRAGMA writable_schema = ON; ${sql}`);
  } finally {
    db.exec(`PRAGMA writable_schema = ${after}`);
    db.enableDefensive(true);
  }
}
