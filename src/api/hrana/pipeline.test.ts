// Hrana's pipeline over real HTTP, in front of a backend that does as told: units, order, streams, refusals.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../../base/errors.ts";
import { newConnection } from "../../db/stream/connection-state.ts";
import { nodeId } from "../../vocabulary.ts";
import { okAnswer, post, ScriptedBackend, secret, serve } from "../scripted-backend.test.ts";
import { BatonSeal } from "./baton.ts";

const execute = (sql: string) => ({ type: "execute", stmt: { sql } });
const close = { type: "close" };

test("a whole pipeline is one unit, and results come in the order of the requests", async (t) => {
  const backend = new ScriptedBackend();
  const { url } = await serve(t, backend);
  const { status, json, headers } = await post(`${url}/v2/pipeline`, {
    requests: [
      { type: "store_sql", sql_id: 1, sql: "select 1" },
      { type: "execute", stmt: { sql_id: 1, args: [{ type: "integer", value: "5" }] } },
      { type: "get_autocommit" },
      { type: "close_sql", sql_id: 1 },
      { type: "batch", batch: { steps: [{ stmt: { sql: "a" }, condition: null }] } },
      { type: "sequence", sql: "b" },
      { type: "describe", sql: "c" },
      close,
    ],
  });
  assert.equal(status, 200);
  assert.equal(json.baton, null);
  assert.equal(json.base_url, null);
  assert.equal(headers.get("paceline-position"), "42@3");
  assert.deepEqual(
    json.results.map((r: { response: { type: string } }) => r.response.type),
    [
      "store_sql",
      "execute",
      "get_autocommit",
      "close_sql",
      "batch",
      "sequence",
      "describe",
      "close",
    ],
  );
  assert.equal(json.results[1].response.result.é, "ü");
  assert.equal(backend.runs.length, 1);
  assert.deepEqual(backend.runs[0]?.unit.requests[0], {
    type: "execute",
    stmt: {
      sql: "select 1",
      args: [{ type: "integer", value: "5" }],
      namedArgs: [],
      wantRows: true,
    },
  });
});

test("a stream keeps its transaction, and every answer has a new baton", async (t) => {
  const backend = new ScriptedBackend();
  backend.answer = (unit) => okAnswer(unit, "s1");
  const { url } = await serve(t, backend);
  const first = await post(`${url}/v3/pipeline`, { requests: [execute("begin")] });
  assert.equal(typeof first.json.baton, "string");
  const second = await post(`${url}/v3/pipeline`, {
    baton: first.json.baton,
    requests: [execute("select 1")],
  });
  assert.equal(backend.runs[1]?.options.session, "s1");
  assert.notEqual(second.json.baton, first.json.baton);
  const replayed = await post(`${url}/v3/pipeline`, { baton: first.json.baton, requests: [close] });
  assert.equal(replayed.status, 400);
  assert.equal(replayed.json.code, "BATON_INVALID");
  assert.deepEqual(backend.closedSessions, [], "a replay does not hurt the stream");
  const last = await post(`${url}/v3/pipeline`, { baton: second.json.baton, requests: [close] });
  assert.equal(last.json.baton, null);
  assert.deepEqual(backend.closedSessions, ["s1"], "closing rolls back");
  const again = await post(`${url}/v3/pipeline`, { baton: second.json.baton, requests: [close] });
  assert.equal(again.status, 200, "clients close once more");
  const late = await post(`${url}/v3/pipeline`, {
    baton: second.json.baton,
    requests: [execute("x")],
  });
  assert.equal(late.json.code, "BATON_INVALID");
});

test("batons that are forged, of another node, or older than the node", async (t) => {
  const { url } = await serve(t, new ScriptedBackend());
  const streamId = "00112233445566778899aabbccddeeff";
  const good = new BatonSeal(secret);
  const other = new BatonSeal("another secret");
  const check = async (baton: unknown, code: string) => {
    const { status, json, type } = await post(`${url}/v2/pipeline`, {
      baton,
      requests: [execute("select 1")],
    });
    assert.equal(status, 400);
    assert.equal(type, "application/json");
    assert.equal(json.code, code);
    assert.equal(json.error, json.message);
  };
  const seal = { streamId, sequence: 1, node: nodeId("a"), plain: false };
  await check("", "BATON_INVALID");
  await check("nonsense", "BATON_INVALID");
  await check("x".repeat(100_000), "BATON_INVALID");
  await check(other.seal(seal), "BATON_INVALID");
  await check(`${good.seal(seal)}=`, "BATON_INVALID");
  await check(good.seal({ ...seal, node: nodeId("b") }), "BATON_INVALID");
  await check(good.seal(seal), "STREAM_EXPIRED");
  await check(7, "BAD_REQUEST");
  const baton = good.seal({ ...seal, plain: true });
  const again = await post(`${url}/v2/pipeline`, { baton, requests: [execute("select 1")] });
  assert.equal(again.status, 200, "it had nothing that the restart took");
});

test("a baton in use is refused, and the request that uses it goes on", async (t) => {
  const backend = new ScriptedBackend();
  const { url } = await serve(t, backend);
  const first = await post(`${url}/v2/pipeline`, { requests: [execute("begin")] });
  const arrived = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  backend.answer = async (unit) => {
    arrived.resolve();
    await release.promise;
    return okAnswer(unit);
  };
  const body = { baton: first.json.baton, requests: [execute("select 1")] };
  const slow = post(`${url}/v2/pipeline`, body);
  await arrived.promise;
  const second = await post(`${url}/v2/pipeline`, body);
  assert.equal(second.json.code, "BATON_INVALID");
  release.resolve();
  assert.equal((await slow).status, 200);
});

test("what the backend refuses is the result of every SQL request, with status 200", async (t) => {
  const backend = new ScriptedBackend();
  backend.answer = () => {
    throw new ClientError("NO_LEADER", "there is none");
  };
  const { url } = await serve(t, backend);
  const { status, json } = await post(`${url}/v2/pipeline`, {
    requests: [execute("a"), { type: "store_sql", sql_id: 1, sql: "x" }, execute("b"), close],
  });
  assert.equal(status, 200);
  const error = { type: "error", error: { message: "there is none", code: "NO_LEADER" } };
  assert.deepEqual(json.results[0], error);
  assert.equal(json.results[1].type, "ok");
  assert.deepEqual(json.results[2], error);
  assert.equal(json.results[3].type, "ok");
});

test("after a transaction broke nothing runs on the stream until the client begins anew", async (t) => {
  const backend = new ScriptedBackend();
  backend.answer = (unit) => okAnswer(unit, "s1");
  const { url } = await serve(t, backend);
  let baton: unknown;
  const run = async (sql: string) => {
    const { json } = await post(`${url}/v2/pipeline`, { baton, requests: [execute(sql)] });
    baton = json.baton;
    return json.results[0].error?.code;
  };
  await run("begin immediate");
  backend.answer = () => {
    throw new ClientError("STATEMENT_TIMEOUT", "too slow");
  };
  assert.equal(await run("update t set x = 1"), "STATEMENT_TIMEOUT");
  assert.deepEqual(backend.closedSessions, ["s1"]);
  backend.answer = (unit) => okAnswer(unit);
  assert.equal(await run("update t set y = 1"), "STATEMENT_TIMEOUT", "would be committed alone");
  assert.equal(await run("commit"), "STATEMENT_TIMEOUT");
  assert.equal(backend.runs.length, 2);
  assert.equal(await run("rollback"), undefined);
  assert.equal(await run("update t set y = 1"), undefined);
  assert.equal(backend.runs.at(-1)?.options.session, undefined);
});

test("a commit that broke does not block the stream", async (t) => {
  const backend = new ScriptedBackend();
  backend.answer = (unit) => okAnswer(unit, "s1");
  const { url } = await serve(t, backend);
  const begun = await post(`${url}/v2/pipeline`, { requests: [execute("begin")] });
  backend.answer = () => {
    throw new ClientError("UNKNOWN_OUTCOME", "who knows");
  };
  const broken = await post(`${url}/v2/pipeline`, {
    baton: begun.json.baton,
    requests: [execute("commit")],
  });
  assert.equal(broken.json.results[0].error.code, "UNKNOWN_OUTCOME");
  backend.answer = (unit) => okAnswer(unit);
  const next = await post(`${url}/v2/pipeline`, {
    baton: broken.json.baton,
    requests: [execute("insert into t values (1)")],
  });
  assert.equal(next.json.results[0].type, "ok");
});

test("a malformed request has no effect and ends the stream it names", async (t) => {
  const backend = new ScriptedBackend();
  backend.answer = (unit) => okAnswer(unit, "s1");
  const { url } = await serve(t, backend);
  const { json } = await post(`${url}/v2/pipeline`, { requests: [execute("begin")] });
  const bad = await post(`${url}/v2/pipeline`, {
    baton: json.baton,
    requests: [execute("insert"), { type: "explode" }],
  });
  assert.equal(bad.status, 400);
  assert.equal(bad.json.code, "BAD_REQUEST");
  assert.match(bad.json.message, /requests\[1\].*explode/);
  assert.equal(backend.runs.length, 1, "the insert did not run");
  assert.deepEqual(backend.closedSessions, ["s1"]);
});

test("headers say how to run; a bad one is refused with the good ones", async (t) => {
  const backend = new ScriptedBackend();
  const { url } = await serve(t, backend);
  const body = { requests: [execute("select 1"), close] };
  await post(`${url}/v2/pipeline`, body);
  assert.deepEqual(backend.runs[0]?.options.consistency, { type: "session" });
  await post(`${url}/v2/pipeline`, body, {
    "paceline-consistency": "bounded; maxLagMs=250",
    "paceline-min-position": "42@3",
    "paceline-deadline-ms": "700",
  });
  const { consistency, minPosition, deadlineMs } = backend.runs[1]?.options ?? {};
  assert.deepEqual(consistency, { type: "bounded", maxLagMs: 250 });
  assert.deepEqual(minPosition, { lsn: 42, term: 3 });
  assert.equal(deadlineMs, 700);
  await post(`${url}/v2/pipeline`, {
    requests: [{ type: "execute", stmt: { sql: "select 1", replication_index: 50 } }, close],
  });
  assert.deepEqual(backend.runs[2]?.options.minPosition, { lsn: 50, term: 0 });
  const bad = await post(`${url}/v2/pipeline`, body, { "paceline-consistency": "fresh" });
  assert.equal(bad.status, 400);
  assert.match(bad.json.message, /stale, session, bounded;maxLagMs=N, leader, linearizable/);
  for (const deadline of ["0", "-1", "x", "99999999"]) {
    const { json } = await post(`${url}/v2/pipeline`, body, { "paceline-deadline-ms": deadline });
    assert.equal(json.code, "BAD_REQUEST");
  }
});

test("what a stream keeps as a connection goes with its next unit", async (t) => {
  const backend = new ScriptedBackend();
  const connection = { ...newConnection, settings: { foreign_keys: "1" }, changes: "3" };
  backend.answer = (unit) => ({ ...okAnswer(unit), connection });
  const { url } = await serve(t, backend);
  const first = await post(`${url}/v2/pipeline`, { requests: [execute("pragma foreign_keys=on")] });
  backend.answer = (unit) => okAnswer(unit);
  const next = await post(`${url}/v2/pipeline`, {
    baton: first.json.baton,
    requests: [execute("x")],
  });
  await post(`${url}/v2/pipeline`, { baton: next.json.baton, requests: [execute("y"), close] });
  assert.deepEqual(
    backend.runs.map(({ unit }) => unit.connection),
    [undefined, connection, connection],
  );
});

test("a client that hangs up aborts its request and loses its stream", async (t) => {
  const backend = new ScriptedBackend();
  const started = Promise.withResolvers<AbortSignal>();
  const ended = Promise.withResolvers<void>();
  backend.answer = async (unit, { signal }) => {
    started.resolve(signal);
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    setImmediate(ended.resolve);
    return okAnswer(unit, "s1");
  };
  const { url } = await serve(t, backend);
  const hangUp = new AbortController();
  const body = JSON.stringify({ requests: [execute("begin")] });
  const sent = fetch(`${url}/v2/pipeline`, { method: "POST", body, signal: hangUp.signal });
  await started.promise;
  hangUp.abort();
  await assert.rejects(sent);
  await ended.promise;
  assert.deepEqual(backend.closedSessions, ["s1"]);
});

test("a bug is INTERNAL without its text, and is told", async (t) => {
  const backend = new ScriptedBackend();
  backend.answer = () => {
    throw new TypeError("secret detail");
  };
  const { url, faults } = await serve(t, backend);
  const { status, json } = await post(`${url}/v2/pipeline`, { requests: [execute("a")] });
  assert.equal(status, 500);
  assert.equal(json.code, "INTERNAL");
  assert.doesNotMatch(JSON.stringify(json), /secret detail/);
  assert.equal(faults.length, 1);
});
