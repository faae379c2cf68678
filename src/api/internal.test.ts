// From one node to another: the forwarder of one against the endpoints of the other.

import assert from "node:assert/strict";
import { createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { ClientError, type ErrorCode } from "../base/errors.ts";
import type { Unit } from "../db/sql/request.ts";
import { newConnection } from "../db/stream/connection-state.ts";
import { Forwarder } from "../node/route/forward.ts";
import { internalToken } from "../node/route/forward-wire.ts";
import type { RunOptions } from "../node/route/run.ts";
import { lsn, nodeId, term } from "../vocabulary.ts";
import { get, okAnswer, post, ScriptedBackend, secret, serve } from "./scripted-backend.test.ts";

const stmt = { sql: "x", args: [], namedArgs: [], wantRows: true };
const write: Unit = { requests: [{ type: "execute", stmt: { ...stmt, sql: "delete from t" } }] };
const read: Unit = { requests: [{ type: "execute", stmt: { ...stmt, sql: "select 1" } }] };

const options = (more: Partial<RunOptions> = {}): RunOptions => ({
  consistency: { type: "session" },
  minPosition: undefined,
  session: undefined,
  deadlineMs: undefined,
  signal: new AbortController().signal,
  ...more,
});

function forwarder(t: TestContext, token = internalToken(secret)): Forwarder {
  const made = new Forwarder({ token, self: nodeId("b") });
  t.after(() => made.close());
  return made;
}

async function refusalOf(answer: Promise<unknown>): Promise<ErrorCode | undefined> {
  try {
    await answer;
  } catch (error) {
    if (error instanceof ClientError) return error.code;
    throw error;
  }
  return undefined;
}

test("a unit arrives as it was sent, and results come back as they were made", async (t) => {
  const backend = new ScriptedBackend();
  const { server } = await serve(t, backend);
  const connection = { ...newConnection, settings: { query_only: "1" }, changes: "7" };
  const results = ['{"a":"é😀\\n"}', "{}", '{"type":"ok"}', '""', "1"];
  backend.answer = (unit) => ({
    ...okAnswer(unit, "w.a.1"),
    results,
    connection,
    acked: "all",
  });
  const unit: Unit = {
    connection,
    requests: [
      {
        type: "execute",
        stmt: {
          sql: "insert into t values (:a) -- \u2028",
          args: [],
          namedArgs: [{ name: ":a", value: { type: "blob", base64: "AP8" } }],
          wantRows: false,
        },
      },
      {
        type: "batch",
        steps: [
          { stmt, condition: undefined },
          { stmt, condition: { type: "not", cond: { type: "ok", step: 0 } } },
        ],
      },
      { type: "sequence", sql: "a; b" },
      { type: "describe", sql: "c" },
      { type: "get_autocommit" },
    ],
  };
  const asked = options({
    consistency: { type: "bounded", maxLagMs: 5 },
    minPosition: { lsn: lsn(4), term: term(2) },
    session: "w.a.1",
    deadlineMs: 900,
    ack: { level: "all", timeoutMs: 70 },
  });
  const answer = await forwarder(t).run(`127.0.0.1:${server.port}`, unit, asked);
  const acked = { results, connection, acked: "all" };
  assert.deepEqual(answer, { ...okAnswer(unit, "w.a.1"), ...acked });
  assert.deepEqual(backend.runs[0]?.unit, unit);
  const { signal: _, ...got } = backend.runs[0]!.options;
  const { signal: __, ...sent } = asked;
  assert.deepEqual(got, { ...sent, origin: "b" });
});

test("refusals of the leader come back as they were made", async (t) => {
  const backend = new ScriptedBackend();
  const { server } = await serve(t, backend);
  const address = `127.0.0.1:${server.port}`;
  const codes = ["OVERLOADED", "UNKNOWN_OUTCOME", "TRANSACTION_TIMEOUT", "BLOCKED"] as const;
  for (const code of codes) {
    backend.answer = () => {
      throw new ClientError(code, "because");
    };
    assert.equal(await refusalOf(forwarder(t).run(address, write, options())), code);
  }
  backend.leads = false;
  assert.equal(await refusalOf(forwarder(t).run(address, write, options())), "NOT_LEADER");
});

test("nobody listens: surely nothing happened", async (t) => {
  const free = createServer();
  const port = await new Promise<number>((resolve) =>
    free.listen(0, "127.0.0.1", () => resolve((free.address() as { port: number }).port)),
  );
  await new Promise((resolve) => free.close(resolve));
  const sender = forwarder(t);
  const session = "w.a.1";
  assert.equal(await refusalOf(sender.run(`127.0.0.1:${port}`, write, options())), "NOT_LEADER");
  const continued = sender.run(`localhost:${port}`, write, options({ session }));
  assert.equal(await refusalOf(continued), "TRANSACTION_LOST");
  assert.equal(await refusalOf(sender.status(`127.0.0.1:${port}`, 500)), "NOT_READY");
});

test("the leader dies after the request was sent: unknown, unless it could not commit", async (t) => {
  let requests = 0;
  const dying = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      requests++;
      socket.destroy();
    });
  });
  t.after(() => dying.close());
  const port = await new Promise<number>((resolve) =>
    dying.listen(0, "127.0.0.1", () => resolve((dying.address() as { port: number }).port)),
  );
  const sender = forwarder(t);
  const address = `127.0.0.1:${port}`;
  assert.equal(await refusalOf(sender.run(address, write, options())), "UNKNOWN_OUTCOME");
  assert.equal(requests, 1, "it was sent once");
  assert.equal(await refusalOf(sender.run(address, read, options())), "NOT_LEADER");
  const asked = async (session: string | undefined, ...sql: string[]) => {
    const requests = sql.map((text) => ({
      type: "execute" as const,
      stmt: { ...stmt, sql: text },
    }));
    const error = await sender.run(address, { requests }, options({ session })).then(
      () => undefined,
      (thrown: ClientError) => thrown,
    );
    // The library's own words for a connection that was ended.
    assert.doesNotMatch(error!.message, /other side closed|client is destroyed/);
    return error!.code;
  };
  const open = "w.a.1";
  assert.equal(await asked(open, "SELECT 1"), "TRANSACTION_LOST");
  assert.equal(await asked(open, "INSERT INTO t VALUES (1)"), "TRANSACTION_LOST");
  assert.equal(await asked(open, "COMMIT"), "UNKNOWN_OUTCOME");
  assert.equal(await asked(open, "INSERT INTO t VALUES (1)", "COMMIT"), "UNKNOWN_OUTCOME");
  // What a reader held has nothing to commit.
  assert.equal(await asked("r.a.1", "COMMIT"), "TRANSACTION_LOST");
  assert.equal(await asked(undefined, "BEGIN IMMEDIATE", "INSERT INTO t VALUES (1)"), "NOT_LEADER");
  assert.equal(await asked(undefined, "BEGIN", "DELETE FROM t", "COMMIT"), "UNKNOWN_OUTCOME");
});

test("something else listens there", async (t) => {
  const other = createServer((socket) => {
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"));
  });
  t.after(() => other.close());
  const port = await new Promise<number>((resolve) =>
    other.listen(0, "127.0.0.1", () => resolve((other.address() as { port: number }).port)),
  );
  const answer = forwarder(t).run(`127.0.0.1:${port}`, write, options());
  assert.equal(await refusalOf(answer), "UNKNOWN_OUTCOME");
});

test("when the client goes, the leader is told", async (t) => {
  const backend = new ScriptedBackend();
  const { server } = await serve(t, backend);
  const started = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<void>();
  backend.answer = async (unit, { signal }) => {
    signal.addEventListener("abort", () => aborted.resolve());
    started.resolve();
    await aborted.promise;
    return okAnswer(unit);
  };
  const gone = new AbortController();
  const address = `127.0.0.1:${server.port}`;
  const answer = forwarder(t).run(address, write, options({ signal: gone.signal }));
  await started.promise;
  gone.abort();
  assert.equal(await refusalOf(answer), "UNKNOWN_OUTCOME");
  await aborted.promise;
  const late = forwarder(t).run(address, write, options({ signal: gone.signal }));
  assert.equal(await refusalOf(late), "OVERLOADED");
});

test("a node that is known to be gone is not waited for", async (t) => {
  const backend = new ScriptedBackend();
  const { server } = await serve(t, backend);
  const started = Promise.withResolvers<void>();
  const never = Promise.withResolvers<void>();
  backend.answer = async (unit) => {
    started.resolve();
    await never.promise;
    return okAnswer(unit);
  };
  const sender = forwarder(t);
  const address = `127.0.0.1:${server.port}`;
  const answer = sender.run(address, write, options());
  await started.promise;
  sender.abandon(address);
  assert.equal(await refusalOf(answer), "UNKNOWN_OUTCOME");
  never.resolve();
  backend.answer = (unit) => okAnswer(unit);
  assert.equal((await sender.run(address, write, options())).results.length, 1, "and may return");
});

test("only nodes of the cluster are heard", async (t) => {
  const backend = new ScriptedBackend();
  const { server, url } = await serve(t, backend);
  const stranger = forwarder(t, internalToken("another secret"));
  const address = `127.0.0.1:${server.port}`;
  assert.equal(await refusalOf(stranger.run(address, write, options())), "NOT_READY");
  assert.equal(backend.runs.length, 0);
  for (const headers of [{}, { authorization: "" }, { authorization: "Bearer None" }]) {
    const { status, json } = await post(`${url}/internal/run`, "{}", headers);
    assert.equal(status, 401);
    assert.equal(json.code, "UNAUTHORIZED");
  }
  assert.equal((await get(`${url}/internal/status`)).status, 401);
});

test("asking: answers, refusals, and a connection that breaks off", async (t) => {
  const { server } = await serve(t, new ScriptedBackend());
  const sender = forwarder(t);
  const address = `127.0.0.1:${server.port}`;
  const remove = (id: string) =>
    sender.ask(address, { method: "DELETE", path: `/admin/members/${id}` }, 1_000);
  assert.deepEqual(await remove("d"), { id: "d", removed: true });
  assert.equal(await refusalOf(remove("a")), "MEMBERSHIP_REFUSED");
  assert.deepEqual(await sender.verify(address, {}), await new ScriptedBackend().verifyHere());
  const members = await sender.ask(address, { method: "GET", path: "/internal/members" }, 1_000);
  assert.deepEqual(members, {
    members: [{ id: "a", kind: "voter", address: "127.0.0.1:7001" }],
  });
});

test("status and the end of a transaction", async (t) => {
  const backend = new ScriptedBackend();
  const { server } = await serve(t, backend);
  const sender = forwarder(t);
  const address = `127.0.0.1:${server.port}`;
  const status = await sender.status(address, 1_000);
  assert.deepEqual(status, backend.localStatus());
  assert.ok("lagMs" in status, "what is not known is shown as null by the one who asked");
  sender.closeSession(address, "w.a.1");
  while (backend.closedSessions.length === 0) await new Promise((r) => setTimeout(r, 5));
  assert.deepEqual(backend.closedSessions, ["w.a.1"]);
});
