/**
 * The end of a run: all is healed and nobody writes. Every copy is held against the records, against the others and
 * against itself; then the nodes stop, and the files must be the same bytes.
 */

import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { paceline } from "../test/process/command.ts";
import type { Bank } from "./load/bank.ts";
import { Hrana } from "./load/hrana.ts";
import { type Inserts, rowsOf } from "./load/inserts.ts";
import type { Recorder } from "./load/recorder.ts";
import type { ChaosCluster } from "./nodes/chaos-cluster.ts";
import type { ChaosNode } from "./nodes/chaos-node.ts";

const settleMs = 300_000;

export type Books = {
  readonly recorder: Recorder;
  readonly inserts: Inserts;
  readonly bank: Bank;
};

/** Leaves the nodes stopped. What it finds goes to the recorder. */
export async function audit(cluster: ChaosCluster, books: Books): Promise<void> {
  const { recorder } = books;
  try {
    await cluster.settled(settleMs);
  } catch (error) {
    recorder.violate("diverged", (error as Error).message);
  }
  const verified = await paceline("verify", "--json", "--url", cluster.nodes[0]!.url);
  if (verified.code !== 0) {
    recorder.violate("diverged", `verify: ${verified.stderr} ${verified.stdout}`);
  }
  for (const node of cluster.nodes) {
    try {
      await auditNode(node, books);
    } catch (error) {
      recorder.violate("stuck", `${node.id} cannot be read: ${(error as Error).message}`);
    }
  }
  for (const node of cluster.nodes) node.mayExit = true;
  const ends = await Promise.all(cluster.nodes.map((node) => node.stop()));
  ends.forEach((how, n) => {
    if (!cluster.nodes[n]!.endedWell(how))
      recorder.violate("stuck", `${cluster.nodes[n]!.id} was asked to stop and ended with ${how}`);
  });
  await compareFiles(cluster, recorder);
}

async function auditNode(node: ChaosNode, { recorder, inserts, bank }: Books): Promise<void> {
  const client = new Hrana(node.url);
  const integrity = await rowsOf(client, "PRAGMA integrity_check");
  if (integrity[0]?.[0] !== "ok") {
    recorder.violate("diverged", `${node.id}: integrity_check says ${integrity.slice(0, 3)}`);
  }
  await inserts.check(node.id, client);
  await bank.check(node.id, client);
  const [[vanished]] = (await rowsOf(client, "SELECT count(*) FROM vanished")) as [[number]];
  if (vanished > 0) {
    recorder.violate("risen", `${node.id} has rows of transactions never committed`, vanished);
  }
  await client.close();
}

async function compareFiles({ nodes }: ChaosCluster, recorder: Recorder): Promise<void> {
  const sums = new Map<string, string[]>();
  for (const { id, disk } of nodes) {
    const path = join(disk.dataDir, "db", "main.sqlite");
    const wal = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
    if (wal > 0) {
      recorder.violate("diverged", `${id}: a WAL of ${wal} bytes is left after a graceful stop`);
    }
    const hash = createHash("sha256");
    await pipeline(createReadStream(path), hash);
    const sum = hash.digest("hex");
    sums.set(sum, [...(sums.get(sum) ?? []), id]);
  }
  if (sums.size > 1) {
    const groups = [...sums.values()].map((ids) => ids.join("="));
    recorder.violate("diverged", `database files differ: ${groups.join(" ≠ ")}`);
  }
}
