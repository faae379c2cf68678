import assert from "node:assert/strict";
import type { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { TransactionEnded } from "./client-transaction.ts";
import type { GroupRun } from "./group-commit.ts";
import type { SqlRequest, Unit } from "./request.ts";
import { execute, integer, TestWriter, text, transaction, unit } from "./test-database.ts";

function writer(...schema: string[]): TestWriter {
  const made = new TestWriter();
  for (const sql of ["CREATE TABLE t(a INTEGER PRIMARY KEY, b)", ...schema]) made.db.exec(sql);
  return made;
}

const insert = (a: number): Unit =>
  unit(execute("insert into t values(?, ?)", integer(a), text("x")));

/** For each unit its results' codes, "ok" where there is none. */
function codes(run: GroupRun): string[][] {
  return run.outcomes.map(({ results }) =>
    results.map((result) => {
      const parsed = JSON.parse(result) as Record<string, Record<string, unknown>>;
      const steps = (parsed["response"]?.["result"] as Record<string, unknown>)?.["step_errors"];
      const errors = (steps ?? [parsed["error"] ?? null]) as ({ code: string } | null)[];
      return errors.map((error) => error?.code).find((code) => code !== undefined) ?? "ok";
    }),
  );
}

const wrote = (run: GroupRun) => run.outcomes.map((outcome) => outcome.wrote);
const keys = (w: TestWriter) => w.rows("select a from t order by a").flat();

test("one unit's failure is its own", () => {
  const w = writer("INSERT INTO t VALUES (5, 'there')");
  const run = w.run([
    insert(1),
    insert(5),
    unit(
      transaction("BEGIN IMMEDIATE", "insert into t values(2, 0)", "insert into t values(5, 0)"),
    ),
    unit(transaction("BEGIN", "insert into t values(3, 0)", "update t set b = 1 where a = 3")),
    unit("insert into t values(6, 0)", "insert into t values(6, 0)", "insert into t values(7, 0)"),
    unit("select count(*) from t"),
  ]);
  assert.deepEqual(codes(run), [
    ["ok"],
    ["SQLITE_CONSTRAINT"],
    ["SQLITE_CONSTRAINT"],
    ["ok"],
    ["ok", "SQLITE_CONSTRAINT", "ok"],
    ["ok"],
  ]);
  assert.deepEqual(wrote(run), [true, false, false, true, true, false]);
  assert.deepEqual(keys(w), [1, 3, 5, 6, 7]);
  assert.deepEqual(w.stored(), w.position);
  assert.match(run.outcomes[0]!.results[0]!, /"replication_index":"1"/);
  assert.match(run.outcomes[1]!.results[0]!, /SQLITE_CONSTRAINT_PRIMARYKEY/);
  assert.match(run.outcomes[5]!.results[0]!, /"replication_index":null/);
  assert.equal(run.committed, true);
});

test("what destroys the outer transaction costs others nothing", () => {
  const w = writer(
    "INSERT INTO t VALUES (5, 'there')",
    "CREATE TRIGGER g BEFORE INSERT ON t WHEN new.a = 9 BEGIN SELECT RAISE(ROLLBACK, 'nine'); END",
  );
  const run = w.run([
    insert(1),
    unit("insert or rollback into t values(5, 0)"),
    insert(2),
    unit(transaction("BEGIN", "insert into t values(3, 0)", "insert into t values(9, 0)")),
    insert(4),
  ]);
  assert.deepEqual(codes(run), [
    ["ok"],
    ["SQLITE_CONSTRAINT"],
    ["ok"],
    ["SQLITE_CONSTRAINT"],
    ["ok"],
  ]);
  assert.deepEqual(keys(w), [1, 2, 4, 5]);
  assert.deepEqual(wrote(run), [true, false, true, false, true]);
});

test("a deferred foreign key fails the transaction that broke it, and no other", () => {
  const w = writer("CREATE TABLE child(p REFERENCES t(a) DEFERRABLE INITIALLY DEFERRED)");
  const strict = (each: Unit): Unit => ({ ...each, foreignKeys: true });
  const orphan = "insert into child values(77)";
  const run = w.run([
    strict(insert(1)),
    strict(unit(orphan)),
    strict(unit(transaction("BEGIN", "insert into t values(2, 0)", orphan))),
    strict(unit(transaction("BEGIN", "insert into child values(3)", "insert into t values(3, 0)"))),
    unit(orphan),
  ]);
  const broken = "SQLITE_CONSTRAINT";
  assert.deepEqual(codes(run), [["ok"], [broken], [broken], ["ok"], ["ok"]]);
  assert.deepEqual(keys(w), [1, 3]);
  assert.deepEqual(w.rows("select p from child order by p"), [[3], [77]]);
});

test("a deferred foreign key that a later statement or unit would mend is broken all the same", () => {
  const w = writer("CREATE TABLE child(p REFERENCES t(a) DEFERRABLE INITIALLY DEFERRED)");
  const strict = (each: Unit): Unit => ({ ...each, foreignKeys: true });
  const orphan = "insert into child values(77)";
  const run = w.run([
    strict(unit(orphan, "delete from child")),
    strict(unit(orphan)),
    strict(insert(77)),
    strict(unit(orphan)),
  ]);
  const broken = "SQLITE_CONSTRAINT";
  assert.deepEqual(codes(run), [[broken, "ok"], [broken], ["ok"], ["ok"]]);
  assert.deepEqual(w.rows("select p from child"), [[77]]);
});

test("FAIL keeps what was done before it, alone or beside others", () => {
  const w = writer("INSERT INTO t VALUES (5, 'there')");
  const failing = unit("insert or fail into t values(3, 0), (5, 0), (6, 0)");
  const alone = w.run([failing]);
  assert.deepEqual(wrote(alone), [true]);
  assert.deepEqual(keys(w), [3, 5]);
  w.db.exec(
    "CREATE TRIGGER g AFTER INSERT ON t WHEN new.a = 8 BEGIN SELECT RAISE(FAIL, 'no'); END",
  );
  assert.deepEqual(wrote(w.run([unit("insert into t values(7, 0), (8, 0)")])), [true]);
  assert.deepEqual(wrote(w.run([unit("insert into t values(9, 0), (5, 0)")])), [false]);
  w.db.exec("DELETE FROM t WHERE a > 6");
  const inBatch = unit(transaction("BEGIN", "insert or fail into t values(4, 0), (5, 0)"));
  assert.deepEqual(wrote(w.run([insert(1), inBatch])), [true, false]);
  assert.deepEqual(keys(w), [1, 3, 5]);
});

test("nothing is committed when nothing has changed", () => {
  const w = writer("CREATE TRIGGER g AFTER UPDATE ON t BEGIN DELETE FROM t; END");
  const run = w.run([
    unit("select 1"),
    unit("delete from t where a = 1"),
    unit("create table if not exists t(z)"),
    unit(transaction("BEGIN", "insert into t values(1, 1)", "insert into t values(1, 1)")),
    unit("begin", "insert into t values(1, 1)", "rollback"),
    unit("pragma foreign_keys = on"),
    unit("update t set b = 1 where a = 99"),
  ]);
  assert.equal(run.committed, false);
  assert.deepEqual(wrote(run), Array(7).fill(false));
  assert.equal(w.stored().lsn, 0);
});

test("changes through views and triggers count", () => {
  const w = writer(
    "CREATE VIEW v AS SELECT * FROM t",
    "CREATE TRIGGER g INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES (new.a, new.b); END",
  );
  const run = w.run([unit("insert into v values(1, 2)")]);
  assert.deepEqual(wrote(run), [true]);
  assert.deepEqual(keys(w), [1]);
});

test("an open transaction ends the run and is continued by the next", () => {
  const w = writer();
  const first = w.run([insert(1), unit("begin", "insert into t values(2, 0)"), insert(3)]);
  assert.equal(first.outcomes.length, 2);
  assert.equal(first.open, true);
  assert.deepEqual(wrote(first), [true, false]);
  assert.equal(first.outcomes[1]!.inTransaction, true);
  const second = w.run([unit("insert into t values(4, 0)")], "continue");
  assert.deepEqual([second.open, second.committed], [true, false]);
  const third = w.run([unit("commit", "insert into t values(5, 0)")], "continue");
  assert.deepEqual([third.open, third.committed, ...wrote(third)], [false, true, true]);
  assert.deepEqual(keys(w), [1, 2, 4, 5]);
  assert.deepEqual(w.stored(), w.position);
  w.run([unit("savepoint s", "delete from t")]);
  const gone = w.run([insert(6)], "rollback");
  assert.deepEqual([gone.open, gone.committed], [false, true]);
  assert.deepEqual(keys(w), [1, 2, 4, 5, 6]);
});

test("a transaction nobody could foresee to stay open stays open all the same", () => {
  const w = writer();
  const hidden: SqlRequest = {
    type: "batch",
    steps: [
      { stmt: { sql: "begin", args: [], namedArgs: [], wantRows: false }, condition: undefined },
      {
        stmt: { sql: "commit", args: [], namedArgs: [], wantRows: false },
        condition: { type: "is_autocommit" },
      },
    ],
  };
  const run = w.run([
    insert(1),
    { requests: [execute("insert into t values(2, 0)"), hidden] },
    insert(3),
  ]);
  assert.deepEqual([run.outcomes.length, run.open], [2, true]);
  w.run([], "rollback");
  assert.deepEqual(keys(w), [1, 2]);
});

test("savepoints of clients nest and end as they would alone", () => {
  const w = writer();
  const script = (sql: string): Unit => unit({ type: "sequence", sql });
  const run = w.run([
    script(
      "savepoint a; insert into t values(1,0); savepoint A; insert into t values(2,0);" +
        "rollback to a; release a; release a",
    ),
    script(
      "begin; savepoint x; insert into t values(3,0); rollback to x; insert into t values(4,0); release x; commit",
    ),
    script("savepoint y; insert into t values(5,0); rollback"),
    script("savepoint z; insert into t values(6,0); commit"),
  ]);
  assert.deepEqual(codes(run), [["ok"], ["ok"], ["ok"], ["ok"]]);
  assert.deepEqual(keys(w), [1, 4, 6]);
});

test("a READONLY transaction does not write", () => {
  const w = writer();
  const run = w.run([
    unit(transaction("BEGIN TRANSACTION READONLY", "insert into t values(1, 1)")),
  ]);
  assert.deepEqual(codes(run), [["SQLITE_READONLY"]]);
  assert.deepEqual(codes(w.run([unit("begin readonly", "select 1", "commit")])), [
    ["ok", "ok", "ok"],
  ]);
  assert.deepEqual(keys(w), []);
});

test("settings are their stream's and nobody else's", () => {
  const w = writer("CREATE TABLE child(p REFERENCES t(a))");
  const orphan = "insert into child values(77)";
  const run = w.run([
    unit("pragma foreign_keys = on", "pragma recursive_triggers = on", orphan),
    unit(orphan),
    unit("pragma foreign_keys", "pragma recursive_triggers"),
  ]);
  assert.deepEqual(codes(run), [["ok", "ok", "SQLITE_CONSTRAINT"], ["ok"], ["ok", "ok"]]);
  const { connection } = run.outcomes[0]!;
  assert.deepEqual(connection?.settings, { foreign_keys: "1", recursive_triggers: "1" });
  assert.deepEqual(run.outcomes[1]!.connection?.settings, {});
  assert.match(run.outcomes[2]!.results.join(), /"value":"0".*"value":"0"/);
  const again = w.run([{ ...unit("pragma recursive_triggers", orphan), connection }]);
  assert.deepEqual(codes(again), [["ok", "SQLITE_CONSTRAINT"]]);
  assert.match(again.outcomes[0]!.results[0]!, /"value":"1"/);
  // As client.migrate() does.
  const migrate = w.run([
    unit(
      "pragma foreign_keys=off",
      transaction("BEGIN DEFERRED", orphan),
      "pragma foreign_keys=on",
    ),
  ]);
  assert.deepEqual(codes(migrate), [["ok", "ok", "ok"]]);
  assert.equal(migrate.outcomes[0]!.connection?.settings["foreign_keys"], "1");
});

test("VACUUM runs by itself and carries the position", () => {
  const w = writer("INSERT INTO t VALUES (1, zeroblob(100000))", "DELETE FROM t");
  const before = w.rows("pragma page_count");
  const run = w.run([insert(1), unit("vacuum"), insert(2), unit("begin", "vacuum", "rollback")]);
  assert.deepEqual(codes(run), [["ok"], ["ok"], ["ok"], ["ok", "SQLITE_ERROR", "ok"]]);
  assert.deepEqual(wrote(run), [true, true, true, false]);
  assert.notDeepEqual(w.rows("pragma page_count"), before);
  assert.deepEqual(w.stored(), w.position);
  assert.deepEqual(keys(w), [1, 2]);
});

test("a mark in front of COMMIT ends nothing that others are in", () => {
  const w = writer();
  const others = Array.from({ length: 8 }, (_, at) => insert(10 + at));
  const run = w.run([
    ...others.slice(0, 4),
    unit("create table made(a)", "insert into made values(1)", "\ufeffCOMMIT"),
    unit("insert into t values(1, 0)", "\ufeff END", "\ufeff/**/ROLLBACK", "\v COMMIT"),
    ...others.slice(4),
  ]);
  const failed = "SQLITE_ERROR";
  assert.deepEqual(codes(run).slice(4, 6), [
    ["ok", "ok", failed],
    ["ok", failed, failed, failed],
  ]);
  assert.ok(
    codes(run)
      .flat()
      .filter((code) => code === "ok").length === 11,
  );
  assert.deepEqual(keys(w), [1, 10, 11, 12, 13, 14, 15, 16, 17]);
  assert.deepEqual(w.rows("select * from made"), [[1]]);
});

test("nothing is answered once the transaction of all was ended behind our back", () => {
  for (const planted of ["COMMIT", "ROLLBACK"]) {
    let statements = 0;
    const onStatement = (w: { db: DatabaseSync }) => {
      if (++statements === 2) w.db.exec(planted);
    };
    const shared = new TestWriter(undefined, onStatement);
    shared.db.exec("CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    assert.throws(() => shared.run([insert(1), insert(2), insert(3)]), TransactionEnded);
    statements = 1;
    const reading = new TestWriter(undefined, onStatement);
    assert.throws(() => reading.run([unit("select 1"), unit("select 2")]), TransactionEnded);
  }
  // Alone, the transaction is one of SQLite's own.
  let began = 0;
  const alone = new TestWriter(undefined, ({ db }) => {
    if (++began === 2) db.exec("COMMIT");
  });
  assert.throws(() => alone.run([unit("begin", "select 1")]), TransactionEnded);
  const unnoticed = new TestWriter(undefined, ({ db }) => db.exec("INSERT INTO t VALUES (1)"));
  unnoticed.db.exec("CREATE TABLE t(a)");
  assert.throws(() => unnoticed.run([unit("select 1")]), TransactionEnded);
});
