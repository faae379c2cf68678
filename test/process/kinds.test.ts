/** Each log kind gives every node the same rows, through switches and a change of the lead. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { caughtUp, contentOf, runWorkload, workloadSchema } from "./kinds.ts";
import { buildNorthwind, chinook, missingData } from "./real-data.ts";
import { rowsOf } from "./sql.ts";

/** What the nodes have, which must be the same on all. */
async function assertEqual(cluster: TestCluster): Promise<void> {
  await caughtUp(cluster);
  const verified = await paceline("verify", "--url", cluster.urls[0]!);
  assert.equal(verified.code, 0, verified.stdout + verified.stderr);
  const [first, ...others] = cluster.nodes.map(({ id, dir }) => ({
    id,
    content: contentOf(join(dir, "db/main.sqlite")),
  }));
  for (const { id, content } of others) assert.deepEqual(content, first!.content, id);
  for (const node of cluster.nodes) {
    assert.doesNotMatch(cluster.output(node.id), /damaged/, cluster.output(node.id));
  }
}

for (const kind of ["rows", "statements", "triggers"]) {
  test(`log kind ${kind}: real databases and a hard workload, equal on all nodes`, {
    timeout: 150_000,
    skip: missingData,
  }, async (t) => {
    const cluster = await TestCluster.start({ args: ["--settings", `logKind=${kind}`] });
    t.after(() => cluster.stop());
    const [first] = cluster.urls as [string];
    for (const file of [chinook, buildNorthwind(cluster.dir)]) {
      const ran = await paceline("import", "--url", first, file);
      assert.equal(ran.code, 0, ran.stdout + ran.stderr);
    }
    await assertEqual(cluster);
    for (const sql of workloadSchema) await rowsOf(first, sql);
    await runWorkload(cluster.urls, { from: 0, to: 2_000 }, { clients: 6, perRequest: 20 });
    await assertEqual(cluster);
    // Another leads; who led applies as the others do.
    await paceline("switchover", "--url", first);
    await runWorkload(cluster.urls, { from: 2_000, to: 3_000 }, { clients: 6, perRequest: 20 });
    await assertEqual(cluster);
  });
}
