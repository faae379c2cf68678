/** The change stream over WebSocket, as real clients, stubborn ones and vanished ones meet it. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RecordedTransaction } from "../../changes/steps.ts";
import { encodeTransactions } from "../../changes/steps-codec.ts";
import { RealClock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import { Feed, type FeedLog } from "../../node/changes/feed.ts";
import { Waiters } from "../../node/waiters.ts";
import { encodePages } from "../../payload/pages.ts";
import { joinSections } from "../../payload/sections.ts";
import { type Entry, lsn, term } from "../../vocabulary.ts";
import { ScriptedBackend, serve } from "../scripted-backend.test.ts";

/** Twenty times faster than time. */
class FastClock extends RealClock {
  override nowMs(): number {
    return super.nowMs() * 20;
  }

  override every(ms: number, f: () => void) {
    return super.every(ms / 20, f);
  }

  override after(ms: number, f: () => void) {
    return super.after(ms / 20, f);
  }
}

/** Entries 11@2 and on; the first so many as they are made. */
class FakeLog implements FeedLog {
  readonly base = { lsn: lsn(10), term: term(2) };
  readonly bodies: Uint8Array[] = [];
  /** The highest that was asked for. */
  highest = 0;
  readonly applied = new Waiters(new FastClock(), lsn(10));

  termAt() {
    return term(2);
  }

  async read(from: number, to: number, bytesMax: number): Promise<readonly Entry[]> {
    const entries: Entry[] = [];
    for (let at = from, bytes = 0; at < to && (bytes < bytesMax || entries.length === 0); at++) {
      const body = this.bodies[at - 11]!;
      bytes += body.byteLength;
      entries.push({ lsn: lsn(at), term: term(2), kind: "payload", chain: "", body });
      this.highest = at;
    }
    return entries;
  }

  /** An entry with a statement; a gap without. */
  add(sql: string | undefined): void {
    this.bodies.push(sql === undefined ? gapBody : bodyOf(sql));
    this.applied.reach(lsn(10 + this.bodies.length));
  }
}

const committedAtMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
/** Pages alone. */
const gapBody = encodePages(
  {
    ...{ pageSize: 4096, pageCount: 1, pgnos: new Uint32Array(), pages: new Uint8Array() },
    hashes: new Uint32Array(),
  },
  committedAtMs,
  false,
);

function bodyOf(sql: string): Uint8Array {
  const statement = {
    ...{ sql, args: [], namedArgs: [], foreignKeys: false, failed: false, isUnsure: false },
    ...{ captured: [], lastRowid: undefined },
  };
  const transaction: RecordedTransaction = {
    steps: [{ type: "statement", why: "a test", statement }],
  };
  const changes = encodeTransactions([transaction]);
  return joinSections({
    ...{ logKind: "rows", committedAtMs, pages: undefined, statements: undefined, changes },
  });
}

async function served(t: TestContext) {
  const log = new FakeLog();
  const backend = new ScriptedBackend();
  backend.feed = new Feed({ log, applied: log.applied, isRecorded: () => true });
  const { server } = await serve(t, backend, { clock: new FastClock() });
  return { log, backend, server, url: `ws://127.0.0.1:${server.port}/changes` };
}

type Told = { type: string; position?: string; code?: string; [field: string]: unknown };

/** Node's own client: what it hears, and how it ends. */
class Client {
  readonly told: Told[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly socket: WebSocket;

  constructor(url: string) {
    this.socket = new WebSocket(url);
    this.socket.onmessage = ({ data }) => this.told.push(JSON.parse(String(data)) as Told);
    this.closed = new Promise((resolve) => {
      this.socket.onclose = ({ code, reason }) => resolve({ code, reason });
    });
  }

  async hears(count: number): Promise<Told[]> {
    await until(
      () => this.told.length >= count,
      () => `${this.told.length} of ${count} events`,
    );
    return this.told;
  }
}

async function until(isTrue: () => boolean, what: () => string): Promise<void> {
  for (const endMs = performance.now() + 20_000; !isTrue(); ) {
    assert.ok(performance.now() < endMs, what());
    await sleep(5);
  }
}

/** A client that has only a socket. */
async function upgraded(port: number, headers = handshake): Promise<Socket & { text: string }> {
  const socket = Object.assign(connect(port, "127.0.0.1"), { text: "" });
  socket.on("error", () => {});
  socket.write(`GET /changes?from=10 HTTP/1.1\r\nhost: x\r\n${headers}\r\n`);
  await new Promise<void>((resolve) =>
    socket.once("data", (bytes) => {
      socket.text = bytes.toString("latin1");
      resolve();
    }),
  );
  return socket;
}

const handshake =
  "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n" +
  "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

test("one text message per event, from a position on", async (t) => {
  const { log, url } = await served(t);
  log.add("CREATE TABLE a(x)");
  log.add(undefined);
  const client = new Client(`${url}?from=10@2`);
  await client.hears(2);
  log.add("CREATE TABLE b(x)");
  const [a, gap, b] = await client.hears(3);
  const committedAt = "2026-01-02T03:04:05.678Z";
  assert.deepEqual(Object.keys(a!), ["type", "position", "committedAt", "transactions"]);
  assert.deepEqual([a!.type, a!.position, a!["committedAt"]], ["change", "11@2", committedAt]);
  assert.deepEqual(gap, { type: "gap", position: "12@2", committedAt });
  assert.match(JSON.stringify(b!["transactions"]), /CREATE TABLE b/);
  const idle = (await client.hears(4))[3];
  assert.deepEqual(idle, { type: "idle", position: "13@2" });
  client.socket.close();
  const later = new Client(`${url}?from=12@2`);
  assert.equal((await later.hears(1))[0]!.position, "13@2");
  const fromNow = new Client(url);
  assert.equal((await fromNow.hears(1))[0]!.type, "idle");
});

test("positions that cannot be, and wishes that are none, are told and then closed", async (t) => {
  const { backend, url } = await served(t);
  const check = async (query: string, code: string, status: number) => {
    const client = new Client(url + query);
    assert.deepEqual(await client.closed, { code: 4000 + status, reason: code }, query);
    const [error] = client.told;
    assert.deepEqual([client.told.length, error!.type, error!.code], [1, "error", code]);
    assert.equal(typeof error!["message"], "string");
    assert.equal(typeof error!["retry"], "string");
  };
  await check("?from=3@1", "POSITION_TOO_OLD", 410);
  await check("?from=99@2", "POSITION_AHEAD", 409);
  await check("?from=10@7", "POSITION_UNKNOWN", 409);
  await check("?from=yesterday", "BAD_REQUEST", 400);
  await check("?from=10&from=11", "BAD_REQUEST", 400);
  await check("?tables=a&tables=b", "BAD_REQUEST", 400);
  backend.feed = undefined;
  await check("", "NOT_RECORDED", 409);
});

test("what is no WebSocket is answered in HTTP", async (t) => {
  const { server } = await served(t);
  const bad = await upgraded(server.port, handshake.replace("version: 13", "version: 9"));
  assert.match(bad.text, /^HTTP\/1\.1 400 Bad Request[\s\S]*"code":"BAD_REQUEST"/);
  const sse = await upgraded(server.port, "connection: upgrade\r\nupgrade: h2c\r\n");
  assert.match(sse.text, /^HTTP\/1\.1 200 OK[\s\S]*text\/event-stream/);
  bad.destroy();
  sse.destroy();
});

test("streams are bounded in number, and a place is free again when a client is gone", async (t) => {
  const { server, url } = await served(t);
  const clients = Array.from({ length: limits.changeStreamsMax }, () => new Client(url));
  await Promise.all(clients.map((client) => client.hears(1)));
  const refused = await upgraded(server.port);
  assert.match(refused.text, /^HTTP\/1\.1 503 [\s\S]*"code":"OVERLOADED"/);
  const sse = await fetch(`http://127.0.0.1:${server.port}/changes`);
  assert.equal(((await sse.json()) as { code: string }).code, "OVERLOADED");
  clients[7]!.socket.close();
  await clients[7]!.closed;
  const next = new Client(url);
  assert.equal((await next.hears(1))[0]!.type, "idle");
});

test("an event of many megabytes arrives whole", async (t) => {
  const { log, url } = await served(t);
  const sql = `SELECT '${"é€😀".repeat(600_000)}'`;
  log.add(sql);
  log.add("SELECT 2");
  const client = new Client(`${url}?from=10`);
  const [large, small] = await client.hears(2);
  const transactions = large!["transactions"] as { sql: string }[][];
  assert.equal(transactions[0]![0]!.sql, sql);
  assert.equal(small!.position, "12@2");
});

/** A request for the stream on a socket of its own, which takes what comes until it is told not to. */
function reader(port: number): Socket & { bytes: number } {
  const socket = Object.assign(connect(port, "127.0.0.1"), { bytes: 0 });
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    socket.bytes += chunk.length;
  });
  socket.write(`GET /changes?from=10 HTTP/1.1\r\nhost: x\r\n${handshake}\r\n`);
  return socket;
}

/** That do not compress: 40 megabytes. */
function fill(log: FakeLog): number {
  for (let i = 0; i < 400; i++) log.add(`SELECT '${randomBytes(50_000).toString("hex")}'`);
  return 400 * 100_000;
}

/** The log is read no more. */
async function stands(log: FakeLog): Promise<void> {
  await until(
    () => log.highest > 10,
    () => "the stream has begun",
  );
  for (let before = -1; before !== log.highest; ) {
    before = log.highest;
    await sleep(300);
  }
}

test("a client that stops reading stops the log from being read, and gets all of it later", async (t) => {
  const { log, server } = await served(t);
  const bytes = fill(log);
  const client = reader(server.port);
  client.once("data", () => client.pause());
  await stands(log);
  // Ours, the kernel's on both sides, and what one read of the log gave.
  assert.ok(log.highest < 210, `read up to ${log.highest} of 410`);
  client.resume();
  await until(
    () => client.bytes > bytes,
    () => `${client.bytes} of ${bytes} bytes`,
  );
  assert.equal(log.highest, 410);
  client.destroy();
});

test("who takes nothing and answers nothing is gone after a while, who answers stays", {
  timeout: 60_000,
}, async (t) => {
  const { log, server, url } = await served(t);
  const alive = new Client(url);
  const silent = await upgraded(server.port);
  silent.resume();
  fill(log);
  const stuck = reader(server.port);
  stuck.once("data", () => stuck.pause());
  await Promise.all([new Promise((resolve) => silent.once("close", resolve)), stands(log)]);
  await sleep((limits.changeSilentMs + 2 * limits.changePingMs) / 20);
  stuck.resume();
  await new Promise((resolve) => stuck.once("close", resolve));
  assert.ok(stuck.bytes < 30_000_000, "the rest was never sent");
  await until(
    () => alive.told.filter(({ type }) => type === "change").length === 400,
    () => "all of it",
  );
  assert.equal(alive.socket.readyState, WebSocket.OPEN);
});

test("what clients say means nothing, and is bounded", async (t) => {
  const { log, url } = await served(t);
  const client = new Client(url);
  await client.hears(1);
  client.socket.send("hello");
  log.add("SELECT 1");
  await until(
    () => client.told.some(({ type }) => type === "change"),
    () => "a change",
  );
  client.socket.send("x".repeat(limits.changeClientBytesMax + 1));
  assert.equal((await client.closed).code, 1009);
});

test("a node that stops says so", async (t) => {
  const { server, url } = await served(t);
  const client = new Client(url);
  await client.hears(1);
  await server.close();
  assert.deepEqual(await client.closed, { code: 1001, reason: "NOT_READY" });
});
