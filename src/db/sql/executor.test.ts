import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { limits } from "../../limits.ts";
import { ReadView } from "../process/reader-child.ts";
import type { SqlRequest, Stmt, Value } from "./request.ts";
import { execute, integer, stmt, TestWriter, text, unit } from "./test-database.ts";

type Result = {
  type: "ok" | "error";
  response: { type: string; result: Record<string, unknown>; is_autocommit: boolean };
  error: { code: string; message: string; extended_code: string | undefined };
};

function writer(): TestWriter {
  const made = new TestWriter();
  made.db.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INT, c FURRY BUNNY)");
  return made;
}

function run(w: TestWriter, ...requests: (SqlRequest | string)[]): Result[] {
  return w.results(unit(...requests)) as Result[];
}

/** What a request gives: rows as `type:value`, or the error's code. */
function shown(result: Result | undefined): unknown {
  assert.ok(result !== undefined);
  if (result.type === "error") return result.error.code;
  const rows = result.response.result["rows"] as Record<string, unknown>[][];
  return rows.map((row) => row.map((v) => `${v["type"]}:${v["value"] ?? v["base64"] ?? ""}`));
}

test("values keep their type and every bit", () => {
  const w = writer();
  const check = (value: Value, expected: Value) => {
    const answer = run(w, execute("select ?", value))[0]!;
    assert.deepEqual((answer.response.result["rows"] as Value[][])[0]![0], expected);
  };
  const same = (value: Value) => check(value, value);
  same({ type: "null" });
  same({ type: "integer", value: "9223372036854775807" });
  same({ type: "integer", value: "-9223372036854775808" });
  same({ type: "float", value: 1.5 });
  same({ type: "float", value: 1e300 });
  same({ type: "text", value: 'quote " back \\ nul \0 line \n snow ☃ \u2028 😀' });
  check({ type: "blob", base64: "AAE=" }, { type: "blob", base64: "AAE" });
  same({ type: "blob", base64: "" });
  const textOf = (sql: string) => w.run([unit(sql)]).outcomes[0]!.results[0]!;
  assert.match(textOf("select 1.0"), /"value":1\.0\}/);
  assert.match(textOf("select -0.0"), /"value":-?0\.0\}/);
  assert.match(textOf("select 9e999"), /\{"type":"text","value":"Inf"\}/);
  assert.match(textOf("select -9e999"), /\{"type":"text","value":"-Inf"\}/);
});

test("arguments fill parameters by index or by name", () => {
  const w = writer();
  const [one, two, three] = [integer(1), integer(2), integer(3)];
  const check = (sql: string, given: Partial<Stmt>, expected: unknown) => {
    const request: SqlRequest = { type: "execute", stmt: { ...stmt(sql), ...given } };
    assert.deepEqual(shown(run(w, request)[0]), expected, sql);
  };
  const rows = (...values: number[]) => [values.map((n) => `integer:${n}`)];
  check("select ?, ?3, ?2", { args: [one, two, three] }, rows(1, 3, 2));
  check("select ?3, ?1", { args: [one, two, three] }, rows(3, 1));
  check("select :a, ?", { args: [one, two] }, rows(1, 2));
  const named = (...names: [string, Value][]) => ({
    namedArgs: names.map(([name, value]) => ({ name, value })),
  });
  check("select :a, @a, $a", named(["a", one]), rows(1, 1, 1));
  check("select :a, $a", named(["a", one], ["$a", two]), rows(1, 2));
  check("select :b, :a, ?1", named([":a", one], ["b", two]), rows(2, 1, 2));
  check("select ?, ?", { args: [one] }, "ARGS_INVALID");
  check("select ?", { args: [one, two] }, "ARGS_INVALID");
  check("select :a", named(["b", one]), "ARGS_INVALID");
  check("select :a", { args: [one], ...named(["a", one]) }, "ARGS_BOTH_POSITIONAL_AND_NAMED");
  check("select ?", { args: [{ type: "integer", value: "9223372036854775808" }] }, "ARGS_INVALID");
  check("select ?", { args: [{ type: "integer", value: "x" }] }, "ARGS_INVALID");
  assert.equal(run(w, "explain select ?")[0]!.type, "ok");
});

test("a statement's answer has all its parts", () => {
  const w = writer();
  const [insert, returning, select, update, ddl] = run(
    w,
    execute("insert into t(a, b) values(?, 1), (?, 2)", text("x"), text("y")),
    "insert into t(a) values('z') returning id, upper(a) as n",
    "select a, b, c, b + 1 from t where id < 3",
    "update t set b = 7",
    "create table u(x)",
  );
  const { replication_index, ...counts } = insert!.response.result;
  assert.equal(replication_index, "1");
  assert.deepEqual(counts, { cols: [], rows: [], affected_row_count: 2, last_insert_rowid: "2" });
  assert.deepEqual(returning!.response.result["cols"], [
    { name: "id", decltype: "INTEGER" },
    { name: "n", decltype: null },
  ]);
  assert.deepEqual(shown(returning), [["integer:3", "text:Z"]]);
  assert.equal(returning!.response.result["affected_row_count"], 1);
  assert.equal(returning!.response.result["last_insert_rowid"], "3");
  assert.deepEqual(select!.response.result["cols"], [
    { name: "a", decltype: "TEXT" },
    { name: "b", decltype: "INT" },
    { name: "c", decltype: "FURRY BUNNY" },
    { name: "b + 1", decltype: null },
  ]);
  assert.equal(select!.response.result["affected_row_count"], 0);
  assert.equal(select!.response.result["last_insert_rowid"], null);
  assert.equal(update!.response.result["affected_row_count"], 3);
  assert.equal(ddl!.response.result["affected_row_count"], 0);
});

test("exactly one statement is executed", () => {
  const w = writer();
  const check = (sql: string, expected: unknown) =>
    assert.deepEqual(shown(run(w, sql)[0]), expected, sql);
  check("select 1;", [["integer:1"]]);
  check(" ; select 1 -- x", [["integer:1"]]);
  check("", "SQL_NO_STATEMENT");
  check("-- x", "SQL_NO_STATEMENT");
  check("select 1; select 2", "SQL_MANY_STATEMENTS");
  check("select 1\0; drop table t", "SQL_PARSE_ERROR");
  check("selec 1", "SQLITE_ERROR");
  check("begin concurrent", "SQLITE_ERROR");
  const [incomplete, missing] = run(w, "select (", "select * from nowhere");
  assert.match(incomplete!.error.message, /incomplete input/);
  assert.match(missing!.error.message, /no such table: nowhere/);
  const [, unique] = run(w, "insert into t(a) values('q')", "insert into t(a) values('q')");
  assert.deepEqual(unique!.error, {
    message: "UNIQUE constraint failed: t.a",
    code: "SQLITE_CONSTRAINT",
    extended_code: "SQLITE_CONSTRAINT_UNIQUE",
  });
});

test("rows that are not wanted are not sent, but their statement runs to its end", () => {
  const w = writer();
  const quiet: SqlRequest = {
    type: "execute",
    stmt: { ...stmt("insert into t(a) values(1), (2) returning id"), wantRows: false },
  };
  const [answer] = run(w, quiet);
  assert.deepEqual(answer!.response.result["rows"], []);
  assert.equal((answer!.response.result["cols"] as unknown[]).length, 1);
  assert.deepEqual(w.rows("select count(*) from t"), [[2]]);
});

test("a batch goes on after an error and obeys its conditions", () => {
  const w = writer();
  const steps = [
    { stmt: stmt("select 1"), condition: undefined },
    { stmt: stmt("syntax error"), condition: undefined },
    { stmt: stmt("select 2"), condition: { type: "ok", step: 1 } },
    { stmt: stmt("select 3"), condition: { type: "error", step: 1 } },
    { stmt: stmt("select 4"), condition: { type: "and", conds: [] } },
    { stmt: stmt("select 5"), condition: { type: "or", conds: [] } },
    { stmt: stmt("select 6"), condition: { type: "error", step: 2 } },
    { stmt: stmt("select 7"), condition: { type: "is_autocommit" } },
    { stmt: stmt("begin"), condition: undefined },
    { stmt: stmt("select 8"), condition: { type: "is_autocommit" } },
    { stmt: stmt("rollback"), condition: { type: "not", cond: { type: "is_autocommit" } } },
  ] as const;
  const [answer] = run(w, { type: "batch", steps });
  const result = answer!.response.result;
  const answered = (result["step_results"] as unknown[]).map((step) => step !== null);
  const failed = (result["step_errors"] as unknown[]).map((step) => step !== null);
  const [y, n] = [true, false];
  assert.deepEqual(answered, [y, n, n, y, y, n, y, y, y, n, y]);
  assert.deepEqual(failed, [n, y, n, n, n, n, n, n, n, n, n]);
});

test("a script stops at its first failure and keeps what came before", () => {
  const w = writer();
  const sql =
    "insert into t(a) values('one'); select * from t; insert into x values(1); delete from t";
  const [answer, empty] = run(w, { type: "sequence", sql }, { type: "sequence", sql: " -- " });
  assert.equal(answer!.error.code, "SQLITE_ERROR");
  assert.equal(empty!.type, "ok");
  assert.deepEqual(w.rows("select a from t"), [["one"]]);
});

test("SQLite reads the text that was sent: columns have the names it gives, errors its words", () => {
  const w = writer();
  const stock = new DatabaseSync(":memory:");
  stock.exec("CREATE TABLE t(id)");
  for (const sql of [
    "SELECT 1/* c",
    "SELECT 1 -- c",
    "SELECT 1 \uFEFF",
    " \vSELECT 1;;\f",
    "SELECT 1 /* c */;",
  ]) {
    const { name } = stock.prepare(sql).columns()[0]!;
    const [answer] = run(w, sql);
    assert.deepEqual(answer!.response.result["cols"], [{ name, decltype: null }], sql);
  }
  for (const sql of ["CREATE TABLE;", "SELECT * FROM; SELECT 1", "SELECT 1; SELECT * FROM"]) {
    const [answer] = run(w, { type: "sequence", sql });
    assert.throws(() => stock.exec(sql), { message: answer!.error.message }, sql);
  }
});

test("a description runs nothing", () => {
  const w = writer();
  const check = (sql: string, expected: object) => {
    const [answer] = run(w, { type: "describe", sql });
    assert.deepEqual(answer!.response.result, expected, sql);
  };
  const rest = { cols: [], is_explain: false, is_readonly: false };
  check("insert into t(a, b) values(?, :b)", { params: [{ name: null }, { name: ":b" }], ...rest });
  check("select ?3", {
    params: [{ name: null }, { name: null }, { name: "?3" }],
    cols: [{ name: "?3", decltype: null }],
    is_explain: false,
    is_readonly: true,
  });
  check("commit", { params: [], ...rest, is_readonly: true });
  check("begin immediate", { params: [], ...rest });
  check("pragma foreign_keys = on", { params: [], ...rest });
  assert.deepEqual(w.rows("pragma foreign_keys"), [[0]]);
  const [explained] = run(w, { type: "describe", sql: "explain select 1" });
  assert.equal(explained!.response.result["is_explain"], true);
  const inside = run(
    w,
    "begin",
    "create table n(q)",
    { type: "describe", sql: "select q from n" },
    "rollback",
  );
  assert.equal(inside[2]!.type, "ok");
  assert.equal(
    shown(run(w, { type: "describe", sql: "select 1; select 2" })[0]),
    "SQL_MANY_STATEMENTS",
  );
});

test("autocommit is what the client's own transaction makes it", () => {
  const w = writer();
  const ask: SqlRequest = { type: "get_autocommit" };
  const states = run(w, ask, "begin", ask, "commit", ask, "savepoint a", ask, "release a", ask)
    .filter((result) => result.response.type === "get_autocommit")
    .map((result) => result.response.is_autocommit);
  assert.deepEqual(states, [true, false, true, false, true]);
  assert.equal(shown(run(w, "commit")[0]), "SQLITE_ERROR");
  assert.equal(shown(run(w, "rollback")[0]), "SQLITE_ERROR");
  assert.equal(shown(run(w, "begin", "begin", "rollback")[1]), "SQLITE_ERROR");
  assert.equal(shown(run(w, "savepoint a", "release b", "release a")[1]), "SQLITE_ERROR");
});

test("an answer beyond the limit is refused, and its statement undone", () => {
  const w = writer();
  const size = limits.valueBytesMax - 100;
  const [query, insert] = run(
    w,
    `select zeroblob(${size}) union all select zeroblob(${size})`,
    `insert into t(a, c) values(1, zeroblob(${size})), (2, zeroblob(${size})) returning c`,
  );
  assert.equal(shown(query), "RESPONSE_TOO_LARGE");
  assert.equal(shown(insert), "RESPONSE_TOO_LARGE");
  assert.deepEqual(w.rows("select count(*) from t"), [[0]]);
});

test("what is known about a statement follows the schema", () => {
  const w = writer();
  const sql = "select * from t";
  const width = () => (run(w, sql)[0]!.response.result["cols"] as unknown[]).length;
  assert.equal(width(), 4);
  run(w, "alter table t add column d");
  assert.equal(width(), 5);
  run(w, "begin", "alter table t add column e", sql, "rollback");
  assert.equal(width(), 5);
  run(w, "create table log(a)", "insert into t(b) select 1 where 0");
  run(w, "create trigger g after insert on t begin insert into log values(1); end");
  run(w, "insert into t(a) values('x')");
  assert.deepEqual(w.rows("select count(*) from log"), [[1]]);
});

test("a byte order mark in front changes nothing", () => {
  const w = writer();
  const mark = "\ufeff";
  const results = run(
    w,
    `${mark}INSERT INTO t(a) VALUES('x')`,
    `${mark}CREATE TABLE made(a)`,
    `${mark}-- c\n${mark}INSERT INTO made VALUES(1)`,
    {
      type: "sequence",
      sql: `${mark}INSERT INTO made VALUES(2);${mark}INSERT INTO made VALUES(3)`,
    },
    `${mark}COMMIT`,
    `${mark}BEGIN`,
    `${mark}DELETE FROM made`,
    `${mark}ROLLBACK`,
    `${mark}PRAGMA user_version = 7`,
    `${mark}EXPLAIN COMMIT`,
    `${mark}WITH x AS (SELECT 9) INSERT INTO made SELECT * FROM x`,
  );
  assert.deepEqual(
    results.map((result) => result.error?.message ?? "ok"),
    [
      ...["ok", "ok", "ok", "ok", "cannot commit - no transaction is active"],
      ...["ok", "ok", "ok", "ok", "ok", "ok"],
    ],
  );
  assert.equal(results[0]!.response.result["last_insert_rowid"], "1");
  assert.deepEqual(w.rows("select a from made order by a").flat(), [1, 2, 3, 9]);
  assert.deepEqual(w.rows("pragma user_version"), [[7]]);
  assert.deepEqual(w.stored(), w.position);
});

test("the name of a savepoint is what SQLite takes for it", () => {
  const w = writer();
  const results = run(
    w,
    ...["BEGIN", 'SAVEPOINT [a "b]', "INSERT INTO t(a) VALUES('x')"],
    ...["rollback to savepoint 'A \"b'", 'release savepoint `a "b`', "COMMIT"],
    'SAVEPOINT "paceline_unit"',
  );
  assert.deepEqual(
    results.map((result) => result.error?.code ?? "ok"),
    ["ok", "ok", "ok", "ok", "ok", "ok", "BLOCKED"],
  );
  assert.deepEqual(w.rows("select * from t"), []);
});

test("what explains transaction control only lists it", () => {
  const w = writer();
  const listed = run(w, "BEGIN", "INSERT INTO t(a) VALUES('x')", "EXPLAIN COMMIT", "ROLLBACK");
  assert.ok(listed.every(({ type }) => type === "ok"));
  assert.deepEqual(w.rows("select * from t"), []);
});

test("opening a virtual table on the way does not make a query a change", () => {
  const w = writer();
  w.db.exec("CREATE VIRTUAL TABLE r USING rtree(id, a, b); INSERT INTO r VALUES(1, 2, 3)");
  const reader = new ReadView(w.path, { unit() {}, statement() {}, idle() {} });
  const outcome = reader.answer({
    ...{ type: "run", ask: "run", id: 0, keep: false },
    unit: unit("SELECT id FROM r"),
  });
  assert.match(outcome.results[0]!, /"value":"1"/);
  assert.equal(outcome.refusedWrite, false);
  reader.close();
});

test("a statement that failed while it gave rows is not to blame for the next one", () => {
  const w = writer();
  const insert = "INSERT INTO t(a) VALUES(?) RETURNING a";
  const given = ["p1", "y1", "y1", "p2", "p3", "y1", "p4"];
  const codes = run(w, ...given.map((value) => execute(insert, text(value)))).map(
    (result) => result.error?.code ?? "ok",
  );
  const failed = "SQLITE_CONSTRAINT";
  assert.deepEqual(codes, ["ok", "ok", failed, "ok", "ok", failed, "ok"]);
  const json = "SELECT json_extract(?, '$.a') AS v";
  const found = ["{}", "{", "{}", "{}"].map((value) => run(w, execute(json, text(value)))[0]!.type);
  assert.deepEqual(found, ["ok", "error", "ok", "ok"]);
});

test("SQLite's own limits hold, and errors name the limit", () => {
  const w = writer();
  const terms = (n: number) =>
    Array.from({ length: n }, (_, i) => `SELECT ${i}`).join(" UNION ALL ");
  const columns = (n: number) => Array.from({ length: n }, (_, i) => `${i} AS c${i}`).join();
  const one = (sql: string) => run(w, sql)[0]!;
  const chain = Array.from({ length: 101 }, (_, i) => `CREATE TABLE c${i}(a)`);
  const triggers = Array.from(
    { length: 100 },
    (_, i) =>
      `CREATE TRIGGER g${i} AFTER INSERT ON c${i} BEGIN INSERT INTO c${i + 1} VALUES (1); END`,
  );
  w.db.exec([...chain, ...triggers].join(";"));
  const good = [
    ...[terms(500), `SELECT ${columns(1_999)}`, `SELECT coalesce(${"1,".repeat(200)}1)`],
    `SELECT 'x' LIKE '${"x".repeat(40_000)}'`,
    "INSERT INTO c0 VALUES (1)",
  ];
  for (const sql of good) assert.equal(one(sql).error?.message, undefined, sql.slice(0, 60));
  assert.deepEqual(w.rows("SELECT count(*) FROM c100"), [[1]]);
  assert.match(one(terms(501)).error.message, /compound SELECT.*at most 500/);
  assert.match(one(`SELECT 'x' LIKE '${"x".repeat(60_000)}'`).error.message, /at most 50000/);
  const long = one(`SELECT '${"x".repeat(limits.sqlBytesMax)}'`);
  assert.equal(long.error.code, "SQLITE_TOOBIG");
  assert.match(long.error.message, new RegExp(`SQL text .* at most ${limits.sqlBytesMax} bytes`));
  const large = one(`SELECT zeroblob(${limits.valueBytesMax + 1})`);
  assert.equal(large.error.code, "SQLITE_TOOBIG");
  assert.match(large.error.message, new RegExp(`row has at most ${limits.valueBytesMax} bytes`));
});

test("FTS5 may write when a savepoint begins or ends, and nobody is to blame", () => {
  const w = writer();
  w.db.exec("CREATE VIRTUAL TABLE f USING fts5(a)");
  w.run([unit("BEGIN", "INSERT INTO f VALUES ('x')")]);
  for (const sql of ["SAVEPOINT s", "RELEASE s", "COMMIT"]) {
    const { outcomes } = w.run([unit(sql)], "continue");
    assert.doesNotMatch(JSON.stringify(outcomes), /error/, sql);
  }
});
