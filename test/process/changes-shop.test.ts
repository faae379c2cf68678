/** Done when: the change stream of the shop, replayed into an empty file by a consumer that is killed, gives equal tables. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { sleep, TestCluster } from "./cluster.ts";
import { assertEqualTables, KilledConsumer } from "./consumers.ts";
import { startRouter } from "./routers.ts";
import { shopUnderFire } from "./shop.ts";

test("the shop's tables, kept equal by a consumer that is killed while leaders are", {
  timeout: 180_000,
}, async (t) => {
  const cluster = await TestCluster.start({ args: ["--settings", "record.changes=true"] });
  t.after(() => cluster.stop());
  const copy = join(cluster.dir, "shop.sqlite");
  const consumer = new KilledConsumer(cluster.urls, copy, 11);
  const router = await startRouter(cluster.urls);
  try {
    const until = () => consumer.advances >= 6;
    await shopUnderFire(
      ...([cluster, { reads: router.url, writes: router.url }] as const),
      ...([{ orders: 200, until }] as const),
    );
  } finally {
    await router.stop();
  }
  // Nobody orders any more; the consumer may die once more on its way to the end.
  await sleep(1_500);
  await consumer.stop();
  const { kills, advances } = consumer;
  assert.ok(advances >= 6, `${kills} kills, ${advances} of them on the way`);
  const nodes = await cluster.settled();
  const leader = await cluster.leader();
  await consumer.catchUp(`${nodes[0]!.appliedLsn}`);
  await cluster.stop({ keep: true });
  const rows = assertEqualTables(copy, join(cluster.dir, leader, "db", "main.sqlite"));
  t.diagnostic(`${kills} kills, ${advances} on the way; ${JSON.stringify(rows)}`);
  assert.deepEqual(Object.keys(rows), ["carts", "order_lines", "orders", "products"]);
  assert.ok(rows["orders"]! >= 400 && rows["order_lines"]! >= rows["orders"]!);
});
