/** The router as a process in front of a cluster of processes, used by the usual client and killed under. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient } from "@libsql/client";
import { sleep, TestCluster } from "./cluster.ts";
import { startRouter, type TestRouter } from "./routers.ts";
import { execute, rowsOf } from "./sql.ts";

let cluster: TestCluster;
let router: TestRouter;

before(async () => {
  cluster = await TestCluster.start();
  router = await startRouter([cluster.urls[0]!]);
});

after(async () => {
  const status = await router.stop();
  await cluster.stop();
  assert.equal(status, 0, `it stops when told to: ${router.output.slice(-500)}`);
});

test("the usual client through the router: statements, batches, transactions, errors", async () => {
  const db = createClient({ url: router.url });
  await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)");
  await db.execute({ sql: "INSERT INTO t (name) VALUES (?)", args: ["one"] });
  const { rows } = await db.execute("SELECT name FROM t");
  assert.equal(rows[0]?.["name"], "one", "the read after a write sees it, on whichever node");
  await db.batch(["INSERT INTO t (name) VALUES ('two')", "INSERT INTO t (name) VALUES ('three')"]);
  const tx = await db.transaction("write");
  await tx.execute("INSERT INTO t (name) VALUES ('four')");
  assert.equal((await tx.execute("SELECT count(*) AS n FROM t")).rows[0]?.["n"], 4);
  await tx.rollback();
  assert.equal((await db.execute("SELECT count(*) AS n FROM t")).rows[0]?.["n"], 3);
  const reading = await db.transaction("read");
  assert.equal((await reading.execute("SELECT count(*) AS n FROM t")).rows[0]?.["n"], 3);
  await reading.commit();
  await assert.rejects(db.execute("INSERT INTO t (id) VALUES (1)"), { code: "SQLITE_CONSTRAINT" });
  await db.executeMultiple("INSERT INTO t (name) VALUES ('five'); DELETE FROM t WHERE id = 1;");
  await db.migrate(["CREATE TABLE child (id REFERENCES t(id))", "CREATE INDEX i ON t (name)"]);
  db.close();
});

test("a stream keeps its settings although it has no connection of its own", async () => {
  const db = `${router.url}/v3/pipeline`;
  const ask = async (baton: string | null, sql: string) => {
    const body = JSON.stringify({ baton, requests: [{ type: "execute", stmt: { sql } }] });
    return (await (await fetch(db, { method: "POST", body })).json()) as {
      baton: string;
      results: { type: string; error?: { code: string } }[];
    };
  };
  const first = await ask(null, "PRAGMA foreign_keys=on");
  const second = await ask(first.baton, "INSERT INTO child VALUES (999)");
  assert.equal(second.results[0]?.error?.code, "SQLITE_CONSTRAINT");
  const third = await ask(second.baton, "PRAGMA foreign_keys=off");
  const fourth = await ask(third.baton, "INSERT INTO child VALUES (999)");
  assert.equal(fourth.results[0]?.type, "ok");
});

test("reads go to the followers, writes to the leader", async () => {
  const leader = await cluster.leader();
  for (let i = 0; i < 10; i++) await rowsOf(router.url, "SELECT 1");
  const text = await (await fetch(`${router.url}/metrics`)).text();
  const reads = [...text.matchAll(/answers_total\{node="(\w)",kind="read"\} (\d+)/g)];
  const writes = [...text.matchAll(/answers_total\{node="(\w)",kind="write"\} (\d+)/g)];
  assert.deepEqual(
    writes.map((m) => m[1]),
    [leader],
  );
  const byNode = new Map(reads.map((m) => [m[1]!, Number(m[2])]));
  for (const { id } of cluster.nodes) {
    if (id !== leader) assert.ok((byNode.get(id) ?? 0) > 0, `${id} took reads`);
  }
  const status = (await (await fetch(`${router.url}/status`)).json()) as { leader: string };
  assert.equal(status.leader, leader);
});

test("a switchover under load: nothing fails", { timeout: 60_000 }, async () => {
  await rowsOf(router.url, "CREATE TABLE s (id TEXT PRIMARY KEY)");
  let running = true;
  const codes = new Map<string, number>();
  let ok = 0;
  const clients = Array.from({ length: 6 }, async (_, c) => {
    for (let i = 0; running; i++) {
      const outcome = await execute(router.url, "INSERT INTO s VALUES (?)", [`${c}/${i}`]);
      if (outcome.type === "ok") ok++;
      else codes.set(outcome.code, (codes.get(outcome.code) ?? 0) + 1);
    }
  });
  await sleep(300);
  const response = await fetch(`${cluster.urls[0]}/admin/switchover`, { method: "POST" });
  assert.equal(response.status, 200);
  const before = ok;
  const until = Date.now() + 10_000;
  while (ok < before + 30 && Date.now() < until) await sleep(20);
  running = false;
  await Promise.all(clients);
  assert.ok(ok >= before + 30, "writes go on");
  assert.deepEqual([...codes], [], "no client saw an error");
});

test("a follower behind a half-open link: reads go on, and its lag grows", async () => {
  const leader = await cluster.leader();
  const stopped = cluster.nodes.find(({ id }) => id !== leader)!.id;
  await cluster.kill(stopped, "SIGSTOP");
  try {
    const lags: number[] = [];
    for (const until = Date.now() + 3_000; Date.now() < until; await sleep(50)) {
      const outcome = await execute(router.url, "SELECT 1", [], { timeoutMs: 5_000 });
      assert.equal(outcome.type, "ok");
      const { router: seen } = (await (await fetch(`${router.url}/status`)).json()) as {
        router: { nodes: { id: string; state: string; lagMs: number }[] };
      };
      lags.push(seen.nodes.find(({ id }) => id === stopped)!.lagMs);
    }
    assert.ok(lags.at(-1)! > 1_800, `it has been silent for 3 s: ${lags.at(-1)} ms`);
    const nodes = (await cluster.statusOf(leader))!.nodes;
    const silent = nodes.find(({ id }) => id === stopped)!;
    assert.equal(silent.reachable, false);
    assert.notEqual(silent.lagMs, 0, "the node that is asked does not call it up to date either");
  } finally {
    await cluster.kill(stopped, "SIGCONT");
  }
});

test("the leader is killed under load: confirmed writes are there, each read sees its own", {
  timeout: 60_000,
}, async () => {
  await rowsOf(router.url, "CREATE TABLE k (id TEXT PRIMARY KEY)");
  let running = true;
  const seen = { ok: new Set<string>(), unknown: new Set<string>(), other: [] as string[] };
  let behind = 0;
  let failedReads = 0;
  const clients = Array.from({ length: 8 }, async (_, c) => {
    const headers = { "paceline-session": `client-${c}` };
    for (let i = 0; running; i++) {
      const id = `${c}/${i}`;
      const wrote = await execute(router.url, "INSERT INTO k VALUES (?)", [id], { headers });
      if (wrote.type === "unknown") seen.unknown.add(id);
      else if (wrote.type === "failed") seen.other.push(wrote.code);
      else {
        seen.ok.add(id);
        const sql = "SELECT count(*) FROM k WHERE id = ?";
        const read = await execute(router.url, sql, [id], { headers });
        if (read.type !== "ok") failedReads++;
        else if (read.rows[0]?.[0] !== 1) behind++;
      }
    }
  });
  await sleep(500);
  const killed = await cluster.leader();
  await cluster.kill(killed);
  const atKill = seen.ok.size;
  const until = Date.now() + 15_000;
  while (seen.ok.size < atKill + 100 && Date.now() < until) await sleep(20);
  running = false;
  await Promise.all(clients);
  assert.ok(seen.ok.size >= atKill + 100, "writes go on with the next leader");
  assert.deepEqual(seen.other, [], "what was surely not done was repeated by the router");
  assert.equal(failedReads, 0, "reads were repeated by the router");
  assert.equal(behind, 0, "everyone reads what they wrote");
  const headers = { "paceline-consistency": "linearizable" };
  const rows = await rowsOf(router.url, "SELECT id FROM k", [], { headers });
  const found = new Set(rows.map(([id]) => String(id)));
  assert.deepEqual(
    [...seen.ok].filter((id) => !found.has(id)),
    [],
    "no confirmed write is missing",
  );
  assert.deepEqual(
    [...found].filter((id) => !seen.ok.has(id) && !seen.unknown.has(id)),
    [],
  );
  cluster.restart(killed);
});
