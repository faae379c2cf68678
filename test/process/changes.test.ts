/** The change stream of real nodes: kept in a SQLite file by a consumer that is killed again and again. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { Prng } from "../../src/base/prng.ts";
import { TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { assertEqualTables, KilledConsumer } from "./consumers.ts";
import { execute, rowsOf } from "./sql.ts";

const schema = [
  "CREATE TABLE items(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, stock INT DEFAULT 7, added TEXT DEFAULT CURRENT_TIMESTAMP)",
  "CREATE TABLE orders(item INT REFERENCES items(id) ON DELETE CASCADE, n INT, price REAL, total REAL AS (n * price) STORED, PRIMARY KEY(item, n)) WITHOUT ROWID",
  "CREATE TABLE notes(body, mark BLOB)",
  "CREATE TABLE log(id INTEGER PRIMARY KEY, what TEXT)",
  "CREATE TRIGGER noted AFTER INSERT ON notes BEGIN INSERT INTO log(what) VALUES('noted'); END",
  "CREATE TRIGGER pruned AFTER INSERT ON log WHEN new.id % 9 = 0 BEGIN DELETE FROM log WHERE id < new.id - 30; END",
  "CREATE TABLE places(id INTEGER PRIMARY KEY, place INT UNIQUE)",
  "INSERT INTO places(place) VALUES (1), (2), (3), (4), (5), (6)",
  "CREATE TRIGGER sold AFTER INSERT ON orders BEGIN UPDATE items SET stock = stock - 1 WHERE id = new.item; INSERT INTO log(what) VALUES('sold ' || new.item); END",
];

const writes = [
  "INSERT INTO items(name) VALUES(hex(randomblob(4)))",
  "INSERT OR IGNORE INTO orders(item, n, price) SELECT id, abs(random()) % 50, 1.5 FROM items ORDER BY random() LIMIT 1",
  "UPDATE items SET name = name || 'x', stock = 9007199254740993 WHERE id % 7 = 3",
  "DELETE FROM items WHERE id = (SELECT min(id) FROM items) AND (SELECT count(*) FROM items) > 20",
  "INSERT INTO notes VALUES(random(), randomblob(9)), (1.0, NULL)",
  "DELETE FROM notes WHERE rowid = (SELECT max(rowid) FROM notes) AND random() % 3 = 0",
  "UPDATE OR REPLACE places SET place = 7 - place WHERE id = abs(random()) % 6",
  "INSERT OR REPLACE INTO places VALUES (abs(random()) % 6, abs(random()) % 6)",
  "UPDATE notes SET body = NULL WHERE rowid % 5 = 0",
];

test("a consumer that is killed at random points ends with the same tables", {
  timeout: 180_000,
}, async (t) => {
  const cluster = await TestCluster.start({
    args: ["--settings", "record.changes=true"],
  });
  t.after(() => cluster.stop());
  const leader = await cluster.leader();
  for (const sql of schema) await rowsOf(cluster.url(leader), sql);
  const copy = join(cluster.dir, "copy.sqlite");
  const prng = new Prng(7);
  const consumer = new KilledConsumer(cluster.urls, copy, 7);
  let done = 0;
  const [fromMs, untilMs] = [performance.now() + 10_000, performance.now() + 90_000];
  // On a fast machine many writes are done before many kills are.
  const isEnough = () =>
    done >= 200 && (performance.now() > fromMs || done >= 1_500) && consumer.kills >= 5;
  for (let i = 0; !isEnough() && performance.now() < untilMs; i++) {
    const node = cluster.nodes[i % 3]!;
    if (!cluster.isRunning(node.id)) continue;
    const { type } = await execute(cluster.url(node.id), writes[prng.integer(0, writes.length)]!);
    if (type === "ok") done += 1;
    if (i === 100) {
      await rowsOf(cluster.url(node.id), "ALTER TABLE log ADD COLUMN extra DEFAULT 'e'");
    }
    if (i === 200) {
      await cluster.kill(leader);
      await cluster.leader();
      cluster.restart(leader);
    }
  }
  await consumer.stop();
  const { kills } = consumer;
  assert.ok(kills >= 5 && done >= 200, `${kills} kills, ${done} writes`);

  const url = cluster.url(await cluster.leader());
  const last = await execute(url, "INSERT INTO notes VALUES('last', NULL)");
  assert.equal(last.type, "ok");
  await consumer.catchUp(last.type === "ok" ? last.position : "");
  await cluster.settled();
  await cluster.stop({ keep: true });
  const file = join(cluster.nodes[0]!.dir, "db", "main.sqlite");
  const rows = assertEqualTables(copy, file);
  assert.ok(rows["log"]! > 0 && rows["sqlite_sequence"] === 1);
  assert.deepEqual(rowidsOf(copy), rowidsOf(file));
});

/** Of a table without a key: nothing else names its rows. */
function rowidsOf(path: string): unknown[] {
  const db = new DatabaseSync(path, { readBigInts: true });
  const rows = db.prepare("SELECT rowid, * FROM notes ORDER BY rowid").all();
  db.close();
  return rows;
}

test("a stream tells before and after, goes on from a position, and says when it cannot", {
  timeout: 60_000,
}, async (t) => {
  const cluster = await TestCluster.start({ nodes: 1 });
  t.after(() => cluster.stop());
  const url = cluster.url("a");
  const refused = await fetch(`${url}/changes`);
  assert.equal(refused.status, 409);
  assert.equal(((await refused.json()) as { code: string }).code, "NOT_RECORDED");
  const configured = await paceline("configure", "--url", url, "record.changes=true");
  assert.equal(configured.code, 0, configured.stderr);
  await rowsOf(url, "CREATE TABLE t(id INTEGER PRIMARY KEY, x, y)");
  const created = await execute(url, "INSERT INTO t VALUES(1, 'a', 2.0)");
  const from = created.type === "ok" ? created.position : "";
  await rowsOf(url, "UPDATE t SET x = 'b' WHERE id = 1");
  const deleted = await execute(url, "DELETE FROM t");
  const until = deleted.type === "ok" ? deleted.position : "";
  const ran = await paceline("changes", "--url", url, "--from", from, "--until", until);
  assert.equal(ran.code, 0, ran.stderr);
  const steps = ran.stdout
    .trim()
    .split("\n")
    .flatMap((line) => (JSON.parse(line) as { transactions: unknown[][] }).transactions.flat());
  assert.deepEqual(steps, [
    { op: "update", table: "t", key: ["id"], before: { id: 1, x: "a" }, after: { x: "b" } },
    { op: "delete", table: "t", key: ["id"], before: { id: 1, x: "b", y: { float: "2" } } },
  ]);
  for (const [position, status, code] of [
    ["999999@1", 409, "POSITION_AHEAD"],
    [`${from.split("@")[0]}@77`, 409, "POSITION_UNKNOWN"],
    ["nonsense", 400, "BAD_REQUEST"],
  ] as const) {
    const answer = await fetch(`${url}/changes?from=${position}`);
    assert.equal(answer.status, status);
    assert.equal(((await answer.json()) as { code: string }).code, code);
  }
});
