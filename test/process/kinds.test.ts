/** Every log kind gives all nodes the same rows, through switches of the kind and of the lead. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { assertSame, runWorkload, workloadSchema } from "./kinds.ts";
import { buildNorthwind, chinook, missingData } from "./real-data.ts";
import { rowsOf } from "./sql.ts";

test("log kinds: real databases and a hard workload, equal on all nodes, whatever the kind becomes", {
  timeout: 280_000,
}, async (t) => {
  const cluster = await TestCluster.start({ args: ["--settings", "logKind=rows"] });
  t.after(() => cluster.stop());
  const [first] = cluster.urls as [string];
  const files = missingData === false ? [chinook, buildNorthwind(cluster.dir)] : [];
  for (const file of files) {
    const ran = await paceline("import", "--url", first, file);
    assert.equal(ran.code, 0, ran.stdout + ran.stderr);
  }
  for (const sql of workloadSchema) await rowsOf(first, sql);
  let from = 0;
  const work = async () => {
    const range = { from, to: from + 700 };
    from = range.to;
    await runWorkload(cluster.urls, range, { clients: 6, perRequest: 20 });
  };
  const become = async (kind: string) => {
    const ran = await paceline("configure", "--url", first, `logKind=${kind}`);
    assert.equal(ran.code, 0, ran.stdout + ran.stderr);
  };
  await work();
  await assertSame(cluster, "rows");
  // Another leads; who led applies as the others do.
  await paceline("switchover", "--url", first);
  await work();
  await assertSame(cluster, "rows");
  await become("statements");
  await Promise.all([work(), become("triggers")]);
  await work();
  await assertSame(cluster, "triggers");
  // The followers' pages are not the leader's: they fetch what differs, and are the same byte for byte then.
  await become("pages");
  await work();
  assert.equal(new Set((await cluster.settled()).map((node) => node.checksum)).size, 1);
});
