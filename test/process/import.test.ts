/** Real databases through one node, answered by all, read by the Debian tool, while writes go on. */

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
