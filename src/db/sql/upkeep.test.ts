// Which statements may take as long as the database is large.

import assert from "node:assert/strict";
import { test } from "node:test";
import { GroupCommit } from "./group-commit.ts";
import { hasUpkeep } from "./shape.ts";
import { TestWriter, unit } from "./test-database.ts";

test("work on whole tables is told from statements that may run away", () => {
  const { db } = new TestWriter();
  db.setAuthorizer(null);
  db.exec("CREATE TABLE t (a); CREATE INDEX i ON t (a); CREATE VIRTUAL TABLE f USING fts5(b)");
  let told = 0;
  const watch = { onUnit() {}, onStatement() {}, onUpkeep: () => told++ };
  const group = new GroupCommit(db, watch);
  let lsn = 0;
  const isTold = (sql: string): boolean => {
    told = 0;
    lsn++;
    const { outcomes } = group.run([unit(sql)], { lsn, term: 1 } as never, "none");
    assert.match(outcomes[0]!.results[0]!, /^\{"type":"ok"/, sql);
    return told > 0;
  };
  for (const sql of [
    "VACUUM",
    "REINDEX t",
    "ANALYZE",
    "CREATE UNIQUE INDEX j ON t (a)",
    "alter table t add column c",
    "DROP INDEX j",
    "INSERT INTO f(f) VALUES ('rebuild')",
    'insert into "f" ("f") values (\'optimize\')',
  ]) {
    assert.ok(isTold(sql), sql);
    assert.ok(hasUpkeep(unit(sql)), sql);
  }
  const endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 9)";
  for (const sql of [
    "INSERT INTO t (a) VALUES (1)",
    `INSERT INTO t (a) ${endless} SELECT x FROM n`,
    `CREATE TABLE u AS ${endless} SELECT x FROM n`,
    "UPDATE t SET a = 2",
    "DELETE FROM t",
    "EXPLAIN VACUUM",
  ]) {
    assert.ok(!isTold(sql), sql);
  }
});
