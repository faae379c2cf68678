/** Trees of followers: below the members, at any depth, whoever dies in between. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { NodeStatus } from "../../src/node/report/node-status.ts";
import { sleep, TestCluster } from "./cluster.ts";
import { assertIdenticalFiles } from "./faults.ts";
import { execute, rowsOf } from "./sql.ts";

test("a tree of 1, 2 and 4: everyone has the same, writes go up, and the middle may die", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await startTree(t);
  const { leader, middle, leaves } = cluster;
  await rowsOf(cluster.nodes.url(leader), "CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT)");

  // A write that a leaf takes is on that leaf when it is acknowledged, and reads there may ask for the newest.
  for (const leaf of leaves) {
    const url = cluster.nodes.url(leaf);
    await rowsOf(url, "INSERT INTO t(x) VALUES(?)", [leaf]);
    assert.deepEqual(await rowsOf(url, "SELECT count(*) FROM t WHERE x = ?", [leaf]), [[1]]);
    const headers = { "paceline-consistency": "linearizable" };
    const [[count]] = (await rowsOf(url, "SELECT count(*) FROM t", [], { headers })) as [[number]];
    assert.equal(count, leaves.indexOf(leaf) + 1);
  }
  await sameEverywhere(cluster);

  for (const dead of middle) {
    await cluster.nodes.kill(dead);
    const url = cluster.nodes.url(await cluster.nodes.leader());
    await rowsOf(url, "INSERT INTO t(x) VALUES(?)", [`without ${dead}`]);
    await sameEverywhere(cluster, dead);
    cluster.nodes.restart(dead);
    await sameEverywhere(cluster);
  }

  // The top goes; the members elect another, and the tree hangs on.
  const top = await cluster.nodes.leader();
  await cluster.nodes.kill(top);
  await cluster.nodes.leader();
  for (const leaf of leaves) {
    const outcome = await execute(cluster.nodes.url(leaf), "INSERT INTO t(x) VALUES('headless')");
    assert.equal(outcome.type, "ok", JSON.stringify(outcome));
  }
  cluster.nodes.restart(top);
  await sameEverywhere(cluster);
  await cluster.nodes.stop({ keep: true });
  assertIdenticalFiles(cluster.nodes);
});

test("the leader sends the same with four nodes below its followers as without", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await TestCluster.start({ nodes: 3 });
  t.after(() => cluster.stop());
  const leader = await cluster.leader();
  const url = cluster.url(leader);
  await rowsOf(url, "CREATE TABLE t(id INTEGER PRIMARY KEY, x BLOB)");
  const alone = await bytesPerWrite(cluster, leader);
  const middle = cluster.nodes.map((node) => node.id).filter((id) => id !== leader);
  for (const [i, id] of ["w", "x", "y", "z"].entries()) {
    await cluster.follow(id, [middle[i % 2]!]);
  }
  await attached(cluster, 4);
  assert.equal(await cluster.leader(), leader);
  const withTree = await bytesPerWrite(cluster, leader);
  const share = withTree / alone;
  assert.ok(share > 0.9 && share < 1.1, `${alone} alone, ${withTree} with a tree below`);
});

test("a node cannot follow itself, nor bear the name of a member", {
  timeout: 60_000,
}, async (t) => {
  const cluster = await TestCluster.start({ nodes: 1 });
  t.after(() => cluster.stop());
  await cluster.follow("x", ["a"]);
  await attached(cluster, 1);
  await cluster.follow("y", ["x"]);
  await attached(cluster, 2);
  // x now names y first. Whether y still hangs below x or has gone up to a meanwhile, both end below a.
  await cluster.kill("x");
  cluster.spawn(cluster.nodes.find((node) => node.id === "x")!, [
    ...["--follow", `127.0.0.1:${port(cluster, "y")},127.0.0.1:${port(cluster, "a")}`],
  ]);
  await attached(cluster, 2);
  await rowsOf(cluster.url("y"), "CREATE TABLE t(x)");
  const stranger = await cluster.follow("a2", ["a"], "a");
  await waitFor(() => cluster.output(stranger.id).includes("is a member of the cluster"));
});

type Tree = {
  readonly nodes: TestCluster;
  readonly leader: string;
  readonly middle: readonly string[];
  readonly leaves: readonly string[];
};

async function startTree(t: TestContext): Promise<Tree> {
  const nodes = await TestCluster.start({ nodes: 3 });
  t.after(() => nodes.stop());
  const leader = await nodes.leader();
  const middle = nodes.nodes.map((node) => node.id).filter((id) => id !== leader);
  const leaves = ["w", "x", "y", "z"];
  for (const [i, id] of leaves.entries()) await nodes.follow(id, [middle[i % 2]!]);
  await attached(nodes, 4);
  return { nodes, leader, middle, leaves };
}

function port(cluster: TestCluster, id: string): number {
  return cluster.nodes.find((node) => node.id === id)!.port;
}

/** Waits until so many nodes below the members are up to date. */
async function attached(cluster: TestCluster, count: number): Promise<void> {
  await waitFor(async () => {
    const nodes = (await cluster.statusOf(await cluster.leader()))?.nodes ?? [];
    const below = nodes.filter((node) => node.upstream != null && node.checksum != null);
    return below.length === count;
  });
}

/** Waits until every node but `except` answers and is at the same position with the same checksum. */
async function sameEverywhere({ nodes, leaves }: Tree, except?: string): Promise<void> {
  let last: readonly NodeStatus[] = [];
  await waitFor(
    async () => {
      last = (await nodes.statusOf(await nodes.leader()))?.nodes ?? [];
      const seen = last.filter((node) => node.id !== except);
      const same = new Set(seen.map((node) => `${node.appliedLsn}/${node.checksum}`));
      return seen.length === 2 + leaves.length + (except === undefined ? 1 : 0) && same.size === 1;
    },
    () => JSON.stringify(last, undefined, 1),
  );
}

/** Bytes that the leader gave to the network per committed write. */
async function bytesPerWrite(cluster: TestCluster, leader: string): Promise<number> {
  const url = cluster.url(leader);
  const writes = 1_500;
  const before = await sentBytes(url);
  for (let i = 0; i < writes; i++) await rowsOf(url, "INSERT INTO t(x) VALUES(randomblob(2000))");
  await cluster.settled();
  return ((await sentBytes(url)) - before) / writes;
}

async function sentBytes(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^paceline_peer_sent_bytes_total(?:{[^}]*})? (\d+)/m.exec(text)?.[1]);
}

async function waitFor(
  isSo: () => boolean | Promise<boolean>,
  state: () => string = () => "",
): Promise<void> {
  const untilMs = performance.now() + 30_000;
  while (!(await isSo())) {
    if (performance.now() > untilMs) throw new Error(`waited in vain ${state()}`);
    await sleep(50);
  }
}
