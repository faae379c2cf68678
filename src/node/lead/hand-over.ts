/**
 * Giving the lead away: on demand (switchover), because this node must not keep it (damaged, a witness, stopping).
 *
 * Clients notice a switchover as a pause, so everything that takes time is done before the pause begins:
 *
 *   1  the target catches up with the log                    writes go on
 *   2  note "prepareLead": it loads a writer, empties its served WAL, so that its scratch is made in no time
 *   3  no batch is started; the one under way ends           the pause begins
 *   4  the order to stand; votes, no-op, scratch             on the target
 *   5  requests that waited run there                        the pause ends
 *
 * Nothing rests on the preparation: a target that does not answer is asked to lead all the same.
 */

import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { NodeId } from "../../vocabulary.ts";
import type { Database } from "../database.ts";
import type { Links } from "../driver.ts";
import type { Node } from "../node.ts";
import type { Writes } from "../write/writes.ts";

export type HandOverPorts = {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly node: Node;
  readonly links: Links;
  readonly writes: Writes;
  readonly database: Database;
};

/** A target this close to the end of the log is there within a round trip. */
const closeEntries = 64;
/** How long a target may take to catch up before the switchover is refused. */
const catchUpMs = 5_000;
/** How long the target's preparation is waited for. */
const prepareMs = 1_000;
/** A served WAL shorter than this is copied faster than a checkpoint is made; 4 MiB. */
const shortWalFrames = 1_024;

export class HandOver {
  readonly #ports: HandOverPorts;
  /** How often the lead was offered to others since it came here. */
  #offers = 0;
  /** Those who wait for a target to be prepared. */
  readonly #onPrepared = new Map<NodeId, () => void>();

  constructor(ports: HandOverPorts) {
    this.#ports = ports;
  }

  /** The lead came or went. */
  onLeadership(): void {
    this.#offers = 0;
  }

  /** Offers the lead to the voter that has the most; this node must not keep it. Returns who was asked. */
  offer(): NodeId | undefined {
    const voters = this.#voters();
    // One that would not or could not lead is not asked again before the others were.
    const target = voters[this.#offers++ % voters.length];
    return target === undefined || !this.#order(target) ? undefined : target;
  }

  /** This node stops. */
  async leave(): Promise<void> {
    const { writes, node, clock } = this.#ports;
    const untilMs = clock.nowMs() + 2_000;
    const [best] = this.#voters();
    if (best !== undefined) await this.#prepared(best);
    await Promise.race([writes.hold(), this.#pause(1_000)]);
    if (this.offer() === undefined) return;
    while (node.leadership.leading && clock.nowMs() < untilMs) await this.#pause(10);
  }

  /** Switchover on demand. Resolves with the node that leads now, or undefined when it could not be. */
  async switchover(to: NodeId | undefined): Promise<NodeId | undefined> {
    const { writes, node, clock } = this.#ports;
    const target = to ?? this.#voters()[0];
    if (target === undefined || !(await this.#caughtUp(target))) return undefined;
    await this.#prepared(target);
    await Promise.race([writes.hold(), this.#pause(1_000)]);
    try {
      if (!this.#order(target)) return undefined;
      const untilMs = clock.nowMs() + 2 * limits.electionTimeoutMaxMs;
      while (node.leadership.leader !== target && clock.nowMs() < untilMs) await this.#pause(2);
      return node.leadership.leader === target ? target : undefined;
    } finally {
      writes.release();
    }
  }

  /** The leader is about to hand over to this node. */
  async prepare(leader: NodeId): Promise<void> {
    const { writes, database, links } = this.#ports;
    writes.warmUp();
    const served = database.whole;
    if (served !== undefined && served.walFrames > shortWalFrames) {
      // Readers may keep it from starting over; then there is more to copy, and that is all.
      await served.checkpoint("restart").catch(() => {});
    }
    links.send(leader, { note: "leadPrepared" }, []);
  }

  /** A target has prepared itself. */
  prepared(from: NodeId): void {
    this.#onPrepared.get(from)?.();
  }

  async #prepared(target: NodeId): Promise<void> {
    const answered = new Promise<void>((resolve) => this.#onPrepared.set(target, resolve));
    this.#ports.links.send(target, { note: "prepareLead" }, []);
    await Promise.race([answered, this.#pause(prepareMs)]);
    this.#onPrepared.delete(target);
  }

  /** Resolves once the target lacks next to nothing. */
  async #caughtUp(target: NodeId): Promise<boolean> {
    const { node, clock } = this.#ports;
    for (const untilMs = clock.nowMs() + catchUpMs; clock.nowMs() < untilMs; ) {
      const { role, progress, last } = node.status();
      const found = progress.find((p) => p.id === target);
      if (role !== "leader" || found === undefined) return false;
      if (found.mode === "stream" && last.lsn - found.matchLsn <= closeEntries) return true;
      await this.#pause(10);
    }
    return false;
  }

  #order(target: NodeId): boolean {
    return this.#ports.node.transferTo(target) === undefined;
  }

  /** The reachable voters, the longest log first. */
  #voters(): NodeId[] {
    const { self, node, links } = this.#ports;
    return node
      .status()
      .progress.filter((p) => p.kind === "voter" && p.id !== self && links.isUp(p.id))
      .sort((a, b) => b.matchLsn - a.matchLsn)
      .map((p) => p.id);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#ports.clock.after(ms, resolve));
  }
}
