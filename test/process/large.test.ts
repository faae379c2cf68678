/**
 * Large work costs nobody the lead. The sizes and times that are promised are measured by
 * `npm run proof -- --only large`.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { TestCluster } from "./cluster.ts";
import { LargeWork } from "./large-work.ts";

test("a large transaction, one that is too large, and VACUUM: no error for others, no other leader", {
  timeout: 90_000,
}, async (t) => {
  const cluster = await TestCluster.start();
  t.after(() => cluster.stop());
  const work = new LargeWork(cluster, () => {});
  await work.prepare();
  await work.transaction(60);
  await work.transaction(280, "TRANSACTION_TOO_LARGE");
  await work.batch(20_000);
  await work.statement("VACUUM");
  await work.transaction(10);
  assert.deepEqual(work.faults, []);
  await cluster.settled();
});

test("a used-up AUTOINCREMENT is refused where it is written, and the leader stays", async (t) => {
  const cluster = await TestCluster.start();
  t.after(() => cluster.stop());
  const work = new LargeWork(cluster, () => {});
  await work.statement("CREATE TABLE used (id INTEGER PRIMARY KEY AUTOINCREMENT)");
  await work.statement("INSERT INTO used VALUES (9223372036854775807)");
  assert.deepEqual(work.faults, []);
  for (let n = 0; n < 3; n++) await work.statement("INSERT INTO used DEFAULT VALUES");
  const refused = "INSERT INTO used DEFAULT VALUES: SQLITE_FULL";
  assert.deepEqual(work.faults, [refused, refused, refused]);
  await work.statement("CREATE TABLE goes_on (id)");
  assert.equal(work.faults.length, 3);
});
