/** Page sync on real processes: small here, five hundred megabytes in `npm run proof`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { TestCluster } from "./cluster.ts";
import { assertIdenticalFiles } from "./faults.ts";
import { awayTooLong, fill, flipAndRepair, joinUnderLoad } from "./page-sync.ts";

const MB = 1_000_000;

test("an empty node joins under load and becomes a voter", { timeout: 120_000 }, async (t) => {
  const cluster = await TestCluster.start({ args: ["--keep-log", "4MiB"] });
  t.after(() => cluster.stop());
  await fill(cluster, 60 * MB);
  const report = await joinUnderLoad(cluster, { clients: 8, beforeMs: 1_000 });
  assert.match(report.summary, /done/);
  await cluster.stop({ keep: true });
  assertIdenticalFiles(cluster);
});

test("flipped bytes and long absence are repaired by moving what differs", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await TestCluster.start({ args: ["--keep-log", "4MiB"] });
  t.after(() => cluster.stop());
  await fill(cluster, 40 * MB);
  const flipped = await flipAndRepair(cluster, 100);
  assert.ok(flipped.pages >= 50 && flipped.pages <= 130, flipped.line);
  assert.ok(flipped.bytes < 100 * 4096 * 1.6, flipped.line);
  await cluster.settled();
  const away = await awayTooLong(cluster, () => fill(cluster, 30 * MB));
  assert.ok(away.bytes > 28 * MB && away.bytes < 36 * MB, away.line);
  await cluster.settled();
  await cluster.stop({ keep: true });
  assertIdenticalFiles(cluster);
});
