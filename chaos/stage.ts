/**
 * Sets the stage of a run: disks, proxy, nodes, tables. Everything it makes is under one directory and ends with
 * `close`.
 */

import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../test/process/cluster.ts";
import type { Need } from "./faults/fault.ts";
import { bankSchema } from "./load/bank.ts";
import { cellsSchema } from "./load/cells.ts";
import { Hrana } from "./load/hrana.ts";
import { insertsSchema } from "./load/inserts.ts";
import { listsSchema } from "./load/lists.ts";
import { registerRows, registersSchema } from "./load/registers.ts";
import { sessionsIndex, sessionsSchema } from "./load/sessions.ts";
import { buildNative, type Native } from "./native/build.ts";
import { Links } from "./network/links.ts";
import { ChaosCluster } from "./nodes/chaos-cluster.ts";
import { ChaosNode } from "./nodes/chaos-node.ts";
import { NodeDisk } from "./nodes/node-disk.ts";

export type StageOptions = {
  readonly dir: string;
  readonly nodes: number;
  /** The run has a mount namespace of its own. */
  readonly mountable: boolean;
  onCrash(id: string, how: string): void;
};

export const registerCount = 8;
const startsWithinMs = 60_000;

export class Stage {
  readonly dir: string;
  readonly cluster: ChaosCluster;
  /** A machine that is no member, and does not run. */
  readonly spare: ChaosNode;
  readonly links: Links;
  readonly native: Native | undefined;
  /** What faults may need and find. */
  readonly has: ReadonlySet<Need>;

  readonly #machines: readonly ChaosNode[];

  private constructor(
    parts: Pick<Stage, "dir" | "cluster" | "spare" | "links" | "native" | "has">,
  ) {
    this.dir = parts.dir;
    this.#machines = [...parts.cluster.nodes, parts.spare];
    this.cluster = parts.cluster;
    this.spare = parts.spare;
    this.links = parts.links;
    this.native = parts.native;
    this.has = parts.has;
  }

  /** Nodes run and lead when it resolves; tables are there. */
  static async set(options: StageOptions): Promise<Stage> {
    const dir = mkdtempSync(join(options.dir, "paceline-chaos-"));
    const native = buildNative(dir);
    const ids = Array.from({ length: options.nodes + 1 }, (_, n) => String.fromCharCode(97 + n));
    const ports = await freePorts(ids.length * 2);
    const links = new Links(ids);
    const nodes: ChaosNode[] = [];
    for (const [n, id] of ids.entries()) {
      const port = ports[2 * n]!;
      const proxyPort = ports[2 * n + 1]!;
      await links.listen(id, proxyPort, port);
      const disk = NodeDisk.make(dir, id, options.mountable);
      const node = new ChaosNode({
        ...{ id, port, proxyPort, disk, dir, preload: native?.preload },
        // A short log, so that a node that was away for long copies pages; and it need not wait for them.
        args: [
          "--keep-log",
          "32M",
          "--readers",
          "2",
          "--sync-rate",
          "64M",
          "--statement-timeout",
          "60",
        ],
        onCrash: options.onCrash,
        onSpawn: (id, pid) => links.owner(id, pid),
      });
      nodes.push(node);
    }
    const spare = nodes.pop()!;
    const cluster = new ChaosCluster(nodes);
    await cluster.startAll();
    await makeTables(await cluster.leader());
    await cluster.settled(startsWithinMs);
    const has = new Set<Need>();
    if (options.mountable) has.add("mounts");
    if (native !== undefined) has.add("preload");
    return new Stage({ dir, cluster, spare, links, native, has });
  }

  /** Also those that are no members now. */
  get machines(): readonly ChaosNode[] {
    return this.#machines;
  }

  /** Everything ends, at once. What was mounted stays readable in its image. */
  async close(): Promise<void> {
    await Promise.all(this.machines.map((node) => node.kill(true)));
    this.links.close();
    for (const { disk } of this.machines) await disk.unmount().catch(() => {});
  }
}

async function makeTables(leader: ChaosNode): Promise<void> {
  const client = new Hrana(leader.url);
  for (const sql of [
    ...[insertsSchema, registersSchema, ...bankSchema, ...listsSchema],
    ...[cellsSchema, sessionsSchema, sessionsIndex, "CREATE TABLE vanished (id INTEGER)"],
    registerRows(registerCount),
  ]) {
    const outcome = await client.ask({ statements: [{ sql }], timeoutMs: 20_000 });
    if (outcome.type !== "ok") throw new Error(`${sql}: ${outcome.code} ${outcome.message}`);
  }
  await client.close();
}
