/**
 * The loop of a node: everything that drives consensus goes in here, and what the core decides goes out, in the one
 * order that is safe.
 *
 *   0  a leader's appends leave beside its own fsync            [Raft thesis §10.2.1]
 *      and, where that takes long, heartbeats and answers to them  (raft.ts, `beside`)
 *   1  hard state and entries become durable                    log/
 *   2  only then leave the messages that promise them           [invariants I14]
 *   3  the new commit mark, answered reads and wanted snapshots are handed on
 *
 * One round at a time. What arrives while a round's fsync runs is stepped into the core at once and leaves with the
 * next round: that is group commit and back-pressure in one idea.
 *
 * A failed `persist` ends the node: after a failed fsync nothing the disk says later means anything.
 *
 * Not here: what entries mean (applying.ts), who waits for them (write/), the sockets (peer/).
 */

import { ClientError } from "../base/errors.ts";
import type { Clock } from "../host/clock.ts";
import { limits } from "../limits.ts";
import type { LogStore } from "../log/log-store.ts";
import type { PromotionOrder } from "../raft/election.ts";
import type { Envelope } from "../raft/messages.ts";
import type { Raft } from "../raft/raft.ts";
import type { MembershipChange, Proposal, RaftStatus, Ready } from "../raft/ready.ts";
import type {
  CommitRule,
  Entry,
  EntryId,
  Lsn,
  NodeId,
  Settings,
  SnapshotId,
  Term,
} from "../vocabulary.ts";
import type { Outbox } from "./outbox.ts";
import { ReadWaiters } from "./route/read-waiters.ts";

/** Who leads, as this node sees it. */
export type Leadership = {
  readonly term: Term;
  readonly leader: NodeId | undefined;
  readonly leading: boolean;
};

/** What the loop tells the rest of the node. Called between rounds, never during one. */
export type NodeEvents = {
  committed(lsn: Lsn): void;
  leadership(now: Leadership): void;
  pageSyncWanted(by: readonly NodeId[]): void;
  /** Entries from there on are about to be replaced, and may have been acknowledged; see `yieldFrom`. */
  keepWanted(from: Lsn): void;
  /** A message was taken in: somebody may have copied something. */
  stepped(): void;
  /** The log failed, or one of those who were told threw: the disk, or a bug. The node must stop. */
  failed(error: Error): void;
};

export class Node {
  readonly #raft: Raft;
  readonly #log: LogStore;
  readonly #outbox: Outbox;
  readonly #clock: Clock;
  readonly #events: NodeEvents;
  /** Where members are, by word of the operator: a cluster that has moved has other addresses than its log. */
  readonly #addressById: ReadonlyMap<NodeId, string>;
  /** A round is running. */
  #busy = false;
  /** When the running fsync began, and of how many bytes; undefined while none runs. */
  #persisting: { readonly sinceMs: number; readonly bytes: number } | undefined;
  /** Set by `stop`, or by a failed log. Nothing is stepped or sent afterwards. */
  #stopped = false;
  /** Last leadership told. */
  #told: Leadership;
  #committedLsn: Lsn;
  readonly #reads: ReadWaiters;
  /** Those who wait for a moment between rounds. */
  #onIdle: (() => void)[] = [];

  constructor(parts: {
    raft: Raft;
    log: LogStore;
    outbox: Outbox;
    clock: Clock;
    events: NodeEvents;
    addressById: ReadonlyMap<NodeId, string>;
  }) {
    this.#raft = parts.raft;
    this.#log = parts.log;
    this.#outbox = parts.outbox;
    this.#clock = parts.clock;
    this.#reads = new ReadWaiters(parts.clock);
    this.#events = parts.events;
    this.#addressById = parts.addressById;
    this.#told = leadershipOf(parts.raft.status());
    this.#committedLsn = parts.raft.status().committedLsn;
  }

  /** Consensus at a glance. Members are where this node was told they are, or else where the log says. */
  status(): RaftStatus {
    const status = this.#raft.status();
    if (this.#addressById.size === 0) return status;
    const membership = status.membership.map((member) => {
      const address = this.#addressById.get(member.id);
      return address === undefined ? member : { ...member, address };
    });
    return { ...status, membership };
  }

  get leadership(): Leadership {
    return this.#told;
  }

  /** Time passes. While the disk hangs, a leader falls silent, so that another takes over [hostile case 58]. */
  tick(): void {
    const nowMs = this.#clock.nowMs();
    if (!this.#hangs(nowMs)) this.#note(() => this.#raft.tick(nowMs));
  }

  step(envelope: Envelope, entries: readonly Entry[]): void {
    this.#note(() => this.#raft.step(envelope, entries, this.#clock.nowMs()));
    if (!this.#stopped) this.#events.stepped();
  }

  /** Entries on their way to a node were dropped, or the lane that they were on broke. */
  entriesLost(node: NodeId): void {
    this.#note(() => this.#raft.entriesLost(node, this.#clock.nowMs()));
  }

  linkLost(node: NodeId): void {
    this.#note(() => this.#raft.linkLost(node, this.#clock.nowMs()));
  }

  propose(kind: "payload" | "genesis", body: Uint8Array): Proposal {
    return this.#input(() => this.#raft.propose(kind, body, this.#clock.nowMs()));
  }

  changeMembership(change: MembershipChange): Proposal {
    return this.#input(() => this.#raft.changeMembership(change, this.#clock.nowMs()));
  }

  changeSettings(settings: Settings): Proposal {
    return this.#input(() => this.#raft.changeSettings(settings, this.#clock.nowMs()));
  }

  transferTo(node: NodeId): string | undefined {
    return this.#input(() => this.#raft.transferTo(node, this.#clock.nowMs()));
  }

  /** An operator's word: this node leads a new term. Why not, if that is settled at once. */
  promote(order: PromotionOrder): string | undefined {
    return this.#input(() => this.#raft.promote(order, this.#clock.nowMs()));
  }

  /** The fewest voters that have what a leader may have acknowledged. */
  fewestCopies(): number {
    return this.#raft.fewestCopies();
  }

  setElectable(yes: boolean): void {
    this.#note(() => this.#raft.setElectable(yes));
  }

  pageSyncEnded(node: NodeId, lsn: Lsn | undefined): void {
    const end =
      lsn === undefined
        ? ({ type: "snapshot-failed" } as const)
        : ({ type: "snapshot-done", lsn } as const);
    this.#note(() => this.#raft.reportProgress(node, end, this.#clock.nowMs()));
  }

  /**
   * Page sync has made the database what it is at `snapshot`. If the log does not reach that far by itself, it is
   * thrown away and starts there. Between rounds: entries on their way to the disk must not land behind the reset.
   */
  async install(snapshot: SnapshotId): Promise<void> {
    await this.#idle();
    this.#busy = true;
    try {
      if (!this.#raft.wantsInstall(snapshot)) return;
      this.#raft.installed(snapshot, this.#clock.nowMs());
      await this.#log.reset(snapshot);
    } finally {
      this.#busy = false;
      this.#kick();
    }
  }

  /** What entries from `from` on say has been kept. The commit mark goes back behind them. */
  yieldFrom(from: Lsn): void {
    this.#note(() => this.#raft.yieldFrom(from));
    this.#committedLsn = this.#raft.status().committedLsn;
  }

  /** See Raft.losesFrom. */
  losesFrom(snapshot: SnapshotId): Lsn | undefined {
    return this.#raft.losesFrom(snapshot);
  }

  /** Whether this log, as far as it goes back, has that entry. */
  holds(id: EntryId): boolean {
    return this.#raft.holds(id);
  }

  logStartsAt(base: SnapshotId): void {
    this.#note(() => this.#raft.logStartsAt(base));
  }

  /** This node leads and no other can, as of now [Raft thesis §6.4.1]. Ask after reading, before answering. */
  hasLease(): boolean {
    return !this.#stopped && this.#raft.hasLease(this.#clock.nowMs());
  }

  /**
   * The LSN that a linearizable read must have applied [Raft thesis §6.4]. Throws ClientError NO_LEADER when no
   * leader answers within `limits.requestWaitMs`.
   */
  readIndex(): Promise<Lsn> {
    return this.#reads.wait((id) => {
      const refusal = this.#input(() => this.#raft.readIndex(id, this.#clock.nowMs()));
      if (refusal !== undefined) this.#reads.answer(id, undefined);
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#reads.refuseAll();
  }

  /** News that nobody waits for. Others do not know yet that we have stopped, and go on sending. */
  #note(call: () => void): void {
    if (!this.#stopped) this.#input(call);
  }

  #input<T>(call: () => T): T {
    if (this.#stopped) throw new ClientError("NOT_READY", "this node is stopping; ask another");
    const result = call();
    this.#kick();
    return result;
  }

  /** The disk has been busy for longer than even a slow one is. */
  #hangs(nowMs: number): boolean {
    if (this.#persisting === undefined) return false;
    const { sinceMs, bytes } = this.#persisting;
    const boundMs = 2 * limits.electionTimeoutMaxMs + bytes / limits.slowBytesPerMs;
    return nowMs - sinceMs > boundMs;
  }

  /** The running fsync takes so long that heartbeats and their answers must not wait for it. */
  #sendBeside(): void {
    const nowMs = this.#clock.nowMs();
    if (this.#persisting === undefined || this.#hangs(nowMs)) return;
    if (nowMs - this.#persisting.sinceMs < limits.heartbeatMs) return;
    this.#outbox.send(this.#raft.beside(), []);
  }

  #kick(): void {
    if (this.#stopped) return;
    if (this.#busy) {
      this.#sendBeside();
      return;
    }
    this.#busy = true;
    queueMicrotask(() => void this.#rounds());
  }

  /** Resolves at a moment when no round runs. */
  async #idle(): Promise<void> {
    while (this.#busy && !this.#stopped) {
      await new Promise<void>((resolve) => this.#onIdle.push(resolve));
    }
  }

  async #rounds(): Promise<void> {
    try {
      while (!this.#stopped) {
        const ready = this.#raft.ready();
        if (ready === undefined) break;
        await this.#round(ready);
      }
    } catch (error) {
      this.stop();
      this.#events.failed(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#busy = false;
      for (const resolve of this.#onIdle.splice(0)) resolve();
    }
  }

  async #round(ready: Ready): Promise<void> {
    this.#outbox.send(ready.messagesNow, ready.entries);
    if (ready.hardState !== undefined || ready.entries.length > 0) {
      const bytes = ready.entries.reduce((sum, { body }) => sum + body.byteLength, 0);
      this.#persisting = { sinceMs: this.#clock.nowMs(), bytes };
      await this.#log.persist({ hardState: ready.hardState, entries: ready.entries });
      this.#persisting = undefined;
    }
    if (this.#stopped) return;
    this.#outbox.send(ready.messages, ready.entries);
    this.#raft.advance(ready, this.#clock.nowMs());
    this.#tell(ready);
  }

  #tell(ready: Ready): void {
    const status = leadershipOf(this.#raft.status());
    const told = this.#told;
    if (
      status.term !== told.term ||
      status.leader !== told.leader ||
      status.leading !== told.leading
    ) {
      this.#told = status;
      this.#events.leadership(status);
    }
    if (ready.committedLsn > this.#committedLsn) {
      this.#committedLsn = ready.committedLsn;
      this.#events.committed(ready.committedLsn);
    }
    for (const read of ready.reads) this.#reads.answer(read.id, read.lsn);
    if (ready.keepFrom !== undefined) this.#events.keepWanted(ready.keepFrom);
    if (ready.snapshotsWanted.length > 0) this.#events.pageSyncWanted(ready.snapshotsWanted);
  }

  get settings(): Settings {
    return this.#raft.settings;
  }

  /** See Raft.commitRule. */
  get commitRule(): CommitRule {
    return this.#raft.commitRule;
  }

  /** Highest position in this node's log. */
  get last(): EntryId {
    return this.#raft.status().last;
  }
}

function leadershipOf(status: RaftStatus): Leadership {
  return { term: status.term, leader: status.leader, leading: status.role === "leader" };
}
