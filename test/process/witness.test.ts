/** Two data nodes and a witness, which votes and keeps the log but has no database. Real processes. */

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { sleep, TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { runFaults } from "./faults.ts";
import { execute, rowsOf } from "./sql.ts";

const twoAndWitness = { nodes: 3, witnesses: 1 };

test("two data nodes and a witness: SIGKILL of the leader loses no acknowledged write", {
  timeout: 120_000,
}, async () => {
  const { pausesMs } = await runFaults("killLeader", {
    ...{ clients: 16, times: 3, cluster: twoAndWitness },
  });
  assert.ok(Math.min(...pausesMs) < 3_000, `without an acknowledgement for ${pausesMs} ms`);
});

test("a witness serves no copy: it passes requests on, and says what it is", {
  timeout: 60_000,
}, async () => {
  const cluster = await TestCluster.start(twoAndWitness);
  try {
    const url = cluster.url("c");
    await rowsOf(url, "CREATE TABLE t (a INTEGER PRIMARY KEY)");
    await rowsOf(url, "INSERT INTO t VALUES (1), (2)");
    for (const consistency of ["stale", "session", "bounded;maxLagMs=5000", "linearizable"]) {
      const headers = { "paceline-consistency": consistency };
      assert.deepEqual(await rowsOf(url, "SELECT a FROM t", [], { headers }), [[1], [2]]);
    }
    const health = await (await fetch(`${url}/health`)).json();
    assert.deepEqual(health, { status: "ok", kind: "witness" });
    assert.equal((await fetch(`${url}/replica`)).status, 503);
    assert.equal((await fetch(`${url}/leader`)).status, 503);
    await cluster.settled();
    const witness = (await cluster.statusOf("a"))?.nodes.find((node) => node.id === "c");
    assert.equal(witness?.kind, "witness");
    assert.equal(witness?.appliedLsn, null);
    assert.equal(witness?.checksum, null);
    assert.ok((witness?.durableLsn ?? 0) >= 3);
    for (const via of ["a", "c"]) {
      const verified = await paceline("verify", "--url", cluster.url(via));
      assert.equal(verified.code, 0, verified.stdout + verified.stderr);
      assert.match(verified.stdout, /a witness: no database/);
    }
    const dir = join(cluster.dir, "c");
    assert.equal(existsSync(join(dir, "db")), false, readdirSync(dir).join());
    const to = await paceline("switchover", "--to", "c", "--url", url);
    assert.match(to.stderr, /c is a witness, not a voter/);
  } finally {
    await cluster.stop();
  }
});

test("what only the dead leader and the witness had reaches the other data node", {
  timeout: 60_000,
}, async () => {
  const cluster = await TestCluster.start(twoAndWitness);
  try {
    const first = await cluster.leader();
    const other = first === "a" ? "b" : "a";
    await rowsOf(cluster.url(first), "CREATE TABLE t (a INTEGER PRIMARY KEY, filler TEXT)");
    await cluster.settled();
    await cluster.kill(other);
    for (let i = 0; i < 200; i++) {
      const outcome = await execute(cluster.url(first), "INSERT INTO t VALUES (?, ?)", [
        ...[i, "x".repeat(2_000)],
      ]);
      assert.equal(outcome.type, "ok");
    }
    await cluster.kill(first);
    await sleep(2_500);
    cluster.restart(other);
    assert.equal(await cluster.leader(), other);
    const headers = { "paceline-consistency": "linearizable" };
    const count = await rowsOf(cluster.url(other), "SELECT count(*) FROM t", [], { headers });
    assert.deepEqual(count, [[200]]);
    assert.match(cluster.output("c"), /c \(this node\) leads/);
    cluster.restart(first);
    await cluster.settled();
  } finally {
    await cluster.stop();
  }
});

test("a witness joins a cluster whose log no longer reaches back, and counts from then on", {
  timeout: 90_000,
}, async () => {
  const cluster = await TestCluster.start({ nodes: 2, args: ["--keep-log", "1MiB"] });
  try {
    const url = cluster.url("a");
    await rowsOf(url, "CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)");
    for (let i = 0; i < 60; i++)
      await rowsOf(url, "INSERT INTO t VALUES (?, randomblob(1000000))", [i]);
    await sleep(1_000);
    const node = await cluster.join("w", "a", ["--kind", "witness"]);
    cluster.nodes[cluster.nodes.indexOf(node)] = { ...node, witness: true };
    const until = Date.now() + 30_000;
    for (;;) {
      const nodes = (await cluster.statusOf("a"))?.nodes ?? [];
      const [a, w] = ["a", "w"].map((id) => nodes.find((n) => n.id === id));
      if (w?.kind === "witness" && w.durableLsn === a?.durableLsn && w.durableLsn !== null) break;
      assert.ok(Date.now() < until, JSON.stringify(nodes) + cluster.output("w"));
      await sleep(100);
    }
    assert.match(cluster.output("w"), /the log begins after LSN/);
    assert.equal(existsSync(join(node.dir, "db")), false);
    // Two of the three who count are enough.
    await cluster.kill(await cluster.leader());
    const left = await cluster.leader();
    await rowsOf(cluster.url(left), "INSERT INTO t VALUES (1000, NULL)");
    // A directory keeps its kind.
    await cluster.kill("w");
    cluster.spawn(node, ["--kind", "voter"]);
    const saysSo = () => /is the directory of a witness/.test(cluster.output("w"));
    for (let tries = 0; !saysSo() && tries < 200; tries++) await sleep(100);
    assert.ok(saysSo(), cluster.output("w"));
  } finally {
    await cluster.stop();
  }
});
