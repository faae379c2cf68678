// Cursors and version 1 over real SQL: what goes over the wire, line by line.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { ClientError } from "../../base/errors.ts";
import { lsn, term } from "../../vocabulary.ts";
import { post, ScriptedBackend, type Seen, serve } from "../scripted-backend.test.ts";
import { SqliteBackend } from "../sqlite-backend.test.ts";
import { entryLines } from "./cursor.ts";

async function open(t: TestContext): Promise<string> {
  const backend = new SqliteBackend();
  t.after(() => backend[Symbol.dispose]());
  return (await serve(t, backend)).url;
}

const linesOf = ({ text }: Seen) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

test("a cursor gives its steps as lines, and a baton that works", async (t) => {
  const url = await open(t);
  const steps = [
    { stmt: { sql: "begin" } },
    { stmt: { sql: "create table t (x)" } },
    { stmt: { sql: "insert into t values ('a{\"]'), ('b')" } },
    { stmt: { sql: "select x, 1 as one from t" } },
    { stmt: { sql: "select nothing" } },
    { stmt: { sql: "select 2" }, condition: { type: "ok", step: 4 } },
    {
      stmt: { sql: "select 3 where false" },
      condition: { type: "not", cond: { type: "ok", step: 4 } },
    },
  ];
  const answer = await post(`${url}/v3/cursor`, { batch: { steps } });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("paceline-position") ?? "", /^\d+@\d+$/);
  const [head, ...entries] = linesOf(answer);
  assert.deepEqual(
    entries.map(({ type, step }) => (step === undefined ? type : `${type} ${step}`)),
    [
      ...["step_begin 0", "step_end", "step_begin 1", "step_end", "step_begin 2", "step_end"],
      ...["step_begin 3", "row", "row", "step_end", "step_error 4", "step_begin 6", "step_end"],
    ],
  );
  assert.deepEqual(entries[5], {
    type: "step_end",
    affected_row_count: 2,
    last_insert_rowid: "2",
  });
  assert.deepEqual(
    entries[6].cols.map((c: { name: string }) => c.name),
    ["x", "one"],
  );
  assert.deepEqual(entries[7].row, [
    { type: "text", value: 'a{"]' },
    { type: "integer", value: "1" },
  ]);
  assert.equal(typeof entries[10].error.code, "string");
  const next = await post(`${url}/v3/pipeline`, {
    baton: head.baton,
    requests: [{ type: "get_autocommit" }, { type: "close" }],
  });
  assert.equal(next.json.results[0].response.is_autocommit, false, "the transaction is open");
});

test("the replication index is the last line for those who name one, and for nobody else", async (t) => {
  const url = await open(t);
  const last = async (batch: object) =>
    linesOf(await post(`${url}/v3/cursor`, { batch })).at(-1).type;
  const steps = [{ stmt: { sql: "select 1" } }];
  assert.equal(await last({ steps }), "step_end");
  assert.equal(await last({ steps, replication_index: "0" }), "replication_index");
});

test("many rows arrive complete", async (t) => {
  const url = await open(t);
  const sql =
    "with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) " +
    "select i, 'row ' || i from n";
  const answer = await post(`${url}/v3/cursor`, { batch: { steps: [{ stmt: { sql } }] } });
  const rows = linesOf(answer).filter(({ type }) => type === "row");
  assert.equal(rows.length, 20_000);
  assert.deepEqual(rows.at(-1).row[1], { type: "text", value: "row 20000" });
});

test("what the backend refuses is an error entry", async (t) => {
  const backend = new ScriptedBackend();
  backend.answer = () => {
    throw new ClientError("OVERLOADED", "too much");
  };
  const { url } = await serve(t, backend);
  const answer = await post(`${url}/v3/cursor`, { batch: { steps: [{ stmt: { sql: "x" } }] } });
  assert.equal(answer.status, 200);
  const [head, ...entries] = linesOf(answer);
  assert.equal(typeof head.baton, "string");
  assert.deepEqual(entries, [
    { type: "error", error: { message: "too much", code: "OVERLOADED" } },
  ]);
});

test("entries do not depend on the order of fields or on spaces", () => {
  const result = ` { "response" : { "result" : { "step_errors" : [ null , {"message":"m","code":"c"} , null ] ,
    "step_results" : [ { "rows" : [ [ ] ] , "last_insert_rowid":null,
      "cols" : [ ], "affected_row_count":0 } , null , null ] } } }`;
  const lines = [...entryLines(result.trim(), { lsn: lsn(9), term: term(1) })];
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).type),
    ["step_begin", "row", "step_end", "step_error", "replication_index"],
  );
});

test("version 1: results, failures as answers that are not 200, nothing left open", async (t) => {
  const url = await open(t);
  const headers = { authorization: "Bearer None" };
  const ok = await post(`${url}/v1/execute`, { stmt: { sql: "select 1 as x" } }, headers);
  assert.equal(ok.status, 200);
  assert.deepEqual(ok.json.result.rows, [[{ type: "integer", value: "1" }]]);
  const batch = await post(`${url}/v1/batch`, {
    batch: { steps: [{ stmt: { sql: "create table t (x)" } }, { stmt: { sql: "nonsense" } }] },
  });
  assert.equal(batch.status, 200);
  assert.equal(batch.json.result.step_results[1], null);
  assert.equal(typeof batch.json.result.step_errors[1].code, "string");
  const failed = await post(`${url}/v1/execute`, { stmt: { sql: "select * from nowhere" } });
  assert.equal(failed.status, 400);
  assert.equal(failed.type, "application/json");
  assert.match(failed.json.message, /no such table: nowhere/);
  assert.equal(failed.json.error, failed.json.message);
  assert.equal(typeof failed.json.code, "string");
  await post(`${url}/v1/execute`, { stmt: { sql: "begin immediate" } });
  const after = await post(`${url}/v1/execute`, { stmt: { sql: "insert into t values (1)" } });
  assert.equal(after.status, 200, "the transaction before was rolled back");
});
