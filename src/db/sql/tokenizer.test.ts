import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { parametersOf, parseScript } from "./tokenizer.ts";

function checkSplit(sql: string, expected: string[]): void {
  assert.deepEqual(
    parseScript(sql).map(({ text }) => text),
    expected,
    sql,
  );
}

test("a script is split at semicolons that end statements", () => {
  checkSplit("", []);
  checkSplit(" ;; ;\n", []);
  checkSplit("-- only a comment", []);
  checkSplit("/* unclosed ; comment", []);
  checkSplit("select 1", ["select 1"]);
  checkSplit("select 1 ; ", ["select 1"]);
  checkSplit("select 1; select 2", ["select 1", "select 2"]);
  checkSplit("select 1 -- a; b\n; select 2 /* ; */ , 3;", ["select 1", "select 2 /* ; */ , 3"]);
  checkSplit("/* a */ select 1 /* b */", ["select 1"]);
  checkSplit("select ';', 'it''s;'; select 2", ["select ';', 'it''s;'", "select 2"]);
  checkSplit('select ";" , "a"";" ; select 2', ['select ";" , "a"";"', "select 2"]);
  checkSplit("select [;] , `;` , x';' ; select 2", ["select [;] , `;` , x';'", "select 2"]);
  checkSplit("select 'unclosed ; select 2", ["select 'unclosed ; select 2"]);
  checkSplit("select 1 --", ["select 1"]);
  checkSplit("select 1 - -1; select 4/2", ["select 1 - -1", "select 4/2"]);
  checkSplit("select 'é;😀'; select 2", ["select 'é;😀'", "select 2"]);
});

test("a trigger ends with END behind a semicolon", () => {
  const body = "BEGIN INSERT INTO a VALUES(1); UPDATE b SET x = CASE WHEN 1 THEN 2 END; END";
  const trigger = `CREATE TRIGGER t AFTER INSERT ON a ${body}`;
  checkSplit(`${trigger}; select 2`, [trigger, "select 2"]);
  checkSplit(trigger, [trigger]);
  const temporary = `create temp trigger if not exists t after delete on a begin select 1; end`;
  checkSplit(`${temporary};select 2`, [temporary, "select 2"]);
  const explained = `explain query plan create trigger t after delete on a begin select 1; end`;
  checkSplit(`${explained};select 2`, [explained, "select 2"]);
  // Not triggers, whatever the words in them.
  checkSplit("create table trigger_log(x); select 1", ["create table trigger_log(x)", "select 1"]);
  checkSplit("create view v as select 'create trigger'; select 1", [
    "create view v as select 'create trigger'",
    "select 1",
  ]);
});

function checkParameters(sql: string, expected: (string | null | "gap")[]): void {
  const [statement] = parseScript(sql);
  assert.deepEqual(
    parametersOf(statement!.text).map(({ name, used }) => (used ? (name ?? null) : "gap")),
    expected,
    sql,
  );
}

test("many statements with high parameters cost what their text costs", () => {
  // As slots it would be two billion: more than the memory of the node that only looks where to send it.
  assert.equal(parseScript("?32766;".repeat(65_536)).length, 65_536);
});

test("parameters have SQLite's indexes", () => {
  checkParameters("select 1", []);
  checkParameters("select ?, ?", [null, null]);
  checkParameters("select ?, ?3, ?2", [null, "?2", "?3"]);
  checkParameters("select ?3, ?1", ["?1", "gap", "?3"]);
  checkParameters("select ?, ?3, :one", [null, "gap", "?3", ":one"]);
  checkParameters("select :a, @a, $a, :a", [":a", "@a", "$a"]);
  checkParameters("select :b, :a, ?1", [":b", ":a"]);
  checkParameters("select ?, ?1", ["?1"]);
  checkParameters("select $a::b(c), $d", ["$a::b(c)", "$d"]);
  checkParameters("select '?', \"?\", [?], -- ?\n /* ? */ ?", [null]);
  checkParameters("select a?1", ["?1"]);
  checkParameters("select ?99999999", []);
  checkParameters("select x'00', 1e5, .5, 0x1F, :é", [":é"]);
});

test("the first words say what a statement is", () => {
  const head = (sql: string) => {
    const [statement] = parseScript(sql);
    return [statement!.explain, statement!.head.slice(0, 3).join(" "), statement!.verbAfterWith];
  };
  assert.deepEqual(head("  /* x */ Select 1"), [false, "SELECT 1", undefined]);
  assert.deepEqual(head("explain query plan select 1"), [true, "SELECT 1", undefined]);
  assert.deepEqual(head("explain delete from t"), [true, "DELETE FROM T", undefined]);
  assert.deepEqual(head('savepoint "a ""b"'), [false, 'SAVEPOINT a "b', undefined]);
  const verb = (sql: string) => head(sql)[2];
  assert.equal(verb("with a as (select 1) insert into t select * from a"), "INSERT");
  assert.equal(verb("with a(x) as (select (1)), b as materialized (values(2)) select 1"), "SELECT");
  assert.equal(verb("with recursive replace as (select 1) select * from replace"), "SELECT");
  assert.equal(verb("with a as not materialized (select 1) delete from t"), "DELETE");
});

test("marks and comments in front are white space exactly where they are to SQLite", () => {
  const db = new DatabaseSync(":memory:");
  const compiles = (sql: string) => {
    try {
      return db.prepare(sql).columns()[0]?.name === "x";
    } catch {
      return false;
    }
  };
  /** Taken apart as SQLite does: a SELECT when it compiles, something else when it does not. */
  const check = (sql: string) => {
    const [first, ...rest] = parseScript(sql);
    const isSelect = first?.head.join() === "SELECT,1,AS,X" && rest.length === 0;
    assert.equal(isSelect, compiles(sql), JSON.stringify(sql));
  };
  for (let code = 1; code <= 0xffff; code++) {
    if (code === 0x27 || (code >= 0xd800 && code <= 0xdfff)) continue;
    const mark = String.fromCharCode(code);
    check(`${mark}SELECT 1 AS x`);
    check(`SELECT 1 AS${mark}x`);
  }
  const pieces = [
    "\ufeff",
    " ",
    "\v",
    "\n",
    "--\n",
    "-- c",
    "/**/",
    "/*",
    "*/",
    "/*/",
    "\f",
    ";",
    "-",
  ];
  for (const a of pieces) {
    for (const b of pieces) {
      for (const c of pieces) check(`${a}${b}${c}SELECT 1 AS x`);
    }
  }
});

test("what stands behind a statement ends it where SQLite ends it", () => {
  const texts = (sql: string) => parseScript(sql).map(({ text }) => text);
  assert.deepEqual(texts("SELECT 1 /*"), ["SELECT 1 /*"]);
  assert.deepEqual(texts("SELECT 1 /* "), ["SELECT 1"]);
  assert.deepEqual(texts("SELECT x'41''4;2'; SELECT 2"), ["SELECT x'41''4;2'", "SELECT 2"]);
  assert.deepEqual(texts("SELECT $a(\u00a0), 1;SELECT 2"), ["SELECT $a(\u00a0), 1", "SELECT 2"]);
});
