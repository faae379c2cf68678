/**
 * `paceline promote`: an operator makes this node the leader, under a manual coordinator.
 *
 *   1  every member is asked what it has; nothing is touched yet
 *   2  a leader that answers hands over by an ordinary switchover: nothing is lost and nobody needs to accept anything
 *   3  otherwise it is worked out what could be lost; unless that is nothing, the operator must have accepted it
 *   4  the core enters a new term, in which those who answered take part before this node leads (raft/election.ts)
 *
 * What could be lost. An entry was acknowledged when the commit rule's number of voters had it. If fewer voters than
 * that do not answer, one of those that do has every such entry, so the one of them that has the most has them all. If
 * as many are silent, nobody knows; a voter that lost its disk counts as silent. Settings that let the rule degrade let
 * a leader acknowledge by the weaker one.
 *
 * Not here: what becomes of the entries that a returning node has and the cluster lost (node/discarded/).
 */

import { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { counts } from "../../raft/membership.ts";
import type { RaftStatus } from "../../raft/raft.ts";
import {
  type EntryId,
  formatPosition,
  type Member,
  type NodeId,
  type Term,
} from "../../vocabulary.ts";
import type { Node } from "../node.ts";
import type { NodeStatus } from "../report/node-status.ts";

export type PromotionPorts = {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly node: Node;
  /** Asks a member how it is. Throws when it does not answer. */
  ask(member: Member): Promise<NodeStatus>;
  /** Asks the leader to hand over to this node. Throws ClientError when it cannot. */
  askSwitchover(leader: Member): Promise<void>;
  onEvent(line: string): void;
};

/** What one voter has; undefined when it did not answer. */
type Heard = { readonly member: Member; readonly status: NodeStatus | undefined };

/** How long the new leader may take to lead once it may. */
const leadMs = 3_000;
/** How long a voter may take to say what it has. */
const askMs = 1_000;

export class Promotion {
  readonly #ports: PromotionPorts;
  #running = false;

  constructor(ports: PromotionPorts) {
    this.#ports = ports;
  }

  /** Resolves when this node leads. Throws ClientError PROMOTION_REFUSED, naming what would be lost. */
  async promote(acceptLoss: boolean): Promise<void> {
    if (this.#running) throw refused("a promotion of this node is under way");
    this.#running = true;
    try {
      await this.#promote(acceptLoss);
    } finally {
      this.#running = false;
    }
  }

  async #promote(acceptLoss: boolean): Promise<void> {
    const { self, node, onEvent } = this.#ports;
    if (node.leadership.leading) return;
    this.#assertFit();
    const heard = await this.#askAll();
    const leader = heard.find((h) => h.status?.role === "leader" && this.#isCurrent(h, heard));
    if (leader !== undefined && (await this.#takeOver(leader.member, acceptLoss))) return;
    const status = node.status();
    const loss = lossOf(status, heard, node.fewestCopies());
    if (loss !== undefined && !acceptLoss) {
      throw refused(
        `${loss}. To promote ${self} all the same, and give those writes up, add --accept-loss; ` +
          "paceline status shows what every node has",
      );
    }
    if (loss !== undefined) onEvent(`promoted by an operator who accepts this: ${loss}`);
    const terms = heard.map((h) => h.status?.term ?? 0);
    const order = {
      aboveTerm: Math.max(status.term, ...terms) as Term,
      expected: heard.flatMap((h) => (h.status === undefined ? [] : [h.member.id])),
      acceptLoss,
    };
    const why = node.promote(order);
    if (why === "promotion-refused") {
      throw refused(
        `the database of ${self} is damaged, and only pages of a leader mend it: promote another node; with ` +
          "--accept-loss, if that one has less",
      );
    }
    if (why !== undefined) throw refused(`${self} cannot be promoted (${why})`);
    await this.#untilLeading();
  }

  #assertFit(): void {
    const { self, node } = this.#ports;
    const { membership, settings } = node.status();
    const own = membership.find((member) => member.id === self);
    if (settings.coordinator !== "manual") throw refused(this.#electsItself());
    if (own?.kind !== "voter") throw refused(`${self} is no voter: it cannot lead`);
  }

  /** What there is to do instead. Without a majority that is neither a switchover nor another setting. */
  #electsItself(): string {
    const { leader } = this.#ports.node.leadership;
    return leader === undefined
      ? "this cluster elects its leader by a majority of its voters (coordinator=quorum), and none is heard now, so " +
          "no node can be promoted: start the other voters. If they are gone for good: paceline backup --url of this " +
          "node, and paceline restore begins a new cluster from that"
      : `this cluster elects its leader by majority, and ${leader} leads; paceline switchover --to ` +
          `${this.#ports.self} hands over`;
  }

  /** Whether nobody knows a later term than this leader's. */
  #isCurrent(leader: Heard, heard: readonly Heard[]): boolean {
    const terms = heard.map((h) => h.status?.term ?? 0);
    return (leader.status?.term ?? 0) >= Math.max(this.#ports.node.status().term, ...terms);
  }

  /** True when the leader has handed over. An operator who accepts losses is not held up by a leader that cannot. */
  async #takeOver(leader: Member, acceptLoss: boolean): Promise<boolean> {
    try {
      await this.#ports.askSwitchover(leader);
      await this.#untilLeading();
      return true;
    } catch (error) {
      if (!acceptLoss) throw error;
      return false;
    }
  }

  async #untilLeading(): Promise<void> {
    const { self, node, clock } = this.#ports;
    for (const untilMs = clock.nowMs() + leadMs; !node.leadership.leading; ) {
      const isOver = node.status().role === "follower" && node.leadership.leader === undefined;
      if (clock.nowMs() > untilMs || (isOver && clock.nowMs() > untilMs - leadMs + 100)) {
        throw refused(
          `those who answered do not follow ${self}: they have more, or do not answer any more. Nobody leads now; ` +
            "promote again, or another node",
        );
      }
      await this.#pause(5);
    }
  }

  #pause(ms: number): Promise<undefined> {
    return new Promise((resolve) => this.#ports.clock.after(ms, () => resolve(undefined)));
  }

  #askAll(): Promise<Heard[]> {
    const { self, node } = this.#ports;
    const others = node.status().membership.filter((m) => counts(m) && m.id !== self);
    return Promise.all(
      others.map(async (member) => {
        const answer = this.#ports.ask(member).catch(() => undefined);
        return { member, status: await Promise.race([answer, this.#pause(askMs)]) };
      }),
    );
  }
}

/** What a promotion could lose, in words; undefined when that is nothing that was acknowledged. */
function lossOf(
  { last, born, settings }: RaftStatus,
  heard: readonly Heard[],
  fewestCopies: number,
): string | undefined {
  const ahead = heard.flatMap(({ member, status }) => {
    const theirs = status === undefined ? undefined : lastOf(status);
    return theirs !== undefined && isBehind(last, theirs) ? [{ id: member.id, theirs }] : [];
  });
  const best = ahead.sort((a, b) => (isBehind(a.theirs, b.theirs) ? 1 : -1))[0];
  if (best !== undefined) {
    const { id, theirs } = best;
    const lost =
      theirs.lsn > last.lsn
        ? `${theirs.lsn - last.lsn} entries, ${last.lsn + 1} to ${formatPosition(theirs)}`
        : `what it has of term ${theirs.term}, up to ${formatPosition(theirs)}`;
    return `this node is at ${formatPosition(last)}, ${id} is at ${formatPosition(theirs)}: it would lose ${lost}`;
  }
  if (!born) return "this node is new, or lost its disk: it may lack what it once held";
  const silent = heard.filter((h) => h.status?.born !== true).map((h) => h.member.id);
  if (silent.length < fewestCopies) return undefined;
  return (
    `${silent.join(" and ")} ${silent.length === 1 ? "does" : "do"} not answer, and by commit rule ` +
    `${settings.commitRule} may have acknowledged writes that nobody else has: ` +
    `everything there after ${formatPosition(last)} would be lost, and nobody knows how much that is`
  );
}

function lastOf({ durableLsn, durableTerm }: NodeStatus): EntryId | undefined {
  if (durableLsn === undefined || durableTerm === undefined) return undefined;
  return { lsn: durableLsn, term: durableTerm };
}

function isBehind(a: EntryId, b: EntryId): boolean {
  return a.term < b.term || (a.term === b.term && a.lsn < b.lsn);
}

function refused(message: string): ClientError {
  return new ClientError("PROMOTION_REFUSED", message);
}
