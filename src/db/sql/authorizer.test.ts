import assert from "node:assert/strict";
import { test } from "node:test";
import { TestWriter, unit } from "./test-database.ts";

type Result = { type: string; error: { code: string; message: string } };

function results(w: TestWriter, ...sql: string[]): Result[] {
  return w.results(unit(...sql)) as Result[];
}

test("what is denied is refused as BLOCKED, with a reason", () => {
  const w = new TestWriter();
  w.db.exec("CREATE TABLE t(a)");
  const denied = [
    "ATTACH '/etc/passwd' AS p",
    "attach '' as p",
    "attach 'a' || 'b' as p",
    "DETACH main",
    "VACUUM INTO '/tmp/paceline-must-not-exist.db'",
    "vacuum main into '/tmp/paceline-must-not-exist.db'",
    "CREATE TEMP TABLE q(a)",
    "create temporary view q as select 1",
    "create table temp.q(a)",
    "create temp trigger q after insert on t begin select 1; end",
    "create virtual table temp.q using fts5(a)",
    "CREATE VIRTUAL TABLE q USING dbstat",
    "create virtual table q using fts3(a)",
    "select load_extension('x')",
    "select fts3_tokenizer('x')",
    "UPDATE sqlite_paceline SET lsn = 1",
    'delete from main."sqlite_paceline"',
    "INSERT INTO sqlite_Paceline VALUES(1, 1)",
    "with a as (select 1) update sqlite_paceline set lsn = 2",
    "savepoint paceline_unit",
    'release "Paceline_unit"',
    "PRAGMA journal_mode = DELETE",
    "pragma /* x */ main.journal_mode(off)",
    "pragma locking_mode = exclusive",
    "pragma writable_schema = on",
    "explain pragma writable_schema = on",
    "pragma schema_version = 7",
    "pragma temp_store_directory = '/'",
    "pragma no_such_thing",
    "select * from pragma_wal_checkpoint",
  ];
  for (const sql of denied) {
    const [result] = results(w, sql);
    // Some table-valued pragmas do not exist at all.
    if (sql.endsWith("pragma_wal_checkpoint")) assert.equal(result!.error.code, "SQLITE_ERROR");
    else assert.equal(result!.error?.code, "BLOCKED", `${sql}: ${JSON.stringify(result)}`);
  }
  assert.equal(w.stored().lsn, 0);
});

test("what ordinary programs need is allowed", () => {
  const w = new TestWriter();
  const allowed = [
    "create table t(id integer primary key autoincrement, a text unique, b)",
    "create index ti on t(b)",
    "create view v as select * from t",
    "create trigger g after insert on t begin update t set b = new.id where id = new.id; end",
    "insert into t(a) values('x')",
    "select * from pragma_table_info('t')",
    "select * from sqlite_master, sqlite_sequence",
    "select term, lsn from sqlite_paceline",
    "alter table t add column c",
    "alter table t rename column c to d",
    "alter table t drop column d",
    "alter table t rename to s",
    "create virtual table f using fts5(a)",
    "insert into f values('hello world')",
    "insert into f(f) values('optimize')",
    "select * from f('hello')",
    "drop table f",
    "create virtual table r using rtree(id, a, b)",
    "insert into r values(1, 2, 3)",
    "with recursive n(x) as (select 1 union all select x + 1 from n limit 5) select * from n",
    "analyze",
    "reindex",
    "vacuum",
    "pragma optimize",
    "pragma user_version = 3",
    "pragma user_version",
    "pragma integrity_check",
    "select * from pragma_database_list",
    "pragma database_list",
    "pragma incremental_vacuum",
    "pragma query_only = off",
    "pragma trusted_schema = on",
    "pragma busy_timeout = 100000",
    "pragma mmap_size = 1",
    "PRAGMA synchronous = OFF",
    "pragma wal_autocheckpoint = 1",
    "pragma wal_checkpoint(truncate)",
    "PRAGMA wal_checkpoint",
    "pragma foreign_key_check",
    "PRAGMA journal_mode = WAL",
    "pragma table_info(s)",
    "drop view v",
    "create table if not exists s(x)",
  ];
  for (const sql of allowed) {
    const [result] = results(w, sql);
    assert.equal(result!.type, "ok", `${sql}: ${JSON.stringify(result)}`);
  }
  assert.deepEqual(w.rows("pragma user_version"), [[3]]);
  assert.deepEqual(w.rows("pragma integrity_check"), [["ok"]]);
});

test("a trigger cannot do what its author may not", () => {
  const w = new TestWriter();
  const [, trigger, insert] = results(
    w,
    "create table t(a)",
    "create trigger g after insert on t begin update sqlite_paceline set lsn = 99; end",
    "insert into t values(1)",
  );
  // SQLite refuses either the trigger or what fires it.
  assert.ok([trigger!, insert!].some((result) => result.error?.code === "BLOCKED"));
  assert.deepEqual(w.rows("select count(*) from t"), [[0]]);
});
