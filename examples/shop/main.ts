/**
 * `npm run shop`: the shop with all that it stands on, on this machine: one leader and two followers, a router in front
 * of them, the shop, and customers who order all the time. Everything is a real process, but the shop and its customers
 * are this one.
 *
 * What to do then is in examples/shop/README.md: open the shop, kill the leader, and look whether anybody misses an
 * order. `k` and Enter kills the leader; `s` and Enter starts what is dead. When it ends, every order that was
 * confirmed to a customer is looked for in that customer's history. Exit status 1 if one is missing.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { interrupted } from "../../src/cli/local/interrupt.ts";
import { busyPorts, freePorts, LocalCluster } from "../../src/cli/local/local-cluster.ts";
import { RoleWatch } from "../../src/cli/local/role-watch.ts";
import { CommandLine } from "../../tools/command-line.ts";
import { Customer } from "./customers.ts";
import { prepareShop } from "./goods.ts";
import { Shop } from "./shop.ts";

const help = `npm run shop: a web shop on a cluster, on this machine: one leader and two followers, a router in front of
them, the shop, and customers who order all the time. Kill the leader, and look whether anybody misses an order.

  npm run shop -- [--port P] [--dir DIR] [--customers N] [--seconds S]

  --port P       where the shop listens (default 7080); nodes and router take what is free
  --dir DIR      where the nodes keep their data (default .data/shop)
  --customers N  customers who order all the time (default 8)
  --seconds S    ends by itself after so long (default 0: when told to)
  --help

While it runs: k and Enter kills the leader, s and Enter starts what is dead, Ctrl-C ends it all.

Exit status: 0 when every order that was confirmed is there once, 1 when not, 2 for wrong options or a port in use.
`;

/** What is told in one line, without a stack. */
class Expected extends Error {}

const commandLine = new CommandLine("shop", help, {
  port: { type: "string", default: "7080" },
  dir: { type: "string", default: ".data/shop" },
  customers: { type: "string", default: "8" },
  seconds: { type: "string", default: "0" },
});
const { values: flags } = commandLine;
const port = commandLine.number("port", { min: 1, max: 65_535 });
const customerCount = commandLine.number("customers", { min: 0, max: 1_000 });
const seconds = commandLine.number("seconds", { min: 0, whole: false });
const launcher = resolve(import.meta.dirname, "../../bin/paceline");
const ending = interrupted(["SIGINT", "SIGTERM", "SIGHUP"], () => {
  cluster.killAll();
  router?.kill("SIGKILL");
  process.exit(130);
});
/** The nodes are being stopped. */
let isStopping = false;

if ((await busyPorts([port])).length > 0) {
  console.error(`port ${port} is in use; choose another: npm run shop -- --port ${port + 1}`);
  process.exit(2);
}
const [a, b, c, routerPort] = await freePorts(4);
const cluster = new LocalCluster(resolve(flags.dir), [a!, b!, c!], {
  onExit: (node, how) => {
    if (!isStopping) say(`the process of ${node.id} ended: ${how}`);
  },
});
const roles = new RoleWatch(cluster);
const routerUrl = `http://127.0.0.1:${routerPort}`;
let router: ChildProcess | undefined;
let status = 1;
try {
  say("three nodes start …");
  cluster.startAll();
  router = startRouter();
  await until(async () => (await fetch(`${routerUrl}/leader`)).status === 200);
  await prepareShop(routerUrl);
  const shop = await Shop.open({ port, database: { reads: routerUrl, writes: routerUrl } });
  status = await run(shop);
  await shop.close();
} catch (error) {
  console.error(error instanceof Expected ? `shop: ${error.message}` : error);
} finally {
  isStopping = true;
  router?.kill("SIGTERM");
  await cluster.stopAll();
}
process.exit(status);

async function run(shop: Shop): Promise<number> {
  await roles.look();
  const customers = Array.from({ length: customerCount }, (_, i) => new Customer(shop.url, i));
  console.log(welcome(shop));
  listen();
  let isOver = false;
  const buying = Promise.all(customers.map((customer) => customer.shopUntil(() => isOver, 150)));
  const endMs = seconds > 0 ? performance.now() + seconds * 1000 : 0;
  for (let ticks = 1; !ending.aborted; ticks++) {
    for (const line of await roles.look()) say(line);
    if (ticks % 20 === 0) say(tally(shop, customers));
    if (endMs > 0 && performance.now() > endMs) break;
    await sleep(250, undefined, { signal: ending }).catch(() => undefined);
  }
  say("stopping, checking every order … (Ctrl-C again ends it without)");
  isOver = true;
  await buying;
  return report(customers);
}

/** Every confirmed order, against the history of its customer. */
async function report(customers: readonly Customer[]): Promise<number> {
  const histories = await Promise.all(customers.map((customer) => customer.history()));
  let missing = 0;
  let twice = 0;
  for (const [i, { confirmed }] of customers.entries()) {
    missing += [...confirmed].filter((order) => !histories[i]!.includes(order)).length;
    twice += histories[i]!.length - new Set(histories[i]).size;
  }
  const total = customers.reduce((sum, { confirmed }) => sum + confirmed.size, 0);
  const complaints = customers.flatMap((customer) => customer.complaints);
  for (const { customer, order, what } of complaints) say(`customer ${customer}: ${order} ${what}`);
  say(
    `${total} orders confirmed, ${missing} missing, ${twice} doubled, ${complaints.length} complaints`,
  );
  return missing + twice + complaints.length === 0 ? 0 : 1;
}

function tally(shop: Shop, customers: readonly Customer[]): string {
  const complaints = customers.reduce((sum, customer) => sum + customer.complaints.length, 0);
  return `${shop.placed} orders placed, ${shop.repeated} sent again, ${complaints} complaints`;
}

/** Lines of the person at the keyboard. */
function listen(): void {
  if (process.stdin.isTTY !== true) return;
  createInterface({ input: process.stdin }).on("line", (line) => {
    const word = line.trim();
    if (word === "k") {
      const leader = cluster.running.find((node) => node.id === roles.leader);
      if (leader === undefined) return say("nobody leads now");
      say(`kill -9 ${leader.child?.pid}: ${leader.id}, the leader`);
      cluster.kill(leader);
    } else if (word === "s") {
      for (const node of cluster.nodes) if (!node.isRunning) cluster.start(node);
    }
  });
}

function startRouter(): ChildProcess {
  const nodes = cluster.nodes.map((node) => node.url).join(",");
  const args = [launcher, "router", "--listen", `127.0.0.1:${routerPort}`, "--nodes", nodes];
  // Like the nodes, in a group of its own: it is needed until every order has been looked for.
  return spawn(process.execPath, args, { stdio: "ignore", detached: true });
}

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 60_000;
  while (!(await isTrue().catch(() => false))) {
    if (ending.aborted) throw new Expected("interrupted before there was a leader");
    if (performance.now() > endMs) {
      throw new Expected(
        `the nodes elected no leader within 60 s; their logs are in ${cluster.dir}`,
      );
    }
    await sleep(100);
  }
}

function welcome(shop: Shop): string {
  const others =
    customerCount === 1 ? "1 other does the same" : `${customerCount} others do the same`;
  const nodes = cluster.nodes.map(
    ({ id, url, child }) =>
      `  node ${id}   ${url}   ${roles.roleOf(id).padEnd(8)}   pid ${child?.pid}`,
  );
  return `
  the shop ${shop.url}
  router   ${routerUrl}/status
${nodes.join("\n")}

Open the shop and order something; ${others} all the time. Then kill the leader:
k and Enter, or kill -9 and its pid. s and Enter starts it again. Ctrl-C ends it all.
`;
}

function say(text: string): void {
  console.log(`${new Date().toTimeString().slice(0, 8)}  ${text}`);
}
