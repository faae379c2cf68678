import assert from "node:assert/strict";
import { test } from "node:test";
import { type Connection, type ConnectOptions, connect } from "./connect.ts";
import type { PacelineError } from "./errors.ts";
import { TestNode } from "./test-node.ts";

type T = { after(f: () => void): void };

async function connected(
  t: T,
  nodes: readonly TestNode[],
  options: Partial<ConnectOptions> = {},
): Promise<Connection> {
  const db = connect({ urls: nodes.map(({ url }) => url), waitMs: 2_000, ...options });
  t.after(() => void db.close());
  await until(() => db.nodes.filter(({ state }) => state === "up").length === nodes.length);
  return db;
}

async function until(what: () => boolean, ms = 5_000): Promise<void> {
  const endMs = Date.now() + ms;
  while (!what()) {
    assert.ok(Date.now() < endMs, `in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const write = "INSERT INTO t VALUES (1)";
const read = "SELECT 1";
const answeredBy = async (db: Connection, sql: string) =>
  (await db.execute(sql)).rows[0]?.["node"] as string;
const code = (wanted: string) => (error: PacelineError) => {
  assert.equal(error.code, wanted);
  return true;
};

test("writes to the leader, reads to the followers in turn", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b", "c");
  const db = await connected(t, nodes);
  for (let i = 0; i < 3; i++) assert.equal(await answeredBy(db, write), "a");
  const readers = new Set<string>();
  for (let i = 0; i < 8; i++) readers.add(await answeredBy(db, read));
  assert.deepEqual([...readers].sort(), ["b", "c"]);
});

test("finds the members through one of them, and leaves out a node of another cluster", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b", "c");
  const [stranger] = await TestNode.cluster(t, "x");
  stranger!.clusterId = "c2";
  stranger!.term = 9;
  const lines: string[] = [];
  const db = await connected(t, [nodes[1]!], { onEvent: (line) => lines.push(line) });
  await until(() => db.nodes.length === 3);
  assert.equal(await answeredBy(db, write), "a");
  const both = connect({ urls: [nodes[0]!.url, stranger!.url], onEvent: (l) => lines.push(l) });
  t.after(() => void both.close());
  await until(() => lines.some((line) => /belongs to cluster/.test(line)));
});

test("a write that was sent and not answered is unknown, and is never sent again", async (t) => {
  for (const fate of ["break", "html"] as const) {
    const nodes = await TestNode.cluster(t, "a", "b");
    const db = await connected(t, nodes);
    nodes[0]!.fates = [fate];
    await assert.rejects(db.execute(write), code("UNKNOWN_OUTCOME"));
    assert.equal(nodes[0]!.seen.length + nodes[1]!.seen.length, 1, fate);
  }
});

test("what only opened a transaction is as safe to repeat as a read", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const db = await connected(t, nodes);
  nodes[0]!.fates = ["break"];
  // The test's node keeps no streams, so the answer of the second try is one without a baton.
  await assert.rejects(db.begin(), code("INTERNAL"));
  assert.equal(nodes[0]!.seen.length, 2);
});

test("a write that was refused is sent again, and waits for the next leader", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const db = await connected(t, nodes);
  const [a, b] = nodes as [TestNode, TestNode];
  a.leads = false;
  a.fates = ["NOT_LEADER"];
  setTimeout(() => {
    b.leads = true;
    b.term = 2;
  }, 200);
  assert.equal(await answeredBy(db, write), "b");
  assert.equal(a.seen.length, 1);
});

test("the leader is gone: surely not sent, so it waits, and says NO_LEADER in the end", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const db = await connected(t, nodes, { waitMs: 300 });
  nodes[0]!.stop();
  await assert.rejects(db.execute(write), code("NO_LEADER"));
});

test("an overloaded leader is told to the caller", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const db = await connected(t, nodes);
  nodes[0]!.fates = ["OVERLOADED"];
  await assert.rejects(db.execute(write), code("OVERLOADED"));
  assert.equal(nodes[0]!.seen.length, 1);
});

test("a read goes on to another node, whatever happened to it", async (t) => {
  for (const fate of ["break", "html", "NOT_READY", "OVERLOADED", "TOO_STALE"]) {
    const nodes = await TestNode.cluster(t, "a", "b", "c");
    const db = await connected(t, nodes);
    nodes[1]!.fates = [fate];
    nodes[2]!.fates = [fate];
    assert.equal(await answeredBy(db, read), "a", fate);
  }
});

test("a node that has gone silent counts as lag, and what hangs there goes elsewhere", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const db = await connected(t, nodes);
  const b = nodes[1]!;
  b.speaks = false;
  b.fates = ["hang"];
  const hanging = answeredBy(db, read);
  await until(() => (db.nodes.find(({ id }) => id === "b")?.lagMs ?? 0) > 300);
  assert.equal(await hanging, "a");
  assert.equal(db.nodes.find(({ id }) => id === "b")?.state, "silent");
  assert.equal(await answeredBy(db, read), "a");
  assert.equal(b.seen.length, 1, "nothing new is sent to a silent node");
});

test("a write that hangs on a silent leader is unknown as soon as another one leads", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const db = await connected(t, nodes);
  const [a, b] = nodes as [TestNode, TestNode];
  a.fates = ["hang"];
  const hanging = db.execute(write);
  a.speaks = false;
  b.leads = true;
  b.term = 2;
  await assert.rejects(hanging, code("UNKNOWN_OUTCOME"));
  assert.equal(b.seen.length, 0);
});

test("lag decides: the one behind is left alone, unless nobody else is there", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b", "c");
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode];
  b.lagMs = 60_000;
  c.lagMs = null;
  const db = await connected(t, nodes);
  for (let i = 0; i < 4; i++) assert.equal(await answeredBy(db, read), "a");
  a.stop();
  await until(() => db.nodes.find(({ id }) => id === "a")?.state === "down");
  assert.match(await answeredBy(db, read), /b|c/);
  const bounded = db.execute(read, { consistency: { maxLagMs: 1_000 } });
  await assert.rejects(bounded, code("NOT_READY"));
});

test("nothing is read from a node that stays behind by intention, even while it lacks nothing", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b", "c");
  nodes[1]!.applyDelayMs = 3_600_000;
  const db = await connected(t, nodes);
  for (let i = 0; i < 6; i++) assert.equal(await answeredBy(db, read), "c");
  nodes[2]!.stop();
  assert.equal(await answeredBy(db, read), "a");
  assert.equal(nodes[1]!.seen.length, 0);
});

test("a follower that does not reach the position is not waited for", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const db = await connected(t, nodes);
  const [a, b] = nodes as [TestNode, TestNode];
  a.appliedLsn = 20;
  await db.execute(write);
  assert.equal(db.token, "20@1");
  b.fates = ["hang"];
  assert.equal(await answeredBy(db, read), "a");
  assert.equal(b.seen.at(-1)?.headers["paceline-min-position"], "20@1");
});

test("what the caller asks for travels in headers", async (t) => {
  const nodes = await TestNode.cluster(t, "a");
  const db = await connected(t, nodes, { ack: "all" });
  const last = () => nodes[0]!.seen.at(-1)!.headers;
  await db.execute(write);
  assert.equal(last()["paceline-ack"], "all");
  nodes[0]!.acked = "quorum";
  assert.equal((await db.execute(write, { ack: "applied", ackTimeoutMs: 500 })).acked, "quorum");
  assert.equal(last()["paceline-ack"], "applied;timeoutMs=500");
  await db.execute(read, { consistency: { maxLagMs: 70 } });
  assert.equal(last()["paceline-consistency"], "bounded;maxLagMs=70");
  assert.equal(last()["paceline-ack"], undefined);
  await db.execute(read, { consistency: "linearizable" });
  assert.equal(last()["paceline-consistency"], "linearizable");
});

test("after close() everything fails at once and says why", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const db = await connected(t, nodes);
  await db.close();
  const startedMs = performance.now();
  await assert.rejects(db.execute(read), /closed by close\(\)/);
  await assert.rejects(db.begin(), /closed by close\(\)/);
  assert.ok(performance.now() - startedMs < 1_000);
});

test("a Date is stored as its milliseconds", async (t) => {
  const nodes = await TestNode.cluster(t, "a");
  const db = await connected(t, nodes);
  await db.execute({ sql: write, args: [new Date(1_700_000_000_123)] });
  const args = JSON.parse(nodes[0]!.seen[0]!.body).requests[0].stmt.args;
  assert.deepEqual(args, [{ type: "integer", value: "1700000000123" }]);
  await assert.rejects(db.execute({ sql: write, args: [new Date(Number.NaN)] }), TypeError);
});

test("rows are iterated as they come; a node that sends them is there, even if it answers no question", async (t) => {
  const [node] = await TestNode.cluster(t, "a");
  const db = await connected(t, [node!]);
  node!.rows = async function* () {
    node!.speaks = false;
    for (let i = 0; i < 12; i++) {
      yield i;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  };
  const rows = await Array.fromAsync(db.iterate(read));
  assert.deepEqual(
    rows.map(({ i }) => i),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
  );
});

test("rows that break off end in an error, and a loop that is left ends the read", async (t) => {
  const [node] = await TestNode.cluster(t, "a");
  const db = await connected(t, [node!]);
  node!.rows = async function* () {
    yield 1;
    await new Promise((resolve) => setTimeout(resolve, 100));
    yield "break";
  };
  const seen: unknown[] = [];
  await assert.rejects(async () => {
    for await (const { i } of db.iterate(read)) seen.push(i);
  }, code("NOT_READY"));
  assert.deepEqual(seen, [1]);
  node!.rows = async function* () {
    for (let i = 0; ; i++) {
      yield i;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  for await (const { i } of db.iterate(read)) if (i === 3) break;
  await assert.rejects(db.iterate(write).next(), code("BAD_REQUEST"));
});
