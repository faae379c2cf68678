/** The shop with customers in it, held against its histories afterwards. For tests, with whatever is in between. */

import assert from "node:assert/strict";
import { Customer } from "../../examples/shop/customers.ts";
import { prepareShop } from "../../examples/shop/goods.ts";
import { Shop } from "../../examples/shop/shop.ts";
import type { DatabaseUrls } from "../../examples/shop/store.ts";
import { sleep, type TestCluster } from "./cluster.ts";
import { rowsOf } from "./sql.ts";

/**
 * Customers order; the leader is killed under them, twice, and each time they go on for so many orders, and at last until
 * it is enough. Then no order that the shop confirmed may be missing from its customer's history, and none may be there
 * twice or without having been sent.
 */
export async function shopUnderFire(
  cluster: TestCluster,
  database: DatabaseUrls,
  { orders = 30, until = () => true }: { orders?: number; until?: () => boolean } = {},
): Promise<void> {
  await prepareShop(database.writes);
  const shop = await Shop.open({ database, port: 0 });
  const customers = Array.from({ length: 10 }, (_, i) => new Customer(shop.url, i));
  try {
    let isOver = false;
    const all = Promise.all(customers.map((c) => c.shopUntil(() => isOver, 20)));
    all.catch(() => {});
    const confirmed = () => customers.reduce((sum, c) => sum + c.confirmed.size, 0);
    const moreOrders = async (count: number) => {
      const wanted = confirmed() + count;
      const until = Date.now() + 25_000;
      while (confirmed() < wanted && Date.now() < until) await sleep(20);
      assert.ok(confirmed() >= wanted, `only ${confirmed()} of ${wanted} orders were confirmed`);
    };
    await moreOrders(20);
    for (const kill of [plainly, cruelly]) {
      const killed = await cluster.leader();
      await kill(cluster, killed);
      await moreOrders(orders);
      cluster.restart(killed);
      await sleep(500);
    }
    const enough = Date.now() + 60_000;
    while (!until()) {
      assert.ok(Date.now() < enough, "customers shopped on for a minute, and it was not enough");
      await sleep(50);
    }
    isOver = true;
    await all;
    await audit(cluster, customers);
  } finally {
    await shop.close();
  }
}

async function plainly(cluster: TestCluster, leader: string): Promise<void> {
  await cluster.kill(leader);
}

/** At a moment when orders have come to the leader and to no follower: they are lost, and whoever confirms one lies. */
async function cruelly(cluster: TestCluster, leader: string): Promise<void> {
  const followers = cluster.nodes.filter(({ id }) => id !== leader);
  for (const { id } of followers) await cluster.kill(id, "SIGSTOP");
  await sleep(400);
  await cluster.kill(leader);
  for (const { id } of followers) await cluster.kill(id, "SIGCONT");
}

async function audit(cluster: TestCluster, customers: readonly Customer[]): Promise<void> {
  for (const customer of customers) {
    assert.deepEqual(customer.complaints, []);
    const history = await customer.history();
    assert.equal(new Set(history).size, history.length, "no order is there twice");
    const missing = [...customer.confirmed].filter((order) => !history.includes(order));
    assert.deepEqual(missing, [], "no confirmed order is missing");
    const sent = (order: string) => customer.confirmed.has(order) || customer.open.has(order);
    assert.deepEqual(
      history.filter((order) => !sent(order)),
      [],
      "nothing was not ordered",
    );
  }
  const url = cluster.url(await cluster.leader());
  const headers = { "paceline-consistency": "linearizable" };
  const sql = "SELECT id FROM orders";
  const placed = new Set((await rowsOf(url, sql, [], { headers })).map(([id]) => String(id)));
  const lost = customers.flatMap((c) => [...c.confirmed].filter((order) => !placed.has(order)));
  assert.deepEqual(lost, []);
  const empty = await rowsOf(
    url,
    "SELECT id FROM orders WHERE NOT EXISTS (SELECT 1 FROM order_lines WHERE order_id = id)",
  );
  assert.deepEqual(empty, [], "an order has lines");
}
