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
 * Nothing rests on the preparation: a target that does not answer is asked to lead all the same. Except where the lead
 * only goes to whom it would rather have (priority): then the target must have said that it is ready, and after each
 * failure it is left in peace for longer.
 */

import { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import { isCaretaker, priorityOf } from "../../raft/rule/priority.ts";
import type { Member, NodeId } from "../../vocabulary.ts";
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
  onEvent(line: string): void;
};

/** A target this close to the end of the log is there within a round trip. */
const closeEntries = 64;
/** How long a target may take to catch up before the switchover is refused. */
const catchUpMs = 5_000;
/** How long the target's preparation is waited for. */
const prepareMs = 1_000;
/** A served WAL shorter than this is copied faster than a checkpoint is made; 4 MiB. */
const shortWalFrames = 1_024;
/** Between two attempts to give the lead to a voter of higher priority: the first, and the longest after failures. */
const preferMinMs = 5_000;
const preferMaxMs = 300_000;

export class HandOver {
  readonly #ports: HandOverPorts;
  /** How often the lead was offered to others since it came here. */
  #offers = 0;
  /** No attempt by priority before this, and how long the next pause is. */
  #preferAtMs: number;
  #preferPauseMs = preferMinMs;
  #preferring = false;
  /** Those who wait for a target to be prepared. */
  readonly #onPrepared = new Map<NodeId, () => void>();

  constructor(ports: HandOverPorts) {
    this.#ports = ports;
    this.#preferAtMs = ports.clock.nowMs();
  }

  /** The lead came or went. */
  onLeadership(): void {
    this.#offers = 0;
    // Who comes up with a new leader is given time to arrive.
    this.#preferAtMs = this.#ports.clock.nowMs() + preferMinMs;
  }

  /** On the leader, now and then: a voter of higher priority that has caught up gets the lead. */
  async prefer(): Promise<void> {
    const { self, node, clock, onEvent } = this.#ports;
    if (this.#preferring || clock.nowMs() < this.#preferAtMs || !node.leadership.leading) return;
    const { membership } = node.status();
    const rankOf = (id: NodeId) => rank(membership.find((m) => m.id === id));
    const [target] = this.#voters();
    if (target === undefined || rankOf(target) <= rankOf(self) || !this.#isClose(target)) return;
    this.#preferring = true;
    try {
      const isReady = await this.#prepared(target);
      const leader = isReady ? await this.switchover(target) : undefined;
      if (leader !== undefined) onEvent(`the lead goes to ${target}, whose priority is higher`);
      this.#preferPauseMs =
        leader === undefined ? Math.min(2 * this.#preferPauseMs, preferMaxMs) : preferMinMs;
      this.#preferAtMs = clock.nowMs() + this.#preferPauseMs;
    } catch (error) {
      // It stops, and gives the lead away as it does.
      if (!(error instanceof ClientError)) throw error;
    } finally {
      this.#preferring = false;
    }
  }

  /** Offers the lead to the voter that has the most; this node must not keep it. Returns who was asked. */
  offer(): NodeId | undefined {
    const voters = this.#voters();
    // Who shall never lead may have to while pages are mended: those who shall are away, or damaged as well.
    if (this.#ports.database.damage !== undefined) voters.push(...this.#voters("never"));
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
    const served = database.whole;
    if (served === undefined) return;
    writes.warmUp();
    if (served.walFrames > shortWalFrames) {
      // Readers may keep it from starting over; then there is more to copy, and that is all.
      await served.checkpoint("restart").catch(() => {});
    }
    links.send(leader, { note: "leadPrepared" }, []);
  }

  /** A target has prepared itself. */
  prepared(from: NodeId): void {
    this.#onPrepared.get(from)?.();
  }

  /** Resolves with whether the target has answered. */
  async #prepared(target: NodeId): Promise<boolean> {
    const answered = new Promise<boolean>((resolve) => {
      this.#onPrepared.set(target, () => resolve(true));
    });
    this.#ports.links.send(target, { note: "prepareLead" }, []);
    const isReady = await Promise.race([answered, this.#pause(prepareMs).then(() => false)]);
    this.#onPrepared.delete(target);
    return isReady;
  }

  /** Resolves once the target lacks next to nothing. */
  async #caughtUp(target: NodeId): Promise<boolean> {
    const { node, clock } = this.#ports;
    for (const untilMs = clock.nowMs() + catchUpMs; clock.nowMs() < untilMs; ) {
      const { role, progress } = node.status();
      if (role !== "leader" || !progress.some((p) => p.id === target)) return false;
      if (this.#isClose(target)) return true;
      await this.#pause(10);
    }
    return false;
  }

  #order(target: NodeId): boolean {
    return this.#ports.node.transferTo(target) === undefined;
  }

  /** Whether the target lacks next to nothing. */
  #isClose(target: NodeId): boolean {
    const { progress, last } = this.#ports.node.status();
    const found = progress.find((p) => p.id === target);
    return found?.mode === "stream" && last.lsn - found.matchLsn <= closeEntries;
  }

  /**
   * The reachable voters that may lead, in the order in which they should: those that are close to the end of the log
   * by priority, then the others by what they have. With "never", those that shall not.
   */
  #voters(which: "may" | "never" = "may"): NodeId[] {
    const { self, node, links } = this.#ports;
    const { membership, progress } = node.status();
    const voters = progress.flatMap(({ id, matchLsn }) => {
      const member = membership.find((m) => m.id === id);
      const isMeant = member?.kind === "voter" && isCaretaker(member) === (which === "never");
      if (!isMeant || id === self || !links.isUp(id)) return [];
      return [{ id, matchLsn, rank: this.#isClose(id) ? rank(member) : -1 }];
    });
    return voters.sort((a, b) => b.rank - a.rank || b.matchLsn - a.matchLsn).map(({ id }) => id);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#ports.clock.after(ms, resolve));
  }
}

function rank(member: Member | undefined): number {
  return member === undefined || isCaretaker(member) ? -1 : Number(priorityOf(member));
}
