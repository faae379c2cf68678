import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { namedSteps } from "../../changes/named-steps.ts";
import type { RecordedTransaction } from "../../changes/steps.ts";
import type { SqlRequest, Unit } from "../sql/request.ts";
import { execute, TestWriter, unit } from "../sql/test-database.ts";

const both = { logKind: "pages", changes: true, statements: true } as const;

function subject(...schema: string[]): TestWriter {
  const writer = new TestWriter(both);
  writer.run([unit(...schema)]);
  return writer;
}

/** Runs units and gives what was recorded, as one line per step. */
function recordedBy(
  writer: TestWriter,
  ...units: Unit[]
): { changes: string[][]; statements: string[][] } {
  const { recorded } = writer.run(units);
  return { changes: lines(recorded?.changes), statements: lines(recorded?.statements) };
}

function lines(transactions: readonly RecordedTransaction[] | undefined): string[][] {
  return namedSteps(transactions ?? []).map((steps) =>
    steps.map((step) => {
      if (step.type === "sequence") return `${step.table} is at ${step.value}`;
      if (step.type === "statement") return `${step.statement.sql} [${step.statement.args.join()}]`;
      const row = (values: typeof step.before) =>
        values?.map(
          (value, i) => `${step.columns?.[i]}=${value ?? (value === null ? "NULL" : "")}`,
        );
      const { operation, table, before, after } = step;
      return `${operation} ${table} ${row(before) ?? "-"} > ${row(after) ?? "-"}`;
    }),
  );
}

const table = "CREATE TABLE t(id INTEGER PRIMARY KEY, v)";

test("each client transaction is recorded, as rows with names and as statements with arguments", () => {
  const writer = subject(table);
  const two: SqlRequest = execute("UPDATE t SET v = ? WHERE id = 1", { type: "text", value: "b" });
  const { changes, statements } = recordedBy(
    writer,
    unit("INSERT INTO t VALUES (1, 'a')"),
    unit("SELECT * FROM t"),
    unit("BEGIN", "INSERT INTO t VALUES (2, NULL)", two, "COMMIT"),
    unit("DELETE FROM t WHERE id = 7"),
  );
  // Within one transaction rows come in SQLite's order, not in that of the statements.
  assert.deepEqual(changes, [
    ["insert t - > id=1,v=a"],
    ["update t id=1,v=a > id=,v=b", "insert t - > id=2,v=NULL"],
  ]);
  assert.deepEqual(statements, [
    ["INSERT INTO t VALUES (1, 'a') []"],
    ["INSERT INTO t VALUES (2, NULL) []", "UPDATE t SET v = ? WHERE id = 1 [b]"],
  ]);
});

test("nothing is recorded of what was rolled back: a statement, a savepoint, a transaction, a session", () => {
  const writer = subject(table, "INSERT INTO t VALUES (1, 1)");
  const { changes, statements } = recordedBy(
    writer,
    unit("INSERT INTO t VALUES (1, 'again')"),
    unit("BEGIN", "INSERT INTO t VALUES (2, 2)", "ROLLBACK"),
    unit(
      ...["BEGIN", "INSERT INTO t VALUES (3, 3)", "SAVEPOINT s", "INSERT INTO t VALUES (4, 4)"],
      ...["CREATE TABLE u(id INTEGER PRIMARY KEY)", "SAVEPOINT s2", "INSERT INTO u VALUES (1)"],
      ...["ROLLBACK TO s", "INSERT INTO t VALUES (5, 5)", "RELEASE s", "COMMIT"],
    ),
    unit("INSERT INTO t VALUES (6, 6) RETURNING zeroblob(500000000)"),
    unit("INSERT OR ROLLBACK INTO t VALUES (1, 'again')"),
  );
  assert.deepEqual(changes, [["insert t - > id=3,v=3", "insert t - > id=5,v=5"]]);
  assert.deepEqual(statements, [
    ["INSERT INTO t VALUES (3, 3) []", "INSERT INTO t VALUES (5, 5) []"],
  ]);
  writer.run([unit("BEGIN", "INSERT INTO t VALUES (8, 8)")]);
  writer.run([unit("INSERT INTO t VALUES (9, 9)")], "continue");
  const after = writer.run([unit("INSERT INTO t VALUES (10, 10)")], "rollback");
  assert.deepEqual(lines(after.recorded?.changes), [["insert t - > id=10,v=10"]]);
});

test("a transaction over several runs is recorded where it ends", () => {
  const writer = subject(table);
  const first = writer.run([
    unit("INSERT INTO t VALUES (1, 1)"),
    unit("BEGIN", "INSERT INTO t VALUES (2, 2)"),
  ]);
  assert.deepEqual(lines(first.recorded?.statements), [["INSERT INTO t VALUES (1, 1) []"]]);
  assert.equal(writer.run([unit("INSERT INTO t VALUES (3, 3)")], "continue").recorded, undefined);
  const last = writer.run([unit("COMMIT")], "continue");
  assert.deepEqual(lines(last.recorded?.changes), [
    ["insert t - > id=2,v=2", "insert t - > id=3,v=3"],
  ]);
  assert.equal(lines(last.recorded?.statements).flat().length, 2);
});

test("schema changes travel as statements, in their place; tables without key by their rowid", () => {
  const writer = subject(
    table,
    "CREATE TABLE loose(a, b)",
    "CREATE VIRTUAL TABLE words USING fts5(w)",
  );
  const { changes } = recordedBy(
    writer,
    unit(
      ...["BEGIN", "INSERT INTO t VALUES (1, 1)", "ALTER TABLE t ADD COLUMN w DEFAULT 7"],
      ...["INSERT INTO t VALUES (2, 2, 2)", "INSERT INTO loose SELECT id, v FROM t"],
      ...["UPDATE t SET w = 8 WHERE id = 1", "DROP TABLE words", "COMMIT"],
    ),
    unit("PRAGMA user_version = 4"),
    unit("VACUUM"),
  );
  assert.deepEqual(changes, [
    [
      "insert t - > id=1,v=1",
      "ALTER TABLE t ADD COLUMN w DEFAULT 7 []",
      "update t id=1,v=,w=7 > id=,v=,w=8",
      "insert t - > id=2,v=2,w=2",
      "insert loose - > _rowid_=1,a=1,b=1",
      "insert loose - > _rowid_=2,a=2,b=2",
      "DROP TABLE words []",
    ],
    ["PRAGMA user_version = 4 []"],
    ["VACUUM []"],
  ]);
});

test("what triggers and foreign keys do is in the rows, marked; the numbers of AUTOINCREMENT too", () => {
  const writer = subject(
    ...["CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v)"],
    ...["CREATE TABLE log(id INTEGER PRIMARY KEY, v)"],
    ...["CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log(v) VALUES (new.id); END"],
  );
  const { recorded } = writer.run([
    unit("BEGIN", "INSERT INTO t(v) VALUES ('a'), ('b')", "DELETE FROM t WHERE id = 2", "COMMIT"),
  ]);
  const steps = namedSteps(recorded!.changes!).flat();
  const rows = steps.filter((step) => step.type === "row");
  assert.deepEqual(rows.map(({ table: name, indirect }) => `${name} ${indirect}`).sort(), [
    "log true",
    "log true",
    "t false",
  ]);
  assert.ok(lines(recorded!.changes).flat().includes("t is at 2"));
});

test("a statement that failed and kept part of its work is recorded as such", () => {
  const writer = subject(table, "INSERT INTO t VALUES (2, 2)");
  const { recorded } = writer.run([unit("INSERT OR FAIL INTO t VALUES (1, 1), (2, 2), (3, 3)")]);
  const [step] = namedSteps(recorded!.statements!)[0]!;
  assert.equal(step?.type === "statement" && step.statement.failed, true);
  assert.deepEqual(lines(recorded!.changes), [["insert t - > id=1,v=1"]]);
});

test("what destroys the transaction of others leaves their record whole and single", () => {
  const writer = subject(table, "INSERT INTO t VALUES (1, 1)");
  const { changes, statements } = recordedBy(
    writer,
    unit("INSERT INTO t VALUES (2, 2)"),
    unit("INSERT OR ROLLBACK INTO t VALUES (1, 1)"),
    unit("INSERT INTO t VALUES (3, 3)"),
  );
  assert.deepEqual(changes, [["insert t - > id=2,v=2"], ["insert t - > id=3,v=3"]]);
  assert.equal(statements.length, 2);
});

test("nothing is recorded when nothing is asked for", () => {
  const writer = new TestWriter();
  assert.equal(writer.run([unit(table)]).recorded, undefined);
});

test("rows that go all at once are seen to go, however the statement was compiled", () => {
  const writer = subject(table, "INSERT INTO t VALUES (1, 'a'), (2, 'b')");
  const { changes } = recordedBy(writer, unit("DELETE FROM t"));
  assert.deepEqual(changes, [["delete t id=1,v=a > -", "delete t id=2,v=b > -"]]);
});

test("what travels as a statement brings the answers of clock and chance with it, also beside pages", () => {
  const writer = subject("CREATE TABLE bare(v UNIQUE)");
  const { recorded } = writer.run([unit("REPLACE INTO bare VALUES (random())")]);
  const [step] = namedSteps(recorded?.changes ?? [])[0]!;
  assert.equal(step?.type === "statement" && step.statement.captured.length, 1);
});

test("triggers of ours that a rollback brings back are removed before the schema changes", () => {
  const writer = new TestWriter({ logKind: "triggers", changes: false, statements: false });
  writer.run([unit("CREATE TABLE t(a, b)"), unit("INSERT INTO t VALUES (1, 1)")]);
  writer.run([unit("BEGIN", "CREATE TABLE u(a)", "ROLLBACK")]);
  const { outcomes } = writer.run([unit("DROP TABLE t")]);
  assert.doesNotMatch(JSON.stringify(outcomes), /error/);
});

test("a schema travels with the comment behind it, which SQLite keeps", () => {
  const { changes } = recordedBy(
    new TestWriter(both),
    unit("\n/* a */ CREATE VIEW v AS SELECT 1 /* b */;"),
  );
  assert.deepEqual(changes, [["CREATE VIEW v AS SELECT 1 /* b */ []"]]);
});

const largest = "9223372036854775807";

/** Of the answers to these statements, the errors. */
function errorsOf(writer: TestWriter, ...sql: string[]): (string | undefined)[] {
  return sql.flatMap((text) =>
    writer.results(unit(text)).map((result) => (result as { error?: Error }).error?.message),
  );
}

test("a statement that takes rowids by chance travels as rows, or is refused", () => {
  const writer = new TestWriter({ logKind: "statements", changes: false, statements: false });
  writer.run([
    unit("CREATE TABLE t(k INTEGER PRIMARY KEY, b UNIQUE)", "CREATE TABLE u(b)"),
    unit("CREATE TABLE n(k INTEGER PRIMARY KEY AUTOINCREMENT, b)", "INSERT INTO n VALUES (5, 5)"),
  ]);
  const said = errorsOf(writer, `INSERT INTO t VALUES (7, 7), (${largest}, 1)`);
  assert.match(said[0] ?? "", /largest rowid.*insert that row by a statement of its own/);
  assert.deepEqual(writer.rows("SELECT * FROM t"), []);
  const as = (sql: string) => recordedBy(writer, unit(sql)).statements[0]![0]!.split(" ")[0];
  assert.equal(as("INSERT INTO t(b) VALUES (7), (8)"), "INSERT");
  assert.equal(as(`INSERT INTO t VALUES (${largest}, 1)`), "INSERT");
  assert.equal(as("INSERT INTO t(b) VALUES (2)"), "insert");
  assert.equal(as("INSERT INTO t VALUES (NULL, 3), (4, 4)"), "insert");
  // The largest may be gone again when it has run.
  assert.equal(as("DELETE FROM t"), "DELETE");
  assert.equal(as(`REPLACE INTO t VALUES (${largest}, 1), (NULL, 2), (5, 1)`), "insert");
  assert.equal(as("INSERT INTO n(b) VALUES (1), (2)"), "INSERT");
  assert.equal(as("INSERT INTO u VALUES (1), (2)"), "INSERT");
  assert.equal(as(`INSERT INTO u(rowid, b) VALUES (${largest}, 3)`), "INSERT");
  assert.equal(as("INSERT INTO u VALUES (4)"), "insert");
});

test("REPLACE is refused where SQLite might damage the table: no session would see the row", () => {
  for (const logKind of ["rows", "statements", "triggers"] as const) {
    const writer = new TestWriter({ logKind, changes: false, statements: false });
    writer.run([
      unit("CREATE TABLE t(k INTEGER PRIMARY KEY, b UNIQUE)", "CREATE TABLE c(x REFERENCES t)"),
      unit(`INSERT INTO t VALUES (${largest}, 7)`, "INSERT INTO t VALUES (1, 2)"),
    ]);
    const replace = "REPLACE INTO t(b) VALUES (2), (5), (9)";
    for (let time = 0; time < 20; time++) {
      const [result] = writer.results({ ...unit(replace), foreignKeys: true });
      assert.match(JSON.stringify(result), /BLOCKED.*|SQLite may damage it/);
    }
    assert.deepEqual(writer.rows("PRAGMA integrity_check"), [["ok"]]);
    assert.deepEqual(errorsOf(writer, replace), [undefined]);
  }
});

test("changes() inside a trigger does not count what recording does", () => {
  for (const logKind of ["rows", "triggers"] as const) {
    const writer = new TestWriter({ logKind, changes: false, statements: false });
    writer.run([
      unit("CREATE TABLE t(b)", "CREATE TABLE k(id INTEGER PRIMARY KEY, b)"),
      unit("CREATE TABLE noted(n)", "CREATE TABLE noted2(id INTEGER PRIMARY KEY, n)"),
      unit(
        "CREATE TRIGGER g AFTER DELETE ON t BEGIN INSERT INTO noted VALUES (changes()); INSERT INTO noted2(n) VALUES (changes()); END",
        "CREATE TRIGGER h AFTER DELETE ON k BEGIN INSERT INTO noted2(n) SELECT changes(); END",
      ),
    ]);
    for (const table of ["t", "k"]) {
      writer.run([unit(`INSERT INTO ${table}(b) VALUES (9)`)]);
      writer.run([unit(`INSERT INTO ${table}(b) VALUES (1), (8)`)]);
      writer.run([unit(`UPDATE ${table} SET b = b + 0`, `DELETE FROM ${table} WHERE b > 7`)]);
    }
    assert.deepEqual(writer.rows("SELECT n FROM noted"), [[3], [3]]);
    assert.deepEqual(writer.rows("SELECT n FROM noted2"), [[1], [1], [3], [3]]);
  }
});

test("an INSERT into a table that foreign keys refer to in vain is recorded, and is what it is in SQLite", () => {
  const schema = [
    unit("CREATE TABLE p(a)", "CREATE TABLE c(id INTEGER PRIMARY KEY, x REFERENCES p(a))"),
    unit("CREATE TABLE k(id INTEGER PRIMARY KEY, a)", "CREATE TABLE d(x REFERENCES k(a))"),
    unit("CREATE TABLE q(a)"),
  ];
  const insert = (table: string) => ({
    ...unit(`INSERT INTO ${table}(a) VALUES (1)`),
    foreignKeys: true,
  });
  for (const recording of [
    both,
    { logKind: "rows", changes: false, statements: false } as const,
    { logKind: "triggers", changes: false, statements: false } as const,
  ]) {
    const writer = new TestWriter(recording);
    writer.run(schema);
    writer.run([{ ...unit("INSERT INTO k VALUES (5, 0)"), foreignKeys: true }]);
    const { changes } = recordedBy(writer, insert("q"), insert("p"), insert("k"));
    assert.deepEqual(writer.rows("SELECT a FROM p UNION ALL SELECT a FROM k"), [[1], [0], [1]]);
    const ofKey =
      recording.logKind === "triggers" ? "INSERT INTO k(a) VALUES (1) []" : "insert k - > id=6,a=1";
    assert.deepEqual(changes, [
      ["insert q - > _rowid_=1,a=1"],
      ["INSERT INTO p(a) VALUES (1) []"],
      [ofKey],
    ]);
  }
});

test("a row that violates a foreign key leaves last_insert_rowid() as it was, recorded or not", () => {
  const schema = [
    ...["CREATE TABLE p(id INTEGER PRIMARY KEY)", "CREATE TABLE c(x REFERENCES p)"],
    ...["CREATE TABLE d(x REFERENCES p DEFERRABLE INITIALLY DEFERRED)", "CREATE TABLE o(x)"],
  ];
  const run = [
    ...["INSERT INTO o(rowid) VALUES (70)", "INSERT INTO c VALUES (1)"],
    ...["INSERT INTO c VALUES (1), (2)", "INSERT INTO o(rowid) VALUES (80)"],
    ...["INSERT INTO d VALUES (1)", "INSERT INTO o(rowid) VALUES (90)", "INSERT INTO c VALUES (5)"],
  ];
  const stock = new DatabaseSync(":memory:");
  const rowids = run.map(() => "SELECT last_insert_rowid()");
  for (const sql of schema) stock.exec(sql);
  const expected = run.map((sql) => {
    try {
      stock.exec(sql);
    } catch {
      // What is asked is what it left.
    }
    return Object.values(stock.prepare(rowids[0]!).get()!)[0];
  });
  for (const logKind of ["rows", "triggers", "pages"] as const) {
    const writer = new TestWriter({ logKind, changes: false, statements: false });
    writer.run([unit(...schema)]);
    const requests = run.flatMap((sql, at) => [sql, rowids[at]!]);
    const results = writer.results({ ...unit(...requests), foreignKeys: true });
    const found = results.filter((_, at) => at % 2 === 1) as Answer[];
    const told = found.map(({ response }) => Number(response.result.rows[0]![0]!.value));
    assert.deepEqual(told, expected, logKind);
  }
});

type Answer = { response: { result: { rows: { value: string }[][] } } };
