// The server as strangers, load balancers, operators and attackers meet it.

import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { limits } from "../limits.ts";
import { lsn } from "../vocabulary.ts";
import { ListenError } from "./http/listen-error.ts";
import { get, okAnswer, post, ScriptedBackend, serve } from "./scripted-backend.test.ts";

const pipeline = JSON.stringify({
  requests: [{ type: "execute", stmt: { sql: "select 1" } }, { type: "close" }],
});

/** Sends bytes, gives everything that comes back until the other side closes. */
function raw(port: number, send: (socket: Socket) => void): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => send(socket));
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
}

test("probes of load balancers", async (t) => {
  const backend = new ScriptedBackend();
  const { url } = await serve(t, backend);
  const check = async (path: string, status: number, code?: string) => {
    const answer = await get(url + path);
    assert.equal(answer.status, status, path);
    assert.equal(answer.type, "application/json");
    assert.equal(answer.json.code, code, path);
  };
  await check("/health", 200);
  await check("/leader", 200);
  await check("/replica", 200);
  backend.leads = false;
  backend.lag = 80;
  await check("/leader", 503, "NOT_LEADER");
  await check("/replica?maxLagMs=80", 200);
  await check("/replica?maxLagMs=79", 503, "TOO_STALE");
  await check("/replica?maxLagMs=x", 400, "BAD_REQUEST");
  backend.lag = undefined;
  await check("/replica", 200);
  await check("/replica?maxLagMs=1000", 503, "TOO_STALE");
  backend.isUp = false;
  await check("/replica", 503, "NOT_READY");
  await check("/health", 200);
});

test("status has all fields, null where nothing is known", async (t) => {
  const { url } = await serve(t, new ScriptedBackend());
  const { json } = await get(`${url}/status`);
  assert.deepEqual(Object.keys(json), [
    "clusterId",
    "term",
    "leader",
    "commitRule",
    "settings",
    "nodes",
  ]);
  assert.equal(json.leader, null);
  assert.deepEqual(Object.keys(json.nodes[0]).sort(), [
    ...[
      "appliedLsn",
      "born",
      "checksum",
      "committedLsn",
      "durableLsn",
      "durableTerm",
      "id",
      "kind",
    ],
    ...["lagBytes", "lagEntries", "lagMs", "priority", "reachable", "role", "term", "url"],
  ]);
});

test("a node by itself: its own state, who leads, the members", async (t) => {
  const { url } = await serve(t, new ScriptedBackend());
  const { status, json } = await get(`${url}/node`);
  assert.equal(status, 200);
  assert.equal(json.id, "a");
  assert.equal(json.takesWrites, true);
  assert.equal(json.lagMs, null, "what is not known is null, and not zero");
  assert.deepEqual(json.members, [{ id: "a", kind: "voter", url: "http://127.0.0.1:7001" }]);
});

test("operations, and their refusals", async (t) => {
  const backend = new ScriptedBackend();
  const { url } = await serve(t, backend);
  assert.deepEqual((await post(`${url}/admin/verify`, "")).json, { identical: true, nodes: [] });
  assert.deepEqual((await post(`${url}/admin/switchover`, "")).json, { leader: "b" });
  assert.deepEqual((await post(`${url}/admin/switchover`, { to: "c" })).json, { leader: "c" });
  assert.equal((await post(`${url}/admin/switchover`, { to: "C!" })).json.code, "BAD_REQUEST");
  const member = { id: "d", address: "10.0.0.4:7001" };
  assert.equal((await post(`${url}/admin/members`, member)).status, 200);
  assert.deepEqual(backend.added, [{ ...member, kind: "voter" }]);
  for (const bad of [
    {},
    { ...member, id: "" },
    { ...member, address: "nowhere" },
    { ...member, address: "a:70000" },
    { ...member, kind: "king" },
  ]) {
    assert.equal((await post(`${url}/admin/members`, bad)).json.code, "BAD_REQUEST");
  }
  const remove = (id: string) => get(`${url}/admin/members/${id}`, { method: "DELETE" });
  assert.equal((await remove("d")).status, 200);
  const refused = await remove("a");
  assert.equal(refused.status, 409);
  assert.equal(refused.json.code, "MEMBERSHIP_REFUSED");
  const foreign = await post(`${url}/admin/verify`, "", { origin: "http://evil.example" });
  assert.equal(foreign.status, 401);
  const spelt = await post(`${url}/%61dmin/verify`, "", { origin: "http://evil.example" });
  assert.equal(spelt.status, 401);
  assert.equal(spelt.headers.get("access-control-allow-origin"), null);
  assert.equal((await post(`${url}/admin/verify`, "", { origin: url })).status, 200);
});

test("greetings, and paths that lead nowhere", async (t) => {
  const { url } = await serve(t, new ScriptedBackend());
  for (const path of ["/v1", "/v2", "/v3", "/", "/version"]) {
    assert.equal((await get(url + path)).status, 200, path);
  }
  for (const path of [
    "/v3-protobuf",
    "/v1/jobs",
    "/v1/jobs/1",
    "/nothing",
    "/..%2fetc/passwd",
    "/%",
  ]) {
    const { status, json, type } = await get(url + path);
    assert.ok(status === 404 || (path === "/%" && status === 400), path);
    assert.equal(type, "application/json");
    assert.deepEqual(Object.keys(json).slice(0, 4), ["message", "code", "error", "retry"]);
  }
  assert.equal((await post(`${url}/v3-protobuf/pipeline`, "")).status, 404);
});

test("a path that is no URL leads nowhere either", async (t) => {
  const { server, faults } = await serve(t, new ScriptedBackend());
  const text = await raw(server.port, (socket) =>
    socket.write("GET // HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
  );
  assert.match(text, /^HTTP\/1\.1 404/);
  assert.deepEqual(faults, []);
});

test("CORS for the database, not for operations", async (t) => {
  const { url } = await serve(t, new ScriptedBackend());
  const asked = { "access-control-request-headers": "authorization,content-type" };
  const options = await get(`${url}/v2/pipeline`, { method: "OPTIONS", headers: asked });
  assert.equal(options.status, 204);
  assert.equal(options.headers.get("access-control-allow-origin"), "*");
  assert.match(options.headers.get("access-control-allow-headers") ?? "", /authorization/);
  const answer = await post(`${url}/v2/pipeline`, pipeline);
  assert.equal(answer.headers.get("access-control-allow-origin"), "*");
  assert.equal((await get(`${url}/admin/verify`, { method: "OPTIONS" })).status, 404);
});

test("any content type is taken, and none", async (t) => {
  const { url, server } = await serve(t, new ScriptedBackend());
  for (const type of ["text/plain", "garbage", "application/json; charset=utf-8", ";;;"]) {
    assert.equal(
      (await post(`${url}/v2/pipeline`, pipeline, { "content-type": type })).status,
      200,
    );
  }
  const text = await raw(server.port, (socket) =>
    socket.write(
      "POST /v2/pipeline HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" +
        `content-length: ${pipeline.length}\r\n\r\n${pipeline}`,
    ),
  );
  assert.match(text, /^HTTP\/1\.1 200/);
});

test("bodies over the limit: refused by length, cut off when endless", async (t) => {
  const backend = new ScriptedBackend();
  const { server } = await serve(t, backend);
  const declared = await raw(server.port, (socket) =>
    socket.write(
      `POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ncontent-length: ${limits.requestBytesMax + 1}\r\n\r\n{`,
    ),
  );
  assert.match(declared, /^HTTP\/1\.1 413/);
  assert.match(declared, /content-type: application\/json\r\n/);
  assert.match(declared, /"code":"BODY_TOO_LARGE"/);
  const piece = Buffer.alloc(1024 * 1024, "[");
  const endless = await raw(server.port, (socket) => {
    socket.write("POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    const more = (error?: Error | null) => {
      if (error instanceof Error || socket.destroyed) return;
      socket.write(`${piece.length.toString(16)}\r\n`);
      socket.write(piece);
      socket.write("\r\n", more);
    };
    more();
  });
  assert.match(endless, /^HTTP\/1\.1 413|^$/);
  assert.equal(backend.runs.length, 0);
});

test("malformed JSON, bombs and empty bodies are 400, and the connection lives", async (t) => {
  const { url } = await serve(t, new ScriptedBackend());
  for (const body of ["", "{", "null", "[".repeat(1_000_000), '{"requests":7}']) {
    const { status, json } = await post(`${url}/v2/pipeline`, body);
    assert.equal(status, 400);
    assert.equal(json.code, "BAD_REQUEST");
  }
  assert.equal((await post(`${url}/v2/pipeline`, pipeline)).status, 200);
});

test("HTTP that tries to be two things at once", async (t) => {
  const { server } = await serve(t, new ScriptedBackend());
  const head = "POST /v2/pipeline HTTP/1.1\r\nhost: x\r\n";
  for (const rest of [
    "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a: b\r\n c: obs-fold\r\ncontent-length : 0\r\n\r\n",
  ]) {
    const text = await raw(server.port, (socket) => socket.write(head + rest));
    assert.match(text, /^HTTP\/1\.1 400/, rest);
    assert.match(text, /connection: close/i);
  }
  assert.match(await raw(server.port, (s) => s.write("GET / HTTP/1.1\r\n\r\n")), /^HTTP\/1\.1 400/);
  assert.match(await raw(server.port, (s) => s.write("SSH-2.0-x\r\n\r\n")), /"code":"BAD_REQUEST"/);
  const large = `GET / HTTP/1.1\r\nhost: x\r\na: ${"x".repeat(limits.httpHeaderBytesMax)}\r\n\r\n`;
  assert.match(await raw(server.port, (s) => s.write(large)), /^HTTP\/1\.1 431/);
});

test("links between nodes are handed over, other upgrades are not followed", async (t) => {
  let handedOver = 0;
  const { server } = await serve(t, new ScriptedBackend(), {
    onPeer: (socket) => {
      handedOver++;
      socket.end("HTTP/1.1 101 Switching Protocols\r\n\r\nhello");
    },
  });
  const ask = (protocol: string) =>
    raw(server.port, (socket) =>
      socket.write(
        `GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: ${protocol}\r\n\r\n`,
      ),
    );
  assert.match(await ask("paceline-peer"), /101 Switching Protocols\r\n\r\nhello$/);
  assert.equal(handedOver, 1);
  assert.match(await ask("h2c"), /^HTTP\/1\.1 200/);
  assert.match(await ask("websocket"), /^HTTP\/1\.1 404[\s\S]*http:\/\/ instead of ws:\/\//);
  assert.equal(handedOver, 1);
});

test("a client that takes its answer slowly gets all of it", async (t) => {
  const backend = new ScriptedBackend();
  const big = `{"type":"ok","response":{"type":"execute","result":"${"é".repeat(4_000_000)}"}}`;
  backend.answer = (unit) => ({ ...okAnswer(unit), results: [big] });
  const { server } = await serve(t, backend);
  const text = await raw(server.port, (socket) => {
    socket.write(
      "POST /v2/pipeline HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" +
        `content-length: ${pipeline.length}\r\n\r\n${pipeline}`,
    );
    socket.pause();
    setTimeout(() => socket.resume(), 200);
  });
  const body = Buffer.from(text.split("\r\n\r\n")[1] ?? "", "latin1").toString();
  assert.equal(JSON.parse(body).results[0].response.result.length, 4_000_000);
});

test("metrics: the node's numbers and those of HTTP, without global state", async (t) => {
  const { url } = await serve(t, new ScriptedBackend());
  const { url: other } = await serve(t, new ScriptedBackend());
  await get(`${url}/nothing/7`);
  await get(`${url}/metrics`);
  const { text, type } = await get(`${url}/metrics`);
  assert.match(type ?? "", /^text\/plain/);
  assert.match(text, /^# TYPE paceline_committed_lsn gauge\npaceline_committed_lsn 7$/m);
  assert.match(text, /^# TYPE paceline_write_units_total counter\npaceline_write_units_total 5$/m);
  assert.match(text, /^# HELP paceline_write_units_total Units that wrote/m);
  assert.match(text, /paceline_http_requests_total\{method="GET",route="unknown",status="404"\} 1/);
  assert.doesNotMatch(text, /NaN/);
  assert.doesNotMatch((await get(`${other}/metrics`)).text, /status="404"/);
});

test("a port in use is said plainly", async (t) => {
  const { server } = await serve(t, new ScriptedBackend());
  await assert.rejects(serve(t, new ScriptedBackend(), { port: server.port }), (error) => {
    assert.ok(error instanceof ListenError);
    assert.equal(error.why, "in-use");
    assert.match(error.message, new RegExp(`127.0.0.1:${server.port} is in use`));
    return true;
  });
});

test("closing lets requests finish, rolls back what is open, and refuses newcomers", async (t) => {
  const backend = new ScriptedBackend();
  backend.answer = (unit) => okAnswer(unit, "s1");
  const { url, server } = await serve(t, backend);
  await post(`${url}/v2/pipeline`, { requests: [{ type: "execute", stmt: { sql: "begin" } }] });
  const arrived = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  backend.answer = async (unit) => {
    arrived.resolve();
    await release.promise;
    return { ...okAnswer(unit), position: { ...okAnswer(unit).position, lsn: lsn(43) } };
  };
  const slow = post(`${url}/v2/pipeline`, pipeline);
  await arrived.promise;
  const closed = server.close();
  await assert.rejects(fetch(`${url}/health`));
  release.resolve();
  const answer = await slow;
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("paceline-position"), "43@3");
  await closed;
  assert.deepEqual(backend.closedSessions, ["s1"]);
});
