/** The client on a cluster of real processes: who answers, what it reads, what it says when the leader dies. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Connection, connect } from "../../src/client/connect.ts";
import { PacelineError, SqlError, UnknownOutcomeError } from "../../src/client/errors.ts";
import { sleep, TestCluster } from "./cluster.ts";

let cluster: TestCluster;
let db: Connection;

before(async () => {
  cluster = await TestCluster.start();
  // One node is enough to find the others.
  db = connect({ urls: [cluster.urls[2]!] });
  await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, more BLOB)");
});

after(async () => {
  await db.close();
  await cluster.stop();
});

test("finds all nodes and the leader through one of them", async () => {
  await db.execute("SELECT 1");
  const until = Date.now() + 3_000;
  while (db.nodes.filter((n) => n.state === "up").length < 3 && Date.now() < until) await sleep(20);
  const seen = db.nodes;
  assert.deepEqual(seen.map((n) => n.id).sort(), ["a", "b", "c"]);
  assert.equal(seen.find((n) => n.leads)?.id, await cluster.leader());
});

test("values there and back", async () => {
  const blob = new Uint8Array([0, 1, 255]);
  const args = [1, "ä", blob];
  const { rowsAffected, lastInsertRowid } = await db.execute({
    ...{ sql: "INSERT INTO t VALUES (?, ?, ?)", args },
  });
  assert.equal(rowsAffected, 1);
  assert.equal(lastInsertRowid, 1n);
  const { rows } = await db.execute({
    sql: "SELECT *, :big AS big, 1.5 AS x, NULL AS n FROM t",
    args: { ":big": 2n ** 60n },
  });
  assert.deepEqual(rows, [{ id: 1, name: "ä", more: blob, big: 2n ** 60n, x: 1.5, n: null }]);
});

test("a session reads what it wrote, on any node, and so does one with its token", async () => {
  for (let i = 0; i < 50; i++) {
    const session = db.session();
    await session.execute({ sql: "INSERT INTO t (name) VALUES (?)", args: [`own-${i}`] });
    const sql = { sql: "SELECT count(*) AS n FROM t WHERE name = ?", args: [`own-${i}`] };
    assert.equal((await session.execute(sql)).rows[0]?.["n"], 1);
    const other = db.session(session.token);
    assert.equal((await other.execute(sql)).rows[0]?.["n"], 1);
  }
});

test("reads are answered by followers", async () => {
  const leader = await cluster.leader();
  const readsOf = async (): Promise<number> => {
    const text = await (await fetch(`${cluster.url(leader)}/metrics`)).text();
    return Number(/^paceline_local_reads_total (\d+)/m.exec(text)?.[1]);
  };
  const onLeader = await readsOf();
  for (let i = 0; i < 20; i++) await db.execute("SELECT 1");
  assert.equal(await readsOf(), onLeader);
  await db.execute("SELECT 1", { consistency: "leader" });
  assert.equal(await readsOf(), onLeader + 1);
});

test("errors of SQL, and batches that happen as a whole or not at all", async () => {
  await assert.rejects(db.execute("INSERT INTO t (id) VALUES (1)"), (error: SqlError) => {
    assert.ok(error instanceof SqlError);
    assert.equal(error.code, "SQLITE_CONSTRAINT");
    return true;
  });
  const failing = ["INSERT INTO t (name) VALUES ('in a batch')", "INSERT INTO t (id) VALUES (1)"];
  await assert.rejects(db.batch(failing), SqlError);
  const sql = "SELECT count(*) AS n FROM t WHERE name = 'in a batch'";
  assert.equal((await db.execute(sql)).rows[0]?.["n"], 0);
  const [, second] = await db.batch([failing[0]!, sql]);
  assert.equal(second?.rows[0]?.["n"], 1);
  assert.throws(() => db.session("nonsense"), PacelineError);
  assert.throws(() => connect({ urls: [] }), PacelineError);
});

test("interactive transactions: commit, rollback, readonly", async () => {
  const n = async () => (await db.execute("SELECT count(*) AS n FROM t")).rows[0]!["n"] as number;
  const before = await n();
  await db.transaction(async (tx) => {
    await tx.execute("INSERT INTO t (name) VALUES ('tx')");
    await assert.rejects(tx.execute("nonsense"), SqlError);
    await tx.execute("INSERT INTO t (name) VALUES ('tx')");
  });
  assert.equal(await n(), before + 2);
  const undone = db.transaction(async (tx) => {
    await tx.execute("DELETE FROM t");
    throw new Error("changed my mind");
  });
  await assert.rejects(undone, /changed my mind/);
  assert.equal(await n(), before + 2);
  const reading = await db.begin({ readonly: true });
  assert.equal((await reading.execute("SELECT count(*) AS n FROM t")).rows[0]!["n"], before + 2);
  await db.execute("INSERT INTO t (name) VALUES ('later')");
  assert.equal((await reading.execute("SELECT count(*) AS n FROM t")).rows[0]!["n"], before + 2);
  await reading.commit();
  assert.equal(reading.isOpen, false);
});

test("the leader dies under load: every answer is true, and work goes on", async () => {
  await db.execute("CREATE TABLE load (id TEXT PRIMARY KEY)");
  const ok = new Set<string>();
  const unknown = new Set<string>();
  let failedReads = 0;
  let running = true;
  const writers = Array.from({ length: 8 }, async (_, w) => {
    const session = db.session();
    for (let i = 0; running; i++) {
      const id = `${w}/${i}`;
      try {
        await session.execute({ sql: "INSERT INTO load VALUES (?)", args: [id] });
        ok.add(id);
        const sql = { sql: "SELECT count(*) AS n FROM load WHERE id = ?", args: [id] };
        if ((await session.execute(sql)).rows[0]?.["n"] !== 1) failedReads++;
      } catch (error) {
        if (!(error instanceof UnknownOutcomeError)) throw error;
        unknown.add(id);
      }
    }
  });
  await sleep(500);
  const killed = await cluster.leader();
  await cluster.kill(killed);
  const atKill = ok.size;
  await cluster.leader();
  const until = Date.now() + 10_000;
  while (ok.size < atKill + 50 && Date.now() < until) await sleep(20);
  running = false;
  await Promise.all(writers);
  assert.ok(ok.size >= atKill + 50, "writes went on with the next leader");
  assert.equal(failedReads, 0, "nobody missed what was confirmed");
  const { rows } = await db.execute("SELECT id FROM load", { consistency: "linearizable" });
  const found = new Set(rows.map((row) => row["id"] as string));
  assert.deepEqual(
    [...ok].filter((id) => !found.has(id)),
    [],
  );
  assert.deepEqual(
    [...found].filter((id) => !ok.has(id) && !unknown.has(id)),
    [],
  );
  cluster.restart(killed);
});
