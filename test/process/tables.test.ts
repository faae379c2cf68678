/** A node that follows with the rows of some tables only, through kinds, schemas, failovers and other choices. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { sleep, TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { execute, rowsOf } from "./sql.ts";

const schema = [
  "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT)",
  "CREATE TABLE orders(id INTEGER PRIMARY KEY, item INTEGER REFERENCES items(id), n INTEGER)",
  "CREATE TABLE secrets(id INTEGER PRIMARY KEY, x TEXT)",
  "CREATE TABLE notes(x)",
];

type Ground = { readonly cluster: TestCluster; readonly up: string; chosen: string };

async function start(t: TestContext, kind: string): Promise<Ground> {
  const ground = { chosen: "items,Orders" };
  const cluster = await TestCluster.start({
    argsOf: (id) =>
      id.startsWith("part") ? ["--tables", ground.chosen] : ["--settings", `logKind=${kind}`],
  });
  t.after(() => cluster.stop());
  const leader = await cluster.leader();
  for (const sql of schema) await rowsOf(cluster.url(leader), sql);
  const up = cluster.nodes.find(({ id }) => id !== leader)!.id;
  return Object.assign(ground, { cluster, up });
}

async function says(cluster: TestCluster, id: string, words: RegExp): Promise<void> {
  for (const until = Date.now() + 20_000; Date.now() < until; await sleep(50)) {
    if (words.test(cluster.output(id))) return;
  }
  throw new Error(`${id} does not say ${words}:\n${cluster.output(id)}`);
}

/** Waits until the rows of the tables are the same on `id` as on the leader. */
async function sameRows(cluster: TestCluster, id: string, tables: readonly string[]) {
  for (const table of tables) {
    const sql = `SELECT * FROM ${table} ORDER BY 1`;
    for (const until = Date.now() + 20_000; ; await sleep(50)) {
      const there = await rowsOf(cluster.url(await cluster.leader()), sql);
      const here = await execute(cluster.url(id), sql);
      const found = here.type === "ok" ? here.rows : here;
      if (JSON.stringify(found) === JSON.stringify(there)) break;
      const what = `${table}: ${JSON.stringify(found)} for ${JSON.stringify(there)}`;
      assert.ok(Date.now() < until, `${what}\n${cluster.output(id)}`);
    }
  }
}

async function write(cluster: TestCluster, via: string, n: number): Promise<void> {
  const url = cluster.url(via);
  await rowsOf(url, "INSERT INTO items(name) VALUES(?)", [`item ${n}`]);
  await rowsOf(url, "INSERT INTO secrets(x) VALUES(?)", [`secret ${n}`]);
  await rowsOf(
    url,
    "INSERT INTO orders(item, n) SELECT id, (SELECT count(*) FROM secrets) FROM items",
  );
  await rowsOf(url, "UPDATE orders SET n = n + 1 WHERE item = 1");
}

const configure = (cluster: TestCluster, pair: string) =>
  paceline("configure", "--url", cluster.urls[0]!, pair);

for (const kind of ["rows", "triggers"]) {
  test(`${kind}: the chosen tables, and a plain no for the others`, {
    timeout: 120_000,
  }, async (t) => {
    const { cluster, up } = await start(t, kind);
    await write(cluster, up, 1);
    await cluster.follow("part", [up]);
    await sameRows(cluster, "part", ["items", "orders"]);
    // What is written through it is there when it is acknowledged.
    const url = cluster.url("part");
    await write(cluster, "part", 2);
    assert.deepEqual(await rowsOf(url, "SELECT count(*) FROM items"), [[2]]);
    const refused = await execute(url, "SELECT count(*) FROM secrets");
    assert.equal(refused.type !== "ok" && refused.code, "TABLE_NOT_HERE", JSON.stringify(refused));
    const node = (await (await fetch(`${url}/node`)).json()) as { tables: unknown };
    assert.deepEqual(node.tables, ["items", "Orders"]);

    // The schema of all tables follows, whoever leads.
    const leader = await cluster.leader();
    await cluster.kill(leader);
    const next = await cluster.leader();
    for (const sql of [
      "ALTER TABLE secrets ADD COLUMN y DEFAULT 3",
      "CREATE TABLE more AS SELECT * FROM secrets",
      "CREATE INDEX by_x ON secrets(x, y)",
      "ALTER TABLE items ADD COLUMN price DEFAULT 5",
      "DROP TABLE more",
    ]) {
      await rowsOf(cluster.url(next), sql);
    }
    await write(cluster, "part", 3);
    await sameRows(cluster, "part", ["items", "orders"]);
    const copies = () => cluster.output("part").match(/page sync from .* done/g)?.length ?? 0;
    assert.equal(copies(), 0, cluster.output("part"));
    await rowsOf(cluster.url(next), "ALTER TABLE orders RENAME TO old_orders");
    await rowsOf(cluster.url(next), "CREATE TABLE orders AS SELECT id, x FROM secrets");
    await sameRows(cluster, "part", ["items", "orders"]);
    assert.equal(copies(), 0, cluster.output("part"));
    // A table that is not here gets a chosen name: only a copy can have its rows.
    await rowsOf(cluster.url(next), "DROP TABLE orders");
    await rowsOf(cluster.url(next), "ALTER TABLE secrets RENAME TO orders");
    await sameRows(cluster, "part", ["items", "orders"]);
    await says(cluster, "part", /needs what orders was before, which is not among the tables kept/);
    assert.equal(copies(), 1, cluster.output("part"));
    await write2(cluster, next);
    await sameRows(cluster, "part", ["items", "orders"]);
  });
}

async function write2(cluster: TestCluster, via: string): Promise<void> {
  await rowsOf(cluster.url(via), "INSERT INTO items(name) VALUES('later')");
}

test("pages and statements cannot be followed so, and going back to rows is enough", {
  timeout: 120_000,
}, async (t) => {
  const { cluster, up } = await start(t, "rows");
  await write(cluster, up, 1);
  await cluster.follow("part", [up]);
  await sameRows(cluster, "part", ["items", "orders"]);
  for (const kind of ["pages", "statements"]) {
    assert.equal((await configure(cluster, `logKind=${kind}`)).code, 0);
    const words = `a node with --tables cannot follow a cluster of log kind ${kind}: choose another`;
    await says(cluster, "part", new RegExp(words));
    await write(cluster, up, 2);
    assert.equal((await configure(cluster, "logKind=triggers")).code, 0);
    await write(cluster, up, 3);
    await sameRows(cluster, "part", ["items", "orders"]);
    const refused = await execute(cluster.url("part"), "SELECT x FROM secrets");
    assert.equal(refused.type !== "ok" && refused.code, "TABLE_NOT_HERE");
  }
});

test("another choice is another copy, and nobody takes a part for the whole", {
  timeout: 120_000,
}, async (t) => {
  const ground = await start(t, "rows");
  const { cluster, up } = ground;
  await write(cluster, up, 1);
  await cluster.follow("part", [up]);
  await sameRows(cluster, "part", ["items", "orders"]);

  await cluster.kill("part");
  cluster.restart("part");
  await write(cluster, up, 2);
  await sameRows(cluster, "part", ["items", "orders"]);
  assert.ok(!cluster.output("part").includes("is started for"));

  ground.chosen = "secrets";
  await cluster.kill("part");
  cluster.restart("part");
  await says(cluster, "part", /it has the rows of items, Orders, and is started for secrets/);
  await sameRows(cluster, "part", ["secrets"]);
  await write(cluster, up, 3);
  await sameRows(cluster, "part", ["secrets"]);
  const refused = await execute(cluster.url("part"), "SELECT * FROM items");
  assert.equal(refused.type !== "ok" && refused.code, "TABLE_NOT_HERE");

  await cluster.follow("below", ["part"]);
  await says(cluster, "below", /part has the rows of some tables only; follow another node/);
  const backup = await paceline("backup", "--url", cluster.url("part"), join(cluster.dir, "copy"));
  assert.equal(backup.code, 1, backup.stdout);
  const status = await paceline("status", "--url", cluster.url("part"));
  assert.equal(status.code, 0, status.stderr);
  assert.match(status.stdout, /learner, tables secrets/);
  const member = await paceline(
    ...["start", "--id", "m", "--dir", join(cluster.dir, "m"), "--listen", "127.0.0.1:7999"],
    ...["--tables", "items"],
  );
  assert.equal(member.code, 2);
  assert.match(member.stderr, /--tables needs --follow/);
});
