/**
 * The running node as the API sees it. Requests about the cluster as a whole go on to the leader from here.
 */

import { ClientError } from "../base/errors.ts";
import type { Unit } from "../db/sql/request.ts";
import { limits } from "../limits.ts";
import { Feed } from "../node/changes/feed.ts";
import type { RollAnswer } from "../node/delay/roll-forward.ts";
import type { DiscardedManifest } from "../node/discarded/discarded-store.ts";
import type {
  ClusterStatus,
  NodeStatus,
  NodeVerdict,
  NodeView,
  VerifyReport,
  VerifyWish,
} from "../node/report/node-status.ts";
import type { RunAnswer, RunOptions } from "../node/route/run.ts";
import type { RunningNode } from "../node/running-node.ts";
import type { Follower } from "../node/tree/tree.ts";
import type { FollowAnswer } from "../node/tree/upstream.ts";
import { isCaretaker } from "../raft/rule/priority.ts";
import type { Member, Membership, NodeId, Priority, Settings } from "../vocabulary.ts";
import type { Backend } from "./backend.ts";

export class NodeBackend implements Backend {
  readonly #running: RunningNode;

  constructor(running: RunningNode) {
    this.#running = running;
  }

  run(unit: Unit, options: RunOptions): Promise<RunAnswer> {
    return this.#running.parts.routing.run(unit, options);
  }

  runAsLeader(unit: Unit, options: RunOptions): Promise<RunAnswer> {
    return this.#running.parts.routing.runAsLeader(unit, options);
  }

  closeSession(session: string): void {
    this.#running.parts.routing.closeSession(session);
  }

  localStatus(): NodeStatus {
    return this.#running.parts.report.local();
  }

  view(): NodeView {
    return this.#running.parts.report.view();
  }

  status(): Promise<ClusterStatus> {
    return this.#running.parts.report.cluster();
  }

  isLeader(): boolean {
    return this.#running.parts.writes.ready;
  }

  lagMs(): number | undefined {
    const { lag, node } = this.#running.parts;
    return lag.lagMs(node.leadership.leading);
  }

  ready(): boolean {
    return this.#running.parts.database.whole !== undefined;
  }

  isWitness(): boolean {
    return this.#running.parts.identity.witness;
  }

  members(): Membership {
    const { node } = this.#running.parts;
    return node.status().membership;
  }

  isDelayed(): boolean {
    return this.#running.parts.delayed !== undefined;
  }

  rollForward(to: string | undefined): Promise<RollAnswer> {
    const { delayed, self } = this.#running.parts;
    if (delayed === undefined) {
      throw new ClientError("NOT_DELAYED", `${self} applies everything at once: it has no delay`);
    }
    return to === undefined ? delayed.roll.resume() : delayed.roll.to(to);
  }

  async verify(): Promise<VerifyReport> {
    // Positions are compared with what the asked node had there itself: a witness has nothing, a delayed node not yet.
    const leader = this.isWitness() || this.isDelayed() ? this.#above() : undefined;
    if (leader !== undefined) {
      const request = { method: "POST", path: "/admin/verify", body: "{}" } as const;
      const { forwarder } = this.#running.parts;
      return (await forwarder.ask(leader, request, limits.verifyMs)) as VerifyReport;
    }
    return this.#running.parts.report.verify();
  }

  verifyHere(wish: VerifyWish): Promise<NodeVerdict> {
    return this.#running.parts.report.verifyHere(wish);
  }

  async switchover(to: NodeId | undefined): Promise<{ readonly leader: NodeId }> {
    const leader = this.#otherLeader();
    if (leader !== undefined) {
      const body = to === undefined ? {} : { to };
      const answer = await this.#askLeader(leader, "POST", "/admin/switchover", body);
      return answer as { leader: NodeId };
    }
    const { node, self } = this.#running.parts;
    if (to === self) return { leader: self };
    const member = node.status().membership.find((m) => m.id === to);
    if (to !== undefined && (member?.kind !== "voter" || isCaretaker(member))) {
      const why =
        member?.kind === "voter" ? "has priority never" : `is a ${member?.kind}, not a voter`;
      const text = member === undefined ? `there is no member "${to}"` : `${to} ${why}`;
      throw new ClientError("MEMBERSHIP_REFUSED", text);
    }
    const target = await this.#running.switchover(to);
    if (target !== undefined) return { leader: target };
    throw new ClientError(
      "NO_LEADER",
      "the lead could not be handed over: no other voter is up to date and reachable; this node goes on",
    );
  }

  async promote(acceptLoss: boolean): Promise<{ readonly leader: NodeId }> {
    const { promotion, self } = this.#running.parts;
    await promotion.promote(acceptLoss);
    return { leader: self };
  }

  async addMember(member: Member): Promise<void> {
    const leader = this.#otherLeader();
    if (leader !== undefined) {
      await this.#askLeader(leader, "POST", "/admin/members", member);
      return;
    }
    const joining: Member =
      member.kind === "voter" ? { ...member, kind: "learner", promote: true } : member;
    await this.#running.parts.members.add(joining);
  }

  async removeMember(id: NodeId): Promise<void> {
    const leader = this.#otherLeader();
    if (leader !== undefined) {
      await this.#askLeader(leader, "DELETE", `/admin/members/${id}`, undefined);
      return;
    }
    await this.#running.parts.members.remove(id);
  }

  discarded(): readonly DiscardedManifest[] {
    return this.#running.parts.discarded.list();
  }

  discardedContents(name: string): AsyncIterable<Uint8Array> | undefined {
    return this.#running.parts.discarded.read(name);
  }

  async configure(wanted: Readonly<Record<string, unknown>>): Promise<Settings> {
    const leader = this.#otherLeader();
    if (leader === undefined) return this.#running.parts.settings.change(wanted);
    return (await this.#askLeader(leader, "POST", "/admin/settings", wanted)) as Settings;
  }

  changes(): Feed {
    const { log, applied, node, identity } = this.#running.parts;
    if (identity.witness) throw new ClientError("NOT_READY", "a witness has no changes to tell");
    return new Feed({ log, applied, isRecorded: () => node.status().settings.record.changes });
  }

  follow(follower: Follower): FollowAnswer {
    return this.#running.parts.tree.register(follower);
  }

  async setPriority(id: NodeId, priority: Priority): Promise<void> {
    const leader = this.#otherLeader();
    if (leader !== undefined) {
      await this.#askLeader(leader, "POST", `/admin/members/${id}`, { priority });
      return;
    }
    await this.#running.parts.members.setPriority(id, priority);
  }

  metrics(): Readonly<Record<string, number>> {
    return this.#running.metrics();
  }

  /** Address of the leader, or on the way there. */
  #above(): string | undefined {
    return this.#running.parts.tree.upstream?.current?.address ?? this.#otherLeader();
  }

  /** Address of the leader when that is another node; undefined when it is this one. Throws NO_LEADER. */
  #otherLeader(): string | undefined {
    const { node } = this.#running.parts;
    const { leading, leader } = node.leadership;
    if (leading) return undefined;
    const address = node.status().membership.find((m) => m.id === leader)?.address;
    if (address !== undefined) return address;
    throw new ClientError("NO_LEADER", "there is no leader now; repeat the request shortly");
  }

  async #askLeader(
    address: string,
    method: "POST" | "DELETE",
    path: string,
    body: unknown,
  ): Promise<unknown> {
    const { forwarder } = this.#running.parts;
    const text = body === undefined ? undefined : JSON.stringify(body);
    return forwarder.ask(address, { method, path, body: text }, limits.requestWaitMs);
  }
}
