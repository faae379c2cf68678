/**
 * `npm run demo`: what a cluster is for, told in under a minute, with real processes and a real kill -9.
 *
 * Customers place orders all the time. The leader is killed; another node takes over; the killed node comes back and
 * catches up; then every acknowledged order is looked for on every node. Exit status 1 if one is missing.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { VerifyReport } from "../node/report/node-status.ts";
import { freePorts, LocalCluster, type LocalNode } from "./local/local-cluster.ts";
import { OrderClients, ordersTable } from "./local/order-clients.ts";
import { Hrana } from "./remote/hrana.ts";
import { Remote, type StatusAnswer } from "./remote/remote.ts";
import { formatTable } from "./table.ts";
import { Failure, formatSeconds, plural, printFailure, type Terminal } from "./terminal.ts";
import { formatReport } from "./verify.ts";

const customers = 6;
const calmMs = 8_000;
const patienceMs = 30_000;

const ends = new AbortController();
process.on("SIGINT", () => ends.abort());
process.on("SIGTERM", () => ends.abort());
const terminal: Terminal = {
  in: process.stdin,
  out: process.stdout,
  err: process.stderr,
  signal: ends.signal,
};
const startMs = performance.now();

/** The story is told; the nodes are being stopped. */
let isOver = false;

const dir = await mkdtemp(join(tmpdir(), "paceline-demo-"));
const cluster = new LocalCluster(dir, await freePorts(3), {
  onExit: (node, how) => {
    if (!isOver) tell(`   (the process of ${node.id} ended: ${how})`);
  },
});
let status = 1;
try {
  status = await story();
} catch (error) {
  printFailure(terminal, error);
} finally {
  isOver = true;
  await cluster.stopAll();
  if (status === 0) await rm(dir, { recursive: true, force: true });
  else console.error(`\nThe logs of the nodes are in ${dir}`);
}
process.exit(ends.signal.aborted ? 130 : status);

async function story(): Promise<number> {
  tell("Three nodes start on this machine, each a process of its own.");
  cluster.startAll();
  const first = await leaderAmong(cluster.nodes);
  tell(`They have elected ${first.id}. It takes the writes; all three answer reads.`);
  await new Hrana(new Remote(first.url)).execute({ sql: ordersTable });

  const urls = cluster.nodes.map((node) => node.url);
  const clients = new OrderClients(urls, customers);
  tell(`${customers} customers begin to place orders, one after the other, each at any node.`);
  await letTimePass(clients, calmMs);

  tell(`Now ${first.id}, the leader, is killed with SIGKILL. It cannot say good-bye.`);
  const killedMs = performance.now();
  await cluster.kill(first);
  const second = await leaderAmong(cluster.running);
  tell(
    `${second.id} leads now. The customers go on; whoever got no answer places the order again.`,
  );
  await letTimePass(clients, calmMs);
  const gap = clients.longestGap(killedMs - 500, performance.now());

  tell(`${first.id} is started again, with the data it had when it was killed.`);
  cluster.start(first);
  const backMs = performance.now();
  await caughtUp(first);
  const tookMs = performance.now() - backMs;
  tell(
    `${first.id} follows ${second.id} and has caught up, ${formatSeconds(tookMs)} after its start.`,
  );
  await letTimePass(clients, calmMs / 2);

  tell("The customers stop. Every node reads its whole database and compares checksums:");
  await clients.stop();
  await allEqual();
  const answer = await new Remote(second.url).call("POST", "/admin/verify", {});
  const report = answer.body as VerifyReport;
  for (const line of formatReport(report)) tell(`   ${line}`);
  return await summary(clients, { gapMs: gap.toMs - gap.fromMs, identical: report.identical });
}

async function summary(
  clients: OrderClients,
  { gapMs, identical }: { gapMs: number; identical: boolean },
): Promise<number> {
  const wanted = clients.acknowledged;
  let missing = 0;
  const rows = [["orders acknowledged", String(wanted.size)]];
  rows.push(["placed again for lack of an answer", String(clients.repeated)]);
  for (const node of cluster.nodes) {
    const found = await ordersOn(node);
    const lost = [...wanted].filter((order) => !found.has(order)).length;
    missing += lost;
    rows.push([`acknowledged orders found on ${node.id}`, String(wanted.size - lost)]);
  }
  rows.push(["acknowledged orders missing", String(missing)]);
  rows.push(["longest wait for an order around the kill", formatSeconds(gapMs)]);
  tell("");
  for (const line of formatTable(["", ""], rows, { right: [1] }).slice(2)) tell(line);
  tell("");
  if (missing === 0 && identical)
    tell("No acknowledged order was lost, and the copies are identical.");
  else tell("THIS MUST NOT HAPPEN: an acknowledged order is missing, or the copies differ.");
  return missing === 0 && identical ? 0 : 1;
}

/** What this node has itself, whatever others have. */
async function ordersOn(node: LocalNode): Promise<Set<string>> {
  const hrana = new Hrana(new Remote(node.url), { consistency: "stale" });
  const found = new Set<string>();
  const pageRows = 20_000;
  for (let offset = 0; ; offset += pageRows) {
    const { rows } = await hrana.execute({
      sql: `SELECT client || '/' || number FROM orders ORDER BY client, number LIMIT ${pageRows} OFFSET ${offset}`,
    });
    for (const [value] of rows) if (value?.type === "text") found.add(value.value);
    if (rows.length < pageRows) return found;
  }
}

/** Resolves with the node that leads, as soon as one of `nodes` does. */
async function leaderAmong(nodes: readonly LocalNode[]): Promise<LocalNode> {
  return await until("no leader", async () => {
    const { leader, nodes: all } = await anyStatus(nodes);
    const leads = all.some(
      (node) => node.id === leader && node.reachable && node.role === "leader",
    );
    return leads ? nodes.find((node) => node.id === leader) : undefined;
  });
}

async function caughtUp(node: LocalNode): Promise<void> {
  const { nodes } = await anyStatus(cluster.running);
  const goal = Math.max(...nodes.map((other) => other.committedLsn ?? 0));
  await until(`${node.id} does not catch up`, async () => {
    const now = (await anyStatus(cluster.running)).nodes.find((other) => other.id === node.id);
    return (now?.appliedLsn ?? 0) >= goal ? true : undefined;
  });
}

async function allEqual(): Promise<void> {
  await until("the nodes do not come to the same position", async () => {
    const { nodes } = await anyStatus(cluster.running);
    return new Set(nodes.map((node) => node.appliedLsn)).size === 1 ? true : undefined;
  });
}

async function anyStatus(nodes: readonly LocalNode[]): Promise<StatusAnswer> {
  const asked = nodes.map(({ url }) => new Remote(url).status(2_000));
  const answers = (await Promise.allSettled(asked)).filter(
    (answer) => answer.status === "fulfilled",
  );
  const newest = answers.map(({ value }) => value).sort((a, b) => b.term - a.term)[0];
  if (newest === undefined) throw new Failure("no node answers");
  return newest;
}

/** Asks until there is an answer. */
async function until<T>(otherwise: string, ask: () => Promise<T | undefined>): Promise<T> {
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    if (ends.signal.aborted) throw new Failure("interrupted");
    const answer = await ask().catch(() => undefined);
    if (answer !== undefined) return answer;
    if (performance.now() > untilMs)
      throw new Failure(`${otherwise} within ${patienceMs / 1000} s`);
    await sleep(50);
  }
}

async function letTimePass(clients: OrderClients, ms: number): Promise<void> {
  const everyMs = 2_000;
  for (let passed = 0; passed < ms; passed += everyMs) {
    await sleep(Math.min(everyMs, ms - passed), undefined, { signal: ends.signal }).catch(
      () => undefined,
    );
    if (ends.signal.aborted) throw new Failure("interrupted");
    tell(`   ${plural(clients.acknowledged.size, "order")}, ${clients.rate(everyMs)} per second`);
  }
}

function tell(text: string): void {
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1).padStart(5);
  process.stdout.write(text === "" ? "\n" : `${seconds} s  ${text}\n`);
}
