/** Done when: the shop under the router; leader killed; no customer misses an order that the shop confirmed. */

import { test } from "node:test";
import { TestCluster } from "./cluster.ts";
import { startRouter } from "./routers.ts";
import { shopUnderFire } from "./shop.ts";

test("the shop behind the router: leaders are killed, no confirmed order is missed", {
  timeout: 110_000,
}, async () => {
  const cluster = await TestCluster.start();
  try {
    const router = await startRouter(cluster.urls);
    try {
      await shopUnderFire(cluster, { reads: router.url, writes: router.url });
    } finally {
      await router.stop();
    }
  } finally {
    await cluster.stop();
  }
});
