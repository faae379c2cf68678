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
  /** The members; a machine that is none for the moment is not among them. */
  nodes: readonly ChaosNode[];

  constructor(nodes: readonly ChaosNode[]) {
    this.nodes = nodes;
  }

  /** As `--cluster` wants it: all members at the addresses of the proxy. */
  get members(): string {
    return this.nodes.map((n) => `${n.memberId}=${n.address}`).join(",");
  }

  node(id: string): ChaosNode {
    return this.nodes.find((n) => n.id === id)!;
  }

  async startAll(): Promise<void> {
    await Promise.all(this.nodes.map((node) => this.start(node)));
  }

  async start(node: ChaosNode): Promise<void> {
    await node.start(["--cluster", this.members]);
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

  async leader(withinMs = 60_000): Promise<ChaosNode> {
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
      return this.#hasAll(status) && reached.every((lsn) => lsn >= wanted!);
    });
  }

  /** Waits until, without load, all nodes are at one position with one checksum. */
  async settled(withinMs: number): Promise<void> {
    await this.#until(withinMs, "the nodes are equal", (status) => {
      const { nodes } = status;
      if (!this.#hasAll(status)) return false;
      const places = new Set(nodes.map((n) => `${n.appliedLsn}/${n.committedLsn}/${n.checksum}`));
      return (
        places.size === 1 &&
        nodes.every((n) => n.reachable && n.checksum && n.appliedLsn === n.committedLsn)
      );
    });
  }

  /** Waits until the leader knows a node as a voter, or as no member. */
  async membership(node: ChaosNode, is: "voter" | "none", withinMs: number): Promise<void> {
    await this.#until(withinMs, `${node.memberId} is ${is}`, ({ nodes }) => {
      const kind = nodes.find((n) => n.id === node.memberId)?.kind;
      return is === "voter" ? kind === "voter" : kind === undefined;
    });
  }

  #hasAll({ nodes }: ClusterStatus): boolean {
    return this.nodes.every(({ memberId }) => nodes.some((n) => n.id === memberId));
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
      (n) => `${n.id} ${n.kind} ${n.role} ${n.appliedLsn}/${n.committedLsn} ${n.checksum}`,
    );
    throw new Error(`not within ${withinMs} ms: ${what} (${short?.join("; ")})`);
  }
}
