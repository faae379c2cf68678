/**
 * Transactions and connections as clients see them through a follower: foreign keys by default, a transaction whose
 * leader dies, and what BEGIN takes.
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { connect } from "../../src/client/connect.ts";
import { sleep, TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { HranaStream } from "./hrana-stream.ts";
import { startRouter } from "./routers.ts";
import { execute } from "./sql.ts";

let cluster: TestCluster;
before(async () => {
  cluster = await TestCluster.start();
});
after(() => cluster.stop());

async function followerUrl(): Promise<string> {
  const leader = await cluster.leader();
  return cluster.url(cluster.nodes.find(({ id }) => id !== leader)!.id);
}

async function saidBy(url: string, sql: string): Promise<string> {
  const outcome = await execute(url, sql);
  return outcome.type === "ok" ? JSON.stringify(outcome.rows) : outcome.code;
}

test("foreign keys hold for a client with a stream per statement, on every node", async () => {
  const url = await followerUrl();
  const said = (sql: string) => saidBy(url, sql);
  await said("CREATE TABLE parent (id INTEGER PRIMARY KEY)");
  await said("CREATE TABLE child (p REFERENCES parent ON DELETE CASCADE)");
  for (const each of cluster.urls) assert.equal(await saidBy(each, "PRAGMA foreign_keys"), "[[1]]");
  assert.equal(await said("INSERT INTO child VALUES (99)"), "SQLITE_CONSTRAINT");
  await said("INSERT INTO parent VALUES (1)");
  await said("INSERT INTO child VALUES (1)");
  await said("DELETE FROM parent");
  assert.equal(await said("SELECT count(*) FROM child"), "[[0]]");

  // A stream may think otherwise, and goes on doing so.
  const stream = new HranaStream(url);
  await stream.one("PRAGMA foreign_keys = off");
  assert.deepEqual((await stream.one("PRAGMA foreign_keys")).rows, [["0"]]);
  assert.equal(await stream.said("INSERT INTO child VALUES (99)"), "ok");
  await stream.close();
  assert.equal(await said("INSERT INTO child VALUES (98)"), "SQLITE_CONSTRAINT");

  const status = await cluster.statusOf(await cluster.leader());
  assert.equal(status?.settings.foreignKeys, "on");
  const off = await paceline("configure", "foreignKeys=off", "--url", url);
  assert.equal(off.code, 0, off.stderr);
  assert.match(off.stdout, /^foreignKeys=off$/m);
  assert.equal(await said("INSERT INTO child VALUES (97)"), "[]");
  assert.equal(await saidBy(cluster.url(await cluster.leader()), "PRAGMA foreign_keys"), "[[0]]");
  assert.equal((await paceline("configure", "foreignKeys=on", "--url", url)).code, 0);
});

/** What connection A or B says, one statement after the other. C commits by itself. */
const interleavings: readonly string[] = [
  "A: BEGIN; B: INSERT INTO t VALUES (10); A: INSERT INTO t VALUES (11); A: COMMIT; B: SELECT * FROM t",
  "A: BEGIN; A: SELECT * FROM t; B: INSERT INTO t VALUES (10); A: INSERT INTO t VALUES (11); A: SELECT * FROM t; " +
    "A: ROLLBACK; A: BEGIN; A: SELECT * FROM t; A: INSERT INTO t VALUES (11); A: COMMIT; B: SELECT * FROM t",
  "A: BEGIN; A: SELECT * FROM t; A: INSERT INTO t VALUES (10); A: SELECT * FROM t; B: SELECT * FROM t; A: COMMIT; B: SELECT * FROM t",
  "A: BEGIN; A: SELECT 1; B: INSERT INTO t VALUES (10); A: INSERT INTO t VALUES (11); A: COMMIT; A: SELECT * FROM t",
  "A: SAVEPOINT s; A: SELECT * FROM t; A: SAVEPOINT u; A: INSERT INTO t VALUES (10); A: ROLLBACK TO u; " +
    "A: INSERT INTO t VALUES (11); A: SELECT * FROM t; A: RELEASE s; B: SELECT * FROM t",
  "A: BEGIN; A: SAVEPOINT s; B: INSERT INTO t VALUES (10); A: INSERT INTO t VALUES (11); A: ROLLBACK TO s; A: COMMIT; B: SELECT * FROM t",
  'A: BEGIN; A: SELECT * FROM t; A: SAVEPOINT s; A: SAVEPOINT "T 2"; A: DELETE FROM t; A: RELEASE "t 2"; A: ROLLBACK TO s; A: SELECT * FROM t; A: COMMIT',
  "A: BEGIN; A: SELECT * FROM t; B: UPDATE t SET n = n WHERE 0; A: INSERT INTO t VALUES (10); A: COMMIT; B: SELECT * FROM t",
  "A: BEGIN; A: SELECT * FROM t; B: BEGIN IMMEDIATE; B: INSERT INTO t VALUES (10); B: ROLLBACK; A: INSERT INTO t VALUES (11); A: COMMIT; B: SELECT * FROM t",
  "A: BEGIN; A: SELECT * FROM t; B: CREATE TABLE u (n); A: INSERT INTO t VALUES (10); A: CREATE TABLE w (n); A: ROLLBACK; A: SELECT * FROM u",
  "A: BEGIN; A: SELECT * FROM t; B: INSERT INTO t VALUES (10); A: UPDATE t SET n = 0 WHERE 0; A: COMMIT; A: INSERT INTO t VALUES (11); B: SELECT * FROM t",
  "A: BEGIN; A: SELECT * FROM t; A: COMMIT; B: INSERT INTO t VALUES (10); A: INSERT INTO t VALUES (11); A: COMMIT; B: SELECT * FROM t",
  "A: BEGIN; B: BEGIN; A: SELECT * FROM t; B: SELECT * FROM t; A: INSERT INTO t VALUES (10); A: COMMIT; B: INSERT INTO t VALUES (11); " +
    "B: SELECT * FROM t; B: ROLLBACK; B: INSERT INTO t VALUES (11); A: SELECT * FROM t",
  "A: BEGIN IMMEDIATE; B: BEGIN; B: SELECT * FROM t; A: INSERT INTO t VALUES (10); A: COMMIT; B: INSERT INTO t VALUES (11); B: ROLLBACK; B: SELECT * FROM t",
  "A: BEGIN; A: SELECT * FROM t; A: INSERT INTO t VALUES (1); A: INSERT INTO t VALUES (10); A: COMMIT; B: SELECT * FROM t",
  "A: BEGIN; A: SELECT * FROM t; A: RELEASE nobody; A: ROLLBACK; A: ROLLBACK; A: COMMIT; A: BEGIN; A: BEGIN; A: ROLLBACK",
  "A: BEGIN; A: COMMIT; A: BEGIN; A: ROLLBACK; A: BEGIN; A: END; A: SAVEPOINT s; A: RELEASE s; A: COMMIT",
  "A: BEGIN EXCLUSIVE; A: SELECT * FROM t; A: COMMIT; A: BEGIN; A: SELECT count(*) FROM t; A: INSERT INTO t SELECT max(n) + 1 FROM t; A: END; B: SELECT * FROM t",
  "A: BEGIN; A: SELECT * FROM t; B: DROP TABLE t; A: SELECT * FROM t; A: INSERT INTO t VALUES (10); A: ROLLBACK; A: SELECT * FROM t",
  "A: BEGIN; A: WITH x AS (SELECT 10 AS n) INSERT INTO t SELECT n FROM x RETURNING n; A: COMMIT; B: SELECT * FROM t",
];

const freshTables = [
  ...["DROP TABLE IF EXISTS t", "DROP TABLE IF EXISTS u", "DROP TABLE IF EXISTS w"],
  ...["CREATE TABLE t (n INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)"],
];

/** Two connections of stock SQLite to one file in WAL mode. */
function stockSays(interleaving: string): string[] {
  const dir = mkdtempSync(join(tmpdir(), "paceline-stock-"));
  const [a, b] = [0, 1].map(() => new DatabaseSync(join(dir, "db"), { returnArrays: true }));
  a!.exec("PRAGMA journal_mode = WAL");
  for (const sql of freshTables) a!.exec(sql);
  const said = interleaving.split("; ").map((step) => {
    const [name, sql] = [step[0], step.slice(3)];
    try {
      return JSON.stringify((name === "A" ? a! : b!).prepare(sql).all());
    } catch (error) {
      return (error as Error).message;
    }
  });
  for (const each of [a!, b!]) each.close();
  rmSync(dir, { recursive: true });
  return said;
}

test("BEGIN is as in SQLite's WAL mode, statement by statement", async () => {
  const url = await followerUrl();
  for (const interleaving of interleavings) {
    for (const sql of freshTables) await saidBy(url, sql);
    const [a, b] = [new HranaStream(url), new HranaStream(url)];
    const said: string[] = [];
    for (const step of interleaving.split("; ")) {
      const { rows, message } = await (step[0] === "A" ? a : b).one(step.slice(3));
      said.push(message ?? JSON.stringify(rows!.map((row) => row.map(Number))));
    }
    await Promise.all([a.close(), b.close()]);
    assert.deepEqual(said, stockSays(interleaving), interleaving);
  }
});

test("a transaction that only reads blocks nobody, and what is late is said in SQLite's words", async () => {
  const url = await followerUrl();
  for (const sql of freshTables) await saidBy(url, sql);
  const reading = new HranaStream(url);
  await reading.all("BEGIN DEFERRED", "SELECT * FROM t");
  const startMs = performance.now();
  assert.equal(await saidBy(url, "INSERT INTO t VALUES (10)"), "[]");
  assert.equal(
    await saidBy(cluster.url(await cluster.leader()), "INSERT INTO t VALUES (11)"),
    "[]",
  );
  assert.ok(performance.now() - startMs < 2_000, "both at once");
  const late = await reading.one("INSERT INTO t VALUES (12)");
  assert.deepEqual(
    [late.code, late.extended, late.message],
    ["SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "database is locked"],
  );
  // Several in one request: as on one connection.
  const mixed = await reading.all(
    "SELECT count(*) FROM t",
    "DELETE FROM t",
    "SELECT count(*) FROM t",
    "ROLLBACK",
  );
  assert.deepEqual(
    mixed.map((each) => each.extended ?? each.rows),
    [[["2"]], "SQLITE_BUSY_SNAPSHOT", [["2"]], []],
  );
  await reading.close();
});

test("a header, or the cluster, lets BEGIN take the writer at once", async () => {
  const url = await followerUrl();
  for (const sql of freshTables) await saidBy(url, sql);
  const holds = async (headers: Record<string, string>) => {
    const stream = new HranaStream(url, headers);
    await stream.all("BEGIN", "SELECT * FROM t");
    const writing = saidBy(url, "UPDATE t SET n = n");
    const first = await Promise.race([writing, sleep(700).then(() => "waits")]);
    const written = await stream.said("INSERT INTO t SELECT max(n) + 1 FROM t");
    await stream.said("ROLLBACK");
    await writing;
    await stream.close();
    return `${first}, ${written}`;
  };
  assert.equal(await holds({}), "[], SQLITE_BUSY_SNAPSHOT");
  assert.equal(await holds({ "paceline-begin": "immediate" }), "waits, ok");
  assert.equal((await paceline("configure", "begin=immediate", "--url", url)).code, 0);
  assert.equal(await holds({}), "waits, ok");
  assert.equal(await holds({ "paceline-begin": "deferred" }), "[], SQLITE_BUSY_SNAPSHOT");
  assert.equal((await paceline("configure", "begin=deferred", "--url", url)).code, 0);
  const wrong = await new HranaStream(url, { "paceline-begin": "soon" }).one("BEGIN");
  assert.equal(wrong.code, "BAD_REQUEST");
});

test("through a router, the TypeScript client and a witness it is the same", async () => {
  const url = await followerUrl();
  for (const sql of freshTables) await saidBy(url, sql);
  const router = await startRouter(cluster.urls);
  try {
    const [early, late] = [new HranaStream(router.url), new HranaStream(router.url)];
    for (const each of [early, late]) assert.equal(await each.said("BEGIN"), "ok");
    for (const each of [early, late]) assert.equal(await each.said("SELECT * FROM t"), "ok");
    assert.equal(await early.said("INSERT INTO t VALUES (10)"), "ok");
    assert.equal(await early.said("COMMIT"), "ok");
    assert.equal(await late.said("INSERT INTO t VALUES (11)"), "SQLITE_BUSY_SNAPSHOT");
    assert.equal(await late.said("ROLLBACK"), "ok");
    assert.equal(await late.said("BEGIN"), "ok");
    assert.deepEqual((await late.one("SELECT count(*) FROM t")).rows, [["3"]]);
    assert.equal(await late.said("INSERT INTO t VALUES (11)"), "ok");
    assert.equal(await late.said("COMMIT"), "ok");
    const direct = new HranaStream(router.url, { "paceline-begin": "immediate" });
    assert.equal(await direct.said("BEGIN"), "ok");
    assert.equal(await direct.said("INSERT INTO t VALUES (12)"), "ok");
    assert.equal(await direct.said("ROLLBACK"), "ok");
  } finally {
    await router.stop();
  }
  const db = connect({ urls: [url] });
  try {
    const transaction = await db.begin({ deferred: true });
    await transaction.execute("SELECT * FROM t");
    await db.execute("INSERT INTO t VALUES (20)");
    await assert.rejects(transaction.execute("INSERT INTO t VALUES (21)"), {
      ...{ code: "SQLITE_BUSY", extendedCode: "SQLITE_BUSY_SNAPSHOT", retry: "later" },
    });
    assert.equal(transaction.isOpen, true);
    transaction.rollback();
    const count = await db.transaction(
      async (again) => {
        const { rows } = await again.execute("SELECT count(*) AS n FROM t");
        await again.execute("INSERT INTO t VALUES (21)");
        return rows[0]?.["n"];
      },
      { deferred: true },
    );
    assert.equal(Number(count), 5);
  } finally {
    await db.close();
  }
  const mixed = await TestCluster.start({ nodes: 3, witnesses: 1 });
  try {
    const witness = mixed.url("c");
    for (const sql of freshTables) await saidBy(witness, sql);
    const [early, late] = [new HranaStream(witness), new HranaStream(witness)];
    for (const each of [early, late]) await each.all("BEGIN", "SELECT * FROM t");
    assert.equal(await early.said("INSERT INTO t VALUES (10)"), "ok");
    assert.equal(await early.said("COMMIT"), "ok");
    assert.equal(await late.said("INSERT INTO t VALUES (11)"), "SQLITE_BUSY_SNAPSHOT");
    assert.deepEqual((await late.one("SELECT count(*) FROM t")).rows, [["2"]]);
    assert.equal(await late.said("COMMIT"), "ok");
  } finally {
    await mixed.stop();
  }
});

test("a transaction that reads outlives its leader, and writes at the next one", async () => {
  const url = await followerUrl();
  for (const sql of freshTables) await saidBy(url, sql);
  const [clear, late] = [new HranaStream(url), new HranaStream(url)];
  for (const each of [clear, late]) await each.all("BEGIN", "SELECT * FROM t");
  const old = await cluster.leader();
  const { port } = cluster.nodes.find(({ id }) => cluster.url(id) === url)!;
  await cluster.kill(old);
  assert.deepEqual((await clear.one("SELECT count(*) FROM t")).rows, [["2"]]);
  assert.equal(await clear.said("INSERT INTO t VALUES (10)"), "ok");
  assert.equal(await clear.said("COMMIT"), "ok");
  assert.equal(await late.said("INSERT INTO t VALUES (11)"), "SQLITE_BUSY_SNAPSHOT");
  assert.equal(await late.said("ROLLBACK"), "ok");
  assert.equal(await saidBy(`http://127.0.0.1:${port}`, "SELECT count(*) FROM t"), "[[3]]");
  cluster.restart(old);
  await cluster.settled();
});

test("a transaction without COMMIT whose leader dies is lost, and known to be", async () => {
  const url = await followerUrl();
  await saidBy(url, "CREATE TABLE kept (n)");
  const [first, second] = [new HranaStream(url), new HranaStream(url)];
  assert.deepEqual(
    (await first.all("BEGIN IMMEDIATE", "INSERT INTO kept VALUES (1)")).map((a) => a.code),
    [undefined, undefined],
  );
  const waiting = second.all("BEGIN IMMEDIATE", "INSERT INTO kept VALUES (2)", "SELECT 7");
  const old = await cluster.leader();
  await cluster.kill(old);
  const lost = await first.one("INSERT INTO kept VALUES (3)");
  assert.equal(lost.code, "TRANSACTION_LOST");
  assert.doesNotMatch(lost.message ?? "", /client is destroyed|may have happened|unknown/);
  const later = await first.one("SELECT 1");
  assert.equal(later.code, "TRANSACTION_LOST");
  assert.doesNotMatch(later.message ?? "", /may have happened/);
  // What only opened a transaction was safe to repeat, and was.
  assert.deepEqual((await waiting)[2]!.rows, [["7"]]);
  await second.one("COMMIT");
  assert.equal(await first.said("ROLLBACK"), "SQLITE_ERROR", "there is none any more");
  assert.equal(await first.said("INSERT INTO kept VALUES (4)"), "ok");
  assert.equal(await saidBy(url, "SELECT group_concat(n) FROM kept"), '[["2,4"]]');
  cluster.restart(old);
});
