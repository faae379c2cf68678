/** A node that is told to join and ends before it has anything of the cluster never begins one of its own. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { sleep, TestCluster, type TestNode } from "./cluster.ts";
import { paceline } from "./command.ts";
import { rowsOf } from "./sql.ts";

const identityOf = (node: TestNode): Record<string, unknown> | undefined => {
  const path = join(node.dir, "identity.json");
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
};

async function until(what: string, is: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 20_000; !(await is()); await sleep(5)) {
    assert.ok(Date.now() < end, what);
  }
}

const memberOf = async (cluster: TestCluster, id: string) =>
  (await cluster.statusOf("a"))?.nodes.find((node) => node.id === id);

/** The first start of "b" is killed as soon as it has written down who it is; "a" is away meanwhile. */
async function killedEarly(
  args: readonly string[] = [],
): Promise<{ cluster: TestCluster; b: TestNode; clusterId: string }> {
  const cluster = await TestCluster.start({ nodes: 1 });
  await rowsOf(cluster.url("a"), "CREATE TABLE t(x)");
  const clusterId = (await cluster.statusOf("a"))!.clusterId!;
  // Stopped, it answers nobody, and "b" gets nothing.
  await cluster.kill("a", "SIGSTOP");
  const b = await cluster.join("b", "a", args);
  await until("b has an identity", () => identityOf(b) !== undefined);
  await cluster.kill("b");
  await cluster.kill("a", "SIGCONT");
  return { cluster, b, clusterId };
}

test("killed early and restarted without a word about it, a node goes on joining", {
  timeout: 60_000,
}, async (t) => {
  const { cluster, b, clusterId } = await killedEarly();
  t.after(() => cluster.stop());
  assert.equal(identityOf(b)?.["clusterId"], undefined);
  cluster.spawn(b, []);
  await until("b is a voter", async () => (await memberOf(cluster, "b"))?.kind === "voter");
  await until("b has a cluster", () => identityOf(b)?.["clusterId"] === clusterId);
  assert.match(cluster.output("b"), /goes on joining by 127\.0\.0\.1/);
  assert.doesNotMatch(cluster.output("b"), /a new cluster is born/);
  assert.equal(identityOf(b)?.["joining"], undefined);
  await rowsOf(cluster.url("b"), "INSERT INTO t VALUES (1)");
  await cluster.settled();
  // As ever: a member needs no --join, and is not hindered by one.
  for (const args of [[], ["--join", cluster.url("a")]]) {
    await cluster.kill("b");
    cluster.spawn(b, args);
    await until("b serves", async () => (await cluster.statusOf("b")) !== undefined);
    await cluster.recovered();
  }
});

test("as a learner it stays one", { timeout: 60_000 }, async (t) => {
  const { cluster, b } = await killedEarly(["--kind", "learner"]);
  t.after(() => cluster.stop());
  cluster.spawn(b, []);
  await until("b is a member", async () => (await memberOf(cluster, "b")) !== undefined);
  await cluster.settled();
  assert.equal((await memberOf(cluster, "b"))?.kind, "learner");
});

test("killed at any moment of its beginning, it is of the cluster in the end", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await TestCluster.start({ nodes: 1 });
  t.after(() => cluster.stop());
  await rowsOf(cluster.url("a"), "CREATE TABLE t(x)");
  const b = await cluster.join("b", "a");
  await until("b has an identity", () => identityOf(b) !== undefined);
  for (let ms = 0; ms < 400; ms += 40) {
    await sleep(ms);
    await cluster.kill("b");
    cluster.spawn(b, []);
  }
  await until("b is a voter", async () => (await memberOf(cluster, "b"))?.kind === "voter");
  await cluster.settled();
  assert.doesNotMatch(cluster.output("b"), /a new cluster is born/);
});

test("a list of members that would make it another cluster is refused, and what else cannot be", {
  timeout: 60_000,
}, async (t) => {
  const { cluster, b } = await killedEarly();
  t.after(() => cluster.stop());
  const start = (...args: string[]) =>
    paceline(...["start", "--id", "b", "--dir", b.dir, "--listen", `127.0.0.1:${b.port}`, ...args]);
  const list = `b=127.0.0.1:${b.port},c=127.0.0.1:1`;
  const refused = await start("--cluster", list);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /was told to join a cluster by .* give --dir an empty directory/);
  await cluster.kill("a");
  // It does not serve alone because the other one is not there.
  const alone = await start();
  assert.equal(alone.code, 1);
  assert.match(alone.stderr, /no answer from 127\.0\.0\.1:\d+, by which this node joins/);
  cluster.restart("a");
  await cluster.leader();
  cluster.spawn(b, ["--join", cluster.url("a")]);
  await until("b is a voter", async () => (await memberOf(cluster, "b"))?.kind === "voter");
});
