import assert from "node:assert/strict";
import { test } from "node:test";
import type { SqlRequest } from "../sql/request.ts";
import { execute, transaction, unit } from "../sql/test-database.ts";
import { accessOf, controlOf, mayCommit, readsNothing, touchesTransaction } from "./access.ts";

function check(expected: ReturnType<typeof accessOf>, ...requests: (SqlRequest | string)[]): void {
  assert.equal(accessOf(unit(...requests)), expected, JSON.stringify(requests));
}

test("single statements", () => {
  const reads = [
    "select 1",
    "VALUES (1)",
    "-- insert\n select 'insert'",
    "/* delete */ SELECT 1;",
    "explain insert into t values(1)",
    "explain query plan delete from t",
    "with a as (select 1) select * from a",
    "with insert_ as (select 1) select * from insert_",
    "select last_insert_rowid(), changes()",
    "pragma user_version",
    "pragma main.table_info(t)",
    "PRAGMA table_info = t",
    "pragma foreign_keys",
    "pragma integrity_check(10)",
    "pragma journal_mode = wal",
    "",
    "nonsense",
    "commit",
    "attach 'x' as y",
  ];
  for (const sql of reads) check("read", sql);
  const writes = [
    "insert into t values(1)",
    "  -- c\n replace into t values(1)",
    "with a as (select 1) insert into t select * from a",
    "with recursive a(x) as (values(1)) update t set b = 1",
    "delete from t returning *",
    "create table t(a)",
    "drop table t",
    "alter table t add b",
    "vacuum",
    "analyze",
    "reindex t",
    "pragma user_version = 5",
    "pragma main.user_version(5)",
    "pragma foreign_keys = on",
    "pragma foreign_keys(0)",
    "explain pragma foreign_keys = on",
    "pragma optimize",
    "begin immediate",
  ];
  for (const sql of writes) check("write", sql);
  for (const sql of ["begin", "begin deferred", "savepoint a"]) {
    check("deferred", sql);
    assert.equal(accessOf(unit(sql), "immediate"), "write", sql);
  }
});

test("transactions count by what they do and whether they end", () => {
  check("read", transaction("BEGIN TRANSACTION READONLY", "select 1"));
  check("read", transaction("BEGIN DEFERRED", "select 1", "select 2"));
  check("write", transaction("BEGIN DEFERRED", "select 1", "insert into t values(1)"));
  check("write", transaction("BEGIN IMMEDIATE", "select 1"));
  // It is refused, which any node can do.
  check("read", transaction("BEGIN TRANSACTION READONLY", "insert into t values(1)"));
  check("read-transaction", "begin readonly", "insert into t values(1)");
  check("read-transaction", "begin readonly", "select 1");
  check("read-transaction", execute("BEGIN TRANSACTION READONLY"));
  check("deferred", "begin deferred", "select 1");
  check("write", "begin", "select 1", "insert into t values(1)");
  check("read", "savepoint a", "select 1", "release a");
  check("read", "begin", "select 1", "rollback");
});

test("scripts, descriptions and questions", () => {
  check("read", { type: "sequence", sql: "select 1; select 2;" });
  check("write", { type: "sequence", sql: "select 1; insert into t values(1)" });
  check("read", { type: "describe", sql: "insert into t values(1)" });
  check("read", { type: "get_autocommit" });
});

test("what may have been committed when no answer came", () => {
  const yes = (inside: boolean, ...sql: string[]) =>
    assert.equal(mayCommit(unit(...sql), inside), true, sql.join("; "));
  const no = (inside: boolean, ...sql: string[]) =>
    assert.equal(mayCommit(unit(...sql), inside), false, sql.join("; "));
  yes(false, "insert into t values(1)");
  yes(false, "begin", "insert into t values(1)", "commit");
  yes(false, "begin", "insert into t values(1)", "rollback", "insert into t values(2)");
  no(false, "select 1");
  no(false, "begin immediate");
  no(false, "begin", "insert into t values(1)");
  no(false, "begin", "insert into t values(1)", "rollback");
  no(true, "insert into t values(1)");
  no(true, "insert into t values(1)", "select 1");
  no(true, "rollback");
  yes(true, "commit");
  yes(true, "release a");
  // The first may roll the transaction back by itself; the second is then on its own.
  yes(false, "begin", "insert or rollback into t values(1)", "insert into t values(2)");
  yes(true, "insert or rollback into t values(1)", "insert into t values(2)");
});

test("what may leave a transaction open", () => {
  assert.equal(touchesTransaction(unit("begin", "commit")), true);
  assert.equal(touchesTransaction(unit("savepoint a")), true);
  assert.equal(touchesTransaction(unit("insert into t values(1)", "commit")), false);
});

test("what surely reads no table", () => {
  const nothing = [
    "begin",
    "savepoint a",
    "rollback to a",
    "select 1",
    "values (1), (2)",
    "SELECT changes()",
  ];
  assert.equal(readsNothing(unit(...nothing)), true);
  const reads = [
    "select 1 from t",
    "SELECT 1 WHERE 2 IN t",
    "pragma user_version",
    "explain select 1",
    "with a as (select 1) select 1",
    "delete from t",
  ];
  for (const sql of reads) assert.equal(readsNothing(unit("begin", sql)), false, sql);
});

test("only what is surely good SQL about a transaction is answered without SQLite", () => {
  const good = [
    "BEGIN",
    "begin deferred transaction",
    "/* c */ COMMIT;",
    "END",
    "rollback transaction",
  ];
  const names = ["SAVEPOINT sp_1", 'savepoint "commit"', "SAVEPOINT [a b]", "SAVEPOINT s1"];
  for (const sql of [...good, ...names]) assert.ok(controlOf(execute(sql)), sql);
  const bad = [
    "SAVEPOINT commit",
    "SAVEPOINT",
    "SAVEPOINT a b",
    "BEGIN BEGIN",
    "COMMIT COMMIT",
    "BEGIN foo",
  ];
  const unsure = [
    "SAVEPOINT current_time",
    "SAVEPOINT paceline_unit",
    "ROLLBACK TO s1",
    "EXPLAIN BEGIN",
  ];
  for (const sql of [...bad, ...unsure]) assert.equal(controlOf(execute(sql)), undefined, sql);
});
