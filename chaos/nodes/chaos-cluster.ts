/**
 * The cluster of a run: its nodes, and what one asks all of them.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { TestCluster } from "../../test/process/cluster.ts";
import type { ChaosNode } from "./chaos-node.ts";

/** `GET /status`. */
type ClusterStatus = NonNullable<Awaited<ReturnType<TestCluster["statusOf"]>>>;

const askMs = 1_500;

export class ChaosCluster {
  readonly nodes: readonly ChaosNode[];
  /** As `--cluster` wants it: all members at the addresses of the proxy. */
  readonly members: string;

  constructor(nodes: readonly ChaosNode[]) {
    this.nodes = nodes;
    this.members = nodes.map((n) => `${n.id}=${n.address}`).join(",");
  }

  node(id: string): ChaosNode {
    return this.nodes.find((n) => n.id === id)!;
  }

  async startAll(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.start(this.members)));
  }

  async start(node: ChaosNode): Promise<void> {
    await node.start(this.members);
  }

  /** The node that says it leads, if one does now. */
  async leaderNow(): Promise<ChaosNode | undefined> {
    const asked = this.nodes.map(async (node) => {
      if (!node.isRunning) return undefined;
      try {
        const response = await fetch(`${node.url}/leader`, { signal: AbortSignal.timeout(askMs) });
        await response.arrayBuffer();
        return response.status === 200 ? node : undefined;
      } catch {
        return undefined;
      }
    });
    return (await Promise.all(asked)).find((node) => node !== undefined);
  }

  async leader(withinMs = 30_000): Promise<ChaosNode> {
    const until = performance.now() + withinMs;
    while (performance.now() < until) {
      const leader = await this.leaderNow();
      if (leader !== undefined) return leader;
      await sleep(25);
    }
    throw new Error(`no leader within ${withinMs} ms`);
  }

  async followers(): Promise<ChaosNode[]> {
    const leader = await this.leader();
    return this.nodes.filter((node) => node !== leader);
  }

  async status(): Promise<ClusterStatus | undefined> {
    const leader = await this.leaderNow();
    if (leader === undefined) return undefined;
    try {
      const signal = AbortSignal.timeout(3_000);
      const response = await fetch(`${leader.url}/status`, { signal });
      return response.ok ? ((await response.json()) as ClusterStatus) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Waits until every node is up and has applied what was committed when this was called. */
  async whole(withinMs: number): Promise<void> {
    let wanted: number | undefined;
    await this.#until(withinMs, "the nodes have caught up", (status) => {
      const reached = status.nodes.map((n) => n.appliedLsn ?? -1);
      wanted ??= Math.max(...status.nodes.map((n) => n.committedLsn ?? 0));
      return status.nodes.length >= this.nodes.length && reached.every((lsn) => lsn >= wanted!);
    });
  }

  /** Waits until, without load, all nodes are at one position with one checksum. */
  async settled(withinMs: number): Promise<void> {
    await this.#until(withinMs, "the nodes are equal", ({ nodes }) => {
      const places = new Set(nodes.map((n) => `${n.appliedLsn}/${n.committedLsn}/${n.checksum}`));
      return (
        nodes.length >= this.nodes.length &&
        places.size === 1 &&
        nodes.every((n) => n.reachable && n.checksum && n.appliedLsn === n.committedLsn)
      );
    });
  }

  async #until(
    withinMs: number,
    what: string,
    isSo: (status: ClusterStatus) => boolean,
  ): Promise<void> {
    const until = performance.now() + withinMs;
    let last: ClusterStatus | undefined;
    while (performance.now() < until) {
      last = (await this.status()) ?? last;
      if (last !== undefined && isSo(last)) return;
      await sleep(100);
    }
    const short = last?.nodes.map(
      (n) => `${n.id} ${n.role} ${n.appliedLsn}/${n.committedLsn} ${n.checksum}`,
    );
    throw new Error(`not within ${withinMs} ms: ${what} (${short?.join("; ")})`);
  }
}
