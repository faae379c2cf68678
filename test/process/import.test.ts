/**
 * Real databases through one node, answered by all, read by the Debian tool, while writes go on; and what other tools
 * lose on the way, through a follower.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { TestCluster } from "./cluster.ts";
import { paceline, run } from "./command.ts";
import { Load } from "./load.ts";
import {
  buildNorthwind,
  chinook,
  chinookQueries,
  missingData,
  northwindQueries,
} from "./real-data.ts";
import { execute, rowsOf } from "./sql.ts";

test("Chinook and Northwind: imported by one node, equal on all", {
  skip: missingData,
  timeout: 180_000,
}, async (t) => {
  const cluster = await TestCluster.start();
  t.after(() => cluster.stop());
  const [first] = cluster.urls as [string];
  const northwind = buildNorthwind(cluster.dir);
  for (const file of [chinook, northwind]) {
    const ran = await paceline("import", "--url", first, file);
    assert.equal(ran.code, 0, ran.stderr);
  }
  await Load.prepare(first);
  const load = new Load(() => cluster.urls, 2);
  const position = await positionOf(first);
  for (const [file, queries] of [
    [chinook, chinookQueries],
    [northwind, northwindQueries],
  ] as const) {
    await assertAnswers(cluster, { file, queries, position });
  }
  await readWithDebianTool(cluster);
  await load.stop();
  const verified = await paceline("verify", "--url", first, "--json");
  assert.equal(verified.code, 0, verified.stdout + verified.stderr);
  await cluster.settled();
  for (const url of cluster.urls) {
    assert.deepEqual(await rowsOf(url, "PRAGMA integrity_check"), [["ok"]]);
    await load.check(url);
  }
});

test("parts of search indexes and their settings, large values and orphans arrive on every node", {
  timeout: 60_000,
}, async (t) => {
  const cluster = await TestCluster.start();
  t.after(() => cluster.stop());
  const leader = await cluster.leader();
  const url = cluster.url(cluster.nodes.find(({ id }) => id !== leader)!.id);
  const path = join(cluster.dir, "hard.sqlite");
  const db = new DatabaseSync(path);
  const terms = Array.from({ length: 100 }, (_, i) => `SELECT ${i} AS n`).join(" UNION ALL ");
  db.exec(`PRAGMA foreign_keys = OFF;
    CREATE TABLE d(id INTEGER PRIMARY KEY, b, pub);
    INSERT INTO d VALUES (1, 'secret plan', 0), (2, 'public plan', 1);
    CREATE VIRTUAL TABLE part USING fts5(b, content = 'd', content_rowid = 'id');
    INSERT INTO part(rowid, b) SELECT id, b FROM d WHERE pub = 1;
    INSERT INTO part(part, rank) VALUES ('automerge', 3);
    INSERT INTO part(part, rank) VALUES ('rank', 'bm25(7.0)');
    CREATE VIEW v AS SELECT id, b FROM d;
    CREATE VIRTUAL TABLE over USING fts5(b, content = 'v', content_rowid = 'id');
    INSERT INTO over(rowid, b) SELECT id, b FROM v;
    CREATE VIEW hundred AS ${terms};
    CREATE TABLE large(b); INSERT INTO large VALUES (randomblob(13000000));
    CREATE TABLE parent(id INTEGER PRIMARY KEY);
    CREATE TABLE child(p REFERENCES parent); INSERT INTO child VALUES (99);`);
  const refused = await paceline("import", "--url", url, path, "--strict");
  assert.equal(refused.code, 1, refused.stderr);
  assert.deepEqual(await rowsOf(url, "SELECT name FROM sqlite_schema WHERE name = 'd'"), []);
  const ran = await paceline("import", "--url", url, path);
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stdout + ran.stderr, /child rowid 1: no such row in parent/);
  const position = await positionOf(url);
  const queries = [
    ...["SELECT b FROM part('plan')", "SELECT b FROM over('plan') ORDER BY rowid"],
    "SELECT k, v FROM part_config WHERE k <> 'version' ORDER BY k",
    ...["SELECT count(*) FROM hundred", "SELECT length(b), hex(substr(b, -9)) FROM large"],
    "SELECT p FROM child",
  ];
  await assertAnswers(cluster, { file: path, queries, position });
  db.close();
});

async function positionOf(url: string): Promise<string> {
  const outcome = await execute(url, "CREATE TABLE imported (at TEXT)");
  assert.equal(outcome.type, "ok");
  return outcome.type === "ok" ? outcome.position : "";
}

/** All nodes answer as the imported file itself does. */
async function assertAnswers(
  cluster: TestCluster,
  { file, queries, position }: { file: string; queries: readonly string[]; position: string },
): Promise<void> {
  const original = new DatabaseSync(file, { readOnly: true });
  for (const sql of queries) {
    const statement = original.prepare(sql);
    statement.setReturnArrays(true);
    const expected = statement.all();
    assert.ok(expected.length > 0, sql);
    for (const url of cluster.urls) {
      const rows = await rowsOf(url, sql, [], { headers: { "paceline-min-position": position } });
      assert.deepEqual(rows, expected, `${url}: ${sql}`);
    }
  }
  original.close();
}

/** Debian's sqlite3 reads each replica file while writes go on. */
async function readWithDebianTool(cluster: TestCluster): Promise<void> {
  for (const node of cluster.nodes) {
    const path = join(node.dir, "db", "main.sqlite");
    const sql = "SELECT count(*) FROM Track; SELECT count(*) FROM Orders; PRAGMA integrity_check;";
    const ran = await run("sqlite3", ["-readonly", path, sql]);
    if (ran.code === 127) return;
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /ok\n$/);
  }
}
