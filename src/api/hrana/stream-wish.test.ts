import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeConnection } from "../../db/stream/connection-state.ts";
import { post, serve } from "../scripted-backend.test.ts";
import { SqliteBackend } from "../sqlite-backend.test.ts";

const run = (sql: string) => ({ type: "execute", stmt: { sql } });

test("while-open: a stream outlives its request only with a transaction", async (t) => {
  using backend = new SqliteBackend();
  const { url } = await serve(t, backend);
  const headers = { "paceline-stream": "while-open" };
  const ask = (body: object) => post(`${url}/v3/pipeline`, body, headers);
  assert.equal((await ask({ requests: [run("SELECT 1")] })).json.baton, null);
  const open = await ask({ requests: [run("BEGIN")] });
  assert.notEqual(open.json.baton, null);
  const inside = await ask({ baton: open.json.baton, requests: [run("SELECT 2")] });
  assert.notEqual(inside.json.baton, null);
  const over = await ask({ baton: inside.json.baton, requests: [run("COMMIT")] });
  assert.equal(over.json.results[0].type, "ok");
  assert.equal(over.json.baton, null);
});

test("what a connection keeps goes with the request and comes back with the answer", async (t) => {
  using backend = new SqliteBackend();
  const { url } = await serve(t, backend);
  const ask = (sql: string, wish: string) =>
    post(`${url}/v3/pipeline`, { requests: [run(sql)] }, { "paceline-stream": wish });
  const plain = await ask("SELECT 1", "while-open");
  assert.equal(plain.headers.get("paceline-connection"), null);
  const set = await ask("PRAGMA recursive_triggers=on", "while-open");
  const kept = set.headers.get("paceline-connection")!;
  assert.deepEqual(decodeConnection(kept)?.settings, { recursive_triggers: "1" });
  const next = await ask("PRAGMA recursive_triggers", `while-open;connection=${kept}`);
  assert.equal(next.json.results[0].response.result.rows[0][0].value, "1");
  assert.equal(next.headers.get("paceline-connection"), kept);
  for (const wrong of ["for-ever", "while-open;connection=e30", "while-open;connection="]) {
    assert.equal((await ask("SELECT 1", wrong)).json.code, "BAD_REQUEST", wrong);
  }
});
