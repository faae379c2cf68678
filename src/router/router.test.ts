import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { TestNode } from "../client/test-node.ts";
import { RealClock } from "../host/clock.ts";
import { Router, type RouterOptions } from "./router.ts";

async function routed(
  t: TestContext,
  nodes: readonly TestNode[],
  options: Partial<RouterOptions> = {},
): Promise<string> {
  const router = await Router.start({
    listen: { host: "127.0.0.1", port: 0 },
    nodes: nodes.map(({ url }) => url),
    ...{ prefer: [], waitMs: 2_000, maxLagMs: 1_000, version: "0.0.0", clock: new RealClock() },
    onEvent: () => {},
    onFault: (error) => console.error(error),
    ...options,
  });
  t.after(() => router.close());
  const url = `http://127.0.0.1:${router.port}`;
  for (;;) {
    const { router: seen } = await json(await fetch(`${url}/status`));
    if (seen.nodes.filter((n: { state: string }) => n.state === "up").length === nodes.length)
      break;
  }
  return url;
}

// biome-ignore lint/suspicious/noExplicitAny: bodies are looked into freely.
const json = async (response: Response): Promise<any> => response.json();

type Headers = Record<string, string>;

async function run(url: string, sql: string, headers: Headers = {}) {
  const body = JSON.stringify({
    requests: [{ type: "execute", stmt: { sql } }, { type: "close" }],
  });
  const response = await fetch(`${url}/v2/pipeline`, { method: "POST", body, headers });
  const { results } = await json(response);
  return {
    code: results[0].error?.code as string | undefined,
    node: results[0].response?.result.rows[0][0].value as string | undefined,
    position: response.headers.get("paceline-position"),
    acked: response.headers.get("paceline-acked"),
  };
}

const minOf = (node: TestNode) => node.seen.at(-1)?.headers["paceline-min-position"];
const write = "INSERT INTO t VALUES (1)";
const read = "SELECT 1";

test("writes to the leader, reads spread over the followers, answers cut out and passed on", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b", "c");
  const url = await routed(t, nodes);
  assert.equal((await run(url, write)).node, "a");
  const readers = new Set<string | undefined>();
  for (let i = 0; i < 8; i++) readers.add((await run(url, read)).node);
  assert.deepEqual([...readers].sort(), ["b", "c"]);
});

test("near nodes are read from first", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b", "c");
  const url = await routed(t, nodes, { prefer: ["c"] });
  for (let i = 0; i < 6; i++) assert.equal((await run(url, read)).node, "c");
});

test("a client without a name reads what anyone without a name wrote", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const [a, b] = nodes as [TestNode, TestNode];
  const url = await routed(t, nodes);
  a.appliedLsn = 33;
  assert.equal((await run(url, write)).position, "33@1");
  await run(url, read);
  assert.equal(minOf(b), "33@1");
  assert.equal(b.seen.at(-1)?.headers["paceline-consistency"], "stale");
});

test("a named session waits for its own writes only, by header or by cookie", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const [a, b] = nodes as [TestNode, TestNode];
  const url = await routed(t, nodes);
  const me = { "paceline-session": "me" };
  a.appliedLsn = 12;
  await run(url, write, me);
  a.appliedLsn = 40;
  await run(url, write, { cookie: "theme=dark; paceline-session=you" });
  await run(url, read, me);
  assert.equal(minOf(b), "12@1");
  await run(url, read, { "paceline-session": "you" });
  assert.equal(minOf(b), "40@1");
  await run(url, read, { "paceline-session": "new" });
  assert.equal(minOf(b), undefined);
  await run(url, read, { ...me, "paceline-consistency": "stale" });
  assert.equal(minOf(b), undefined);
  await run(url, read, { ...me, "paceline-min-position": "15@1" });
  assert.equal(minOf(b), "15@1");
});

test("an unknown outcome is told and not repeated; a read is repeated", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const [a, b] = nodes as [TestNode, TestNode];
  const url = await routed(t, nodes);
  a.fates = ["break"];
  assert.equal((await run(url, write)).code, "UNKNOWN_OUTCOME");
  assert.equal(a.seen.length + b.seen.length, 1);
  b.fates = ["break"];
  assert.equal((await run(url, read)).node, "a");
});

test("writes wait for the next leader, and go to it at once when the lead is handed over", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const [a, b] = nodes as [TestNode, TestNode];
  const url = await routed(t, nodes);
  a.fates = ["NOT_LEADER"];
  a.leads = false;
  setTimeout(() => {
    b.leads = true;
    b.term = 2;
  }, 150);
  assert.equal((await run(url, write)).node, "b");
  const status = await json(await fetch(`${url}/leader`));
  assert.equal(status.leader, "b");
});

test("without a leader: bounded waiting, then NO_LEADER", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const url = await routed(t, nodes, { waitMs: 200 });
  nodes[0]!.stop();
  assert.equal((await run(url, write)).code, "NO_LEADER");
  assert.equal((await fetch(`${url}/leader`)).status, 503);
  assert.equal((await fetch(`${url}/health`)).status, 200);
  assert.equal((await run(url, read)).node, "b");
});

test("a silent node is never shown without lag", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const url = await routed(t, nodes);
  nodes[1]!.speaks = false;
  await new Promise((resolve) => setTimeout(resolve, 1_700));
  const text = await (await fetch(`${url}/metrics`)).text();
  assert.match(text, /paceline_router_node_up\{node="b"\} 0/);
  assert.ok(Number(/node_lag_ms\{node="b"\} (\d+)/.exec(text)?.[1]) > 1_000);
  assert.equal((await run(url, read)).node, "a");
  assert.equal((await fetch(`${url}/replica?maxLagMs=500`)).status, 200, "the leader can answer");
});

test("what a client may not say", async (t) => {
  const nodes = await TestNode.cluster(t, "a");
  const url = await routed(t, nodes);
  const post = (headers: Headers) =>
    fetch(`${url}/v2/pipeline`, { method: "POST", body: '{"requests":[]}', headers });
  assert.equal((await post({ "paceline-session": "x".repeat(129) })).status, 400);
  assert.equal((await post({ "paceline-min-position": "soon" })).status, 400);
  const operation = await fetch(`${url}/admin/switchover`, { method: "POST" });
  assert.equal(operation.status, 404, "operations are for the nodes");
  nodes[0]!.acked = "quorum";
  assert.equal((await run(url, write, { "paceline-ack": "all;timeoutMs=5" })).acked, "quorum");
  assert.equal(nodes[0]!.seen.at(-1)?.headers["paceline-ack"], "all;timeoutMs=5");
});

test("closing lets requests finish", async (t) => {
  const nodes = await TestNode.cluster(t, "a", "b");
  const router = await Router.start({
    listen: { host: "127.0.0.1", port: 0 },
    nodes: nodes.map(({ url }) => url),
    ...{ prefer: [], waitMs: 5_000, maxLagMs: 1_000, version: "0.0.0", clock: new RealClock() },
    ...{ onEvent: () => {}, onFault: () => {} },
  });
  nodes[0]!.leads = false;
  const waiting = run(`http://127.0.0.1:${router.port}`, write);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const closing = router.close();
  nodes[0]!.leads = true;
  assert.equal((await waiting).node, "a");
  await closing;
});
