/**
 * What this node says of itself and of the cluster: status, verification, metrics. Reads, never decides.
 */

import { messageOf } from "../../base/errors.ts";
import { formatHash } from "../../base/hash.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { LogStore } from "../../log/log-store.ts";
import type { RaftStatus } from "../../raft/raft.ts";
import type { EntryId, Lsn, Member, NodeId } from "../../vocabulary.ts";
import type { Database } from "../database.ts";
import type { Identity } from "../identity.ts";
import type { Forwarding } from "../route/routing.ts";
import type { ClusterStatus, NodeStatus, NodeVerdict, VerifyReport } from "./node-status.ts";

export type ReportPorts = {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly log: LogStore;
  readonly database: Database;
  readonly identity: Identity;
  readonly forwarder: Forwarding;
  raft(): RaftStatus;
  applied(): EntryId;
  lagMs(): number | undefined;
  /** Resolves once this node has applied `lsn`. */
  reached(lsn: Lsn): Promise<void>;
  urlOf(address: string): string;
};

/** How long another node may take to say how it is. */
const askMs = 700;

export class StatusReport {
  readonly #ports: ReportPorts;
  /** Checksums by LSN of the newest entries applied, so that copies can be compared at one position. */
  readonly #checksumByLsn = new Map<Lsn, string>();

  constructor(ports: ReportPorts) {
    this.#ports = ports;
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

  local(): NodeStatus {
    const { self, database, log } = this.#ports;
    const raft = this.#ports.raft();
    const member = raft.membership.find((m) => m.id === self);
    const served = database.whole;
    return {
      id: self,
      url: this.#ports.urlOf(member?.address ?? ""),
      role: raft.role,
      kind: member?.kind ?? "learner",
      reachable: true,
      durableLsn: log.last.lsn,
      committedLsn: raft.committedLsn,
      appliedLsn: this.#ports.applied().lsn,
      lagMs: this.#ports.lagMs(),
      checksum: served === undefined ? undefined : formatHash(served.checksum()),
    };
  }

  async cluster(): Promise<ClusterStatus> {
    const { self, identity } = this.#ports;
    const raft = this.#ports.raft();
    const nodes = await Promise.all(
      raft.membership.map((member) => (member.id === self ? this.local() : this.#ask(member))),
    );
    return {
      clusterId: identity.clusterId,
      term: raft.term,
      leader: raft.leader,
      commitRule: "quorum",
      nodes,
    };
  }

  /** Reads the whole database of this node and compares it with what it should be. */
  async verifyHere(): Promise<NodeVerdict> {
    const { self, database } = this.#ports;
    const served = database.served;
    const base = { id: self, reachable: true, damaged: [] };
    const unread = { lsn: undefined, checksum: undefined, pages: undefined };
    if (served === undefined) return { ...base, ...unread, problem: "no database here yet" };
    const { pages, damaged } = await served.scrub();
    if (damaged.length > 0) {
      database.markDamaged(`${damaged.length} pages differ from their checksums`, damaged);
    }
    return {
      ...base,
      damaged,
      lsn: this.#ports.applied().lsn,
      checksum: formatHash(served.checksum()),
      pages,
      problem: database.damage,
    };
  }

  /** Every node reads itself; positions that are equal must have equal checksums. */
  async verify(): Promise<VerifyReport> {
    const { self, forwarder } = this.#ports;
    const nodes = await Promise.all(
      this.#ports.raft().membership.map(async (member) => {
        if (member.id === self) return this.verifyHere();
        try {
          return await forwarder.verify(member.address);
        } catch (error) {
          return unreachable(member, messageOf(error));
        }
      }),
    );
    const newest = Math.max(...nodes.map((node) => node.lsn ?? 0)) as Lsn;
    await this.#ports.reached(newest).catch(() => {});
    const judged = nodes.map((node) => this.#judge(node));
    const identical = judged.every((n) => n.reachable && n.problem === undefined);
    return { identical, nodes: judged };
  }

  /** Compares another node's checksum with what this node had at the same position. */
  #judge(node: NodeVerdict): NodeVerdict {
    if (node.problem !== undefined || node.lsn === undefined || node.id === this.#ports.self)
      return node;
    const here = this.#checksumByLsn.get(node.lsn);
    if (here === node.checksum) return node;
    if (here === undefined)
      return { ...node, problem: `no checksum to compare with at ${node.lsn}` };
    return { ...node, problem: `checksum ${node.checksum} at ${node.lsn}, here it was ${here}` };
  }

  async #ask(member: Member): Promise<NodeStatus> {
    try {
      const status = await this.#ports.forwarder.status(member.address, askMs);
      return { ...status, url: this.#ports.urlOf(member.address) };
    } catch {
      return {
        id: member.id,
        url: this.#ports.urlOf(member.address),
        role: undefined,
        kind: member.kind,
        reachable: false,
        durableLsn: undefined,
        committedLsn: undefined,
        appliedLsn: undefined,
        lagMs: undefined,
        checksum: undefined,
      };
    }
  }
}

function unreachable(member: Member, why: string): NodeVerdict {
  return {
    id: member.id,
    reachable: false,
    lsn: undefined,
    checksum: undefined,
    pages: undefined,
    damaged: [],
    problem: `no answer from ${member.address} within ${limits.requestWaitMs} ms: ${why}`,
  };
}
