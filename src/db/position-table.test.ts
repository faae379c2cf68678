/** The position table stays out of sight of programs that list tables, through everything that changes a schema. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { becomePositionTable, hideTemporary, positionTable, vacuum } from "./position-table.ts";

function fresh(): DatabaseSync {
  const db = new DatabaseSync(":memory:", { defensive: true });
  db.exec("CREATE TABLE p(term INTEGER, lsn INTEGER); INSERT INTO p VALUES (3, 42)");
  becomePositionTable(db, "p");
  return db;
}

function tables(db: DatabaseSync): unknown[] {
  const rows = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1").all();
  return rows.map((row) => row["name"]);
}

function position(db: DatabaseSync): unknown {
  return { ...db.prepare(`SELECT term, lsn FROM ${positionTable}`).get() };
}

test("programs that list tables do not see it", () => {
  const db = fresh();
  db.exec("CREATE TABLE t(a)");
  assert.deepEqual(tables(db), ["t"]);
  assert.deepEqual(position(db), { term: 3, lsn: 42 });
});

test("it outlives changes of the schema and VACUUM, and stays out of sight", () => {
  const db = fresh();
  db.exec("CREATE TABLE t(a UNIQUE); CREATE TABLE u(a REFERENCES t(a)); CREATE INDEX i ON u(a)");
  db.exec("ALTER TABLE t RENAME TO v; ALTER TABLE v RENAME COLUMN a TO b; ANALYZE; REINDEX");
  vacuum(db, () => db.exec("VACUUM"));
  assert.deepEqual(position(db), { term: 3, lsn: 42 });
  assert.deepEqual(tables(db), ["sqlite_stat1", "u", "v"]);
  assert.deepEqual({ ...db.prepare("PRAGMA integrity_check").get() }, { integrity_check: "ok" });
});

test("VACUUM alone would lose it", () => {
  const db = fresh();
  db.exec("VACUUM");
  assert.throws(() => position(db), /no such table/);
});

test("VACUUM that fails leaves it out of sight", () => {
  const db = fresh();
  const fail = () =>
    vacuum(db, () => {
      throw new Error("stopped");
    });
  assert.throws(fail, /stopped/);
  assert.deepEqual(tables(db), []);
  assert.deepEqual(position(db), { term: 3, lsn: 42 });
});

test("VACUUM hides the table of a database that an older version made", () => {
  const db = fresh();
  db.enableDefensive(false);
  db.exec("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET type = 'table'");
  db.exec("PRAGMA writable_schema = RESET");
  assert.deepEqual(tables(db), [positionTable]);
  vacuum(db, () => db.exec("VACUUM"));
  assert.deepEqual(tables(db), []);
});

test("TEMP tables and views of ours are out of sight, work, and can be dropped", () => {
  const db = fresh();
  db.exec("CREATE TEMP TABLE o(a); CREATE TEMP VIEW v AS SELECT 7 AS a; CREATE TABLE t(a)");
  hideTemporary(db);
  const seen = "SELECT name FROM sqlite_temp_master WHERE type IN ('table', 'view')";
  assert.deepEqual(db.prepare(seen).all(), []);
  db.exec("INSERT INTO o VALUES (1); ALTER TABLE t RENAME TO u; INSERT INTO o SELECT a FROM v");
  assert.equal(db.prepare("SELECT count(*) AS n FROM temp.o").get()!["n"], 2);
  db.exec("DROP TABLE o; DROP VIEW v");
  assert.deepEqual(db.prepare("SELECT name FROM sqlite_temp_master").all(), []);
});
