/** One log kind on the hard workload, with figures: what it costs in the log, on the leader and on a follower. */

import { TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { assertSame, caughtUp, runWorkload, workloadSchema } from "./kinds.ts";
import { rowsOf } from "./sql.ts";

export type KindReport = {
  readonly kind: string;
  readonly transactions: number;
  /** Of the workload, schema not counted. */
  readonly transactionsPerSecond: number;
  /** Bytes of the log, per transaction. */
  readonly bytesPerTransaction: number;
  /** A node that was away for half of the transactions: from its start until it had applied them. */
  readonly catchUpMs: number;
  /** Transactions per second that it applied, its start included. */
  readonly appliedPerSecond: number;
};

/** Runs the workload on a cluster of one kind; what comes out must be the same everywhere, or it throws. */
export async function kindStory(
  kind: string,
  options: { transactions: number; clients: number; files: readonly string[] },
): Promise<KindReport> {
  const cluster = await TestCluster.start({ args: ["--settings", `logKind=${kind}`] });
  try {
    const [first] = cluster.urls as [string];
    for (const file of options.files) await paceline("import", "--url", first, file);
    for (const sql of workloadSchema) await rowsOf(first, sql);
    await assertSame(cluster, kind);
    const before = await logBytes(cluster.url(await cluster.leader()));
    const began = Date.now();
    const { transactions, clients } = options;
    const half = Math.floor(transactions / 2);
    const how = { clients, perRequest: 20 };
    await runWorkload(cluster.urls, { from: 0, to: half }, how);
    const leader = await cluster.leader();
    const away = cluster.nodes.find((node) => node.id !== leader)!.id;
    const up = cluster.nodes.filter((node) => node.id !== away).map((node) => cluster.url(node.id));
    await cluster.kill(away, "SIGTERM");
    await runWorkload(up, { from: half, to: transactions }, how);
    const seconds = (Date.now() - began) / 1_000;
    const bytes = (await logBytes(cluster.url(leader))) - before;
    const restarted = Date.now();
    cluster.restart(away);
    await caughtUp(cluster, 300_000);
    const catchUpMs = Date.now() - restarted;
    await assertSame(cluster, kind);
    return {
      kind,
      transactions,
      transactionsPerSecond: Math.round(transactions / seconds),
      bytesPerTransaction: Math.round(bytes / transactions),
      catchUpMs,
      appliedPerSecond: Math.round((1_000 * (transactions - half)) / catchUpMs),
    };
  } finally {
    await cluster.stop();
  }
}

/** What the log of the node has grown to; nothing is dropped from it as long as it is shorter than its retention. */
async function logBytes(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^paceline_log_bytes (\S+)/m.exec(text)?.[1]);
}
