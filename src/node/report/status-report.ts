/**
 * What this node says of itself and of the cluster: status, metrics. Reads, never decides.
 *
 * Not here: how copies are verified (verification.ts).
 */

import { formatHash } from "../../base/hash.ts";
import type { Clock } from "../../host/clock.ts";
import type { LogStore } from "../../log/log-store.ts";
import type { RaftStatus } from "../../raft/raft.ts";
import { priorityOf } from "../../raft/rule/priority.ts";
import {
  type EntryId,
  formatPosition,
  type Lsn,
  type Member,
  type NodeId,
  type Priority,
} from "../../vocabulary.ts";
import type { Database } from "../database.ts";
import type { Delay } from "../delay/delay.ts";
import type { Identity } from "../identity.ts";
import type { Forwarding } from "../route/routing.ts";
import type { Tree } from "../tree/tree.ts";
import { lagBytes } from "./lag.ts";
import type {
  ClusterStatus,
  NodeStatus,
  NodeVerdict,
  NodeView,
  VerifyReport,
  VerifyWish,
} from "./node-status.ts";
import { Verification } from "./verification.ts";

export type ReportPorts = {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly log: LogStore;
  readonly database: Database;
  readonly identity: Identity;
  readonly forwarder: Forwarding;
  /** `host:port` of this node. */
  readonly address: string;
  readonly tree: Tree;
  /** Tables whose rows this node keeps; all when undefined. */
  readonly tables: readonly string[] | undefined;
  raft(): RaftStatus;
  applied(): EntryId;
  lagMs(): number | undefined;
  lagEntries(): number | undefined;
  takesWrites(): boolean;
  /** What the database holds, row by row. */
  content(at?: Lsn): Promise<NonNullable<NodeVerdict["content"]>>;
  /** Resolves once this node has applied `lsn`. */
  reached(lsn: Lsn): Promise<void>;
  /** Members in sync, on the leader. */
  inSync(): readonly NodeId[];
  /** Undefined on a node that applies everything at once. */
  readonly delay: Delay | undefined;
  /** Entries lost by the cluster and kept here, by directory. */
  discarded(): number;
  urlOf(address: string): string;
};

/** Levels of a tree below the members that are asked. */
const treeDepthMax = 8;
/** How long another node may take to say how it is. */
const askMs = 700;

export class StatusReport {
  readonly #ports: ReportPorts;
  /** Checksums by LSN of the newest entries applied, so that copies can be compared at one position. */
  readonly #checksumByLsn = new Map<Lsn, string>();
  /** What the other nodes said last, and when. */
  readonly #seenById = new Map<NodeId, { readonly status: NodeStatus; readonly atMs: number }>();

  readonly #verification: Verification;

  constructor(ports: ReportPorts) {
    this.#ports = ports;
    this.#verification = new Verification(ports, (lsn) => this.#checksumByLsn.get(lsn));
  }

  /** Called after each entry. */
  remember(lsn: Lsn): void {
    const served = this.#ports.database.served;
    if (served === undefined) return;
    this.#checksumByLsn.set(lsn, formatHash(served.checksum()));
    if (this.#checksumByLsn.size > 20_000) {
      this.#checksumByLsn.delete(this.#checksumByLsn.keys().next().value!);
    }
  }

  /** What was remembered from `from` on stands for entries that were lost. */
  forgetFrom(from: Lsn): void {
    for (const lsn of this.#checksumByLsn.keys()) {
      if (lsn >= from) this.#checksumByLsn.delete(lsn);
    }
  }

  local(): NodeStatus {
    const { self, address, tree, database, log } = this.#ports;
    const raft = this.#ports.raft();
    const children = tree.relay.members();
    const member = raft.membership.find((m) => m.id === self);
    const served = database.whole;
    const appliedLsn = this.#ports.applied().lsn;
    const lagEntries = this.#ports.lagEntries();
    const isWitness = this.#ports.identity.witness;
    return {
      id: self,
      url: this.#ports.urlOf(member?.address ?? address),
      role: raft.role,
      priority: member === undefined ? undefined : shownPriority(member),
      kind: member?.kind ?? (isWitness ? "witness" : "learner"),
      reachable: true,
      born: raft.born,
      term: raft.term,
      durableLsn: log.last.lsn,
      durableTerm: log.last.term,
      committedLsn: raft.committedLsn,
      // What is applied is in a database; a witness has none.
      appliedLsn: isWitness ? undefined : appliedLsn,
      lagMs: isWitness ? undefined : this.#ports.lagMs(),
      lagEntries: isWitness ? undefined : lagEntries,
      lagBytes:
        lagEntries === undefined || isWitness
          ? undefined
          : lagBytes(log, appliedLsn, (appliedLsn + lagEntries) as Lsn),
      checksum: served === undefined ? undefined : formatHash(served.checksum()),
      tables: this.#ports.tables,
      upstream: tree.upstream?.current?.id,
      downstream:
        children.length === 0
          ? undefined
          : children.map(({ id, address: at }) => ({ id, address: at })),
      ...delayStatus(this.#ports.delay, appliedLsn),
      discarded: this.#ports.discarded(),
      copies:
        raft.role === "leader"
          ? { inSync: this.#ports.inSync(), degraded: raft.degraded }
          : undefined,
    };
  }

  /** This node, without asking another. */
  view(): NodeView {
    const raft = this.#ports.raft();
    return {
      ...this.local(),
      clusterId: this.#ports.identity.clusterId,
      term: raft.term,
      leader: raft.leader,
      takesWrites: this.#ports.takesWrites(),
      ready: this.#ports.database.whole !== undefined,
      members: raft.membership.map(({ id, kind, address }) => ({
        ...{ id, kind },
        url: this.#ports.urlOf(address),
      })),
    };
  }

  async cluster(): Promise<ClusterStatus> {
    const { identity } = this.#ports;
    const raft = this.#ports.raft();
    const nodes = await this.#askAll(raft.membership);
    const copies = nodes.find((node) => node.id === raft.leader)?.copies;
    return {
      clusterId: identity.clusterId,
      term: raft.term,
      leader: raft.leader,
      commitRule: raft.settings.commitRule,
      settings: raft.settings,
      degraded: copies?.degraded,
      nodes: nodes.map((node) => ({ ...node, inSync: copies?.inSync.includes(node.id) })),
    };
  }

  /** The members, this node if it is none, and all that follow them, level by level. */
  async #askAll(members: readonly Member[]): Promise<NodeStatus[]> {
    const { self } = this.#ports;
    const nodes: NodeStatus[] = [];
    const known = new Set<NodeId>();
    let level = [...members];
    if (!members.some((member) => member.id === self)) {
      known.add(self);
      nodes.push(this.local());
      level.push(...childrenOf(nodes));
    }
    for (let depth = 0; depth < treeDepthMax && level.length > 0; depth++) {
      const asked = level.filter(({ id }) => !known.has(id));
      for (const { id } of asked) known.add(id);
      const answers = await Promise.all(
        asked.map((member) => (member.id === self ? this.local() : this.#ask(member))),
      );
      nodes.push(...answers);
      level = childrenOf(answers);
    }
    return nodes;
  }

  /** Reads the whole database of this node and compares it with what it should be. */
  verifyHere(wish: VerifyWish = {}): Promise<NodeVerdict> {
    return this.#verification.here(wish);
  }

  /** Every node reads itself, and the copies are compared. */
  verify(): Promise<VerifyReport> {
    return this.#verification.all();
  }

  async #ask(member: Member): Promise<NodeStatus> {
    const { clock, forwarder } = this.#ports;
    const url = this.#ports.urlOf(member.address);
    try {
      const status = await forwarder.status(member.address, askMs);
      this.#seenById.set(member.id, { status, atMs: clock.nowMs() });
      return this.#withLag({ ...status, url });
    } catch {
      return this.#silent(member, url);
    }
  }

  /** A node cut off from the leader does not know what it lacks; this one may know better. */
  #withLag(status: NodeStatus): NodeStatus {
    const { log } = this.#ports;
    const { appliedLsn } = status;
    const { committedLsn } = this.#ports.raft();
    if (appliedLsn === undefined || status.role === "leader") return status;
    const behind = Math.max(0, committedLsn - appliedLsn);
    if (behind <= (status.lagEntries ?? -1)) return status;
    return { ...status, lagEntries: behind, lagBytes: lagBytes(log, appliedLsn, committedLsn) };
  }

  /** Silence counts as lag, from what the node said last. */
  #silent(member: Member, url: string): NodeStatus {
    const seen = this.#seenById.get(member.id);
    const status: NodeStatus = {
      ...{
        id: member.id,
        url,
        kind: member.kind,
        priority: shownPriority(member),
        reachable: false,
      },
      ...{ born: undefined, term: undefined, durableTerm: undefined },
      ...{ role: undefined, durableLsn: undefined, committedLsn: undefined },
      ...{ appliedLsn: undefined, lagMs: undefined, lagEntries: undefined, lagBytes: undefined },
      checksum: undefined,
    };
    if (seen === undefined) return status;
    const { appliedLsn } = seen.status;
    const { lagEntries, lagBytes: bytes } = this.#withLag({ ...seen.status, role: undefined });
    const sinceMs = Math.ceil(this.#ports.clock.nowMs() - seen.atMs);
    const lagMs = seen.status.lagMs === undefined ? undefined : seen.status.lagMs + sinceMs;
    return appliedLsn === undefined ? status : { ...status, lagMs, lagEntries, lagBytes: bytes };
  }
}

function delayStatus(
  delay: Delay | undefined,
  appliedLsn: Lsn,
): Pick<NodeStatus, "applyDelayMs" | "held"> {
  if (delay === undefined) return {};
  const { delayMs, held } = delay;
  return {
    applyDelayMs: delayMs,
    held: held && { at: formatPosition(held), reached: appliedLsn >= held.lsn },
  };
}

function childrenOf(nodes: readonly NodeStatus[]): Member[] {
  return nodes.flatMap(({ downstream }) =>
    (downstream ?? []).map(({ id, address }) => ({ id, kind: "learner" as const, address })),
  );
}

/** A priority is a voter's. */
function shownPriority(member: Member): Priority | undefined {
  return member.kind === "voter" ? priorityOf(member) : undefined;
}
