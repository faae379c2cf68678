/**
 * A cluster in memory for the tests of this room: real cores, toy disks, a toy network. No time passes and no
 * message moves unless a test says so.
 *
 * A node's disk holds what was persisted and nothing else; `crash` keeps only that. Between `begin` and `finish` of
 * a Ready the disk is busy: a crash then loses the Ready, which is how tests see promises that were given too early.
 *
 * Not here: what to do and in which order (scenario.ts by script, cluster.test.ts by seed).
 */

import { assert } from "../base/assert.ts";
import { zeroChain } from "../base/hash.ts";
import { Prng } from "../base/prng.ts";
import {
  type Entry,
  type Lsn,
  lsn,
  type Membership,
  type NodeId,
  type SnapshotId,
  term,
} from "../vocabulary.ts";
import { decodeMembership } from "./membership.ts";
import { decodeEnvelope, type Envelope } from "./messages.ts";
import { type HardState, Raft, type Ready } from "./raft.ts";
import type { TermRun } from "./term-runs.ts";

export type Packet = { readonly envelope: Envelope; readonly entries: readonly Entry[] };

type Disk = { hardState: HardState; base: SnapshotId; entries: Entry[]; committedLsn: Lsn };

export const unborn: HardState = { term: term(0), vote: undefined, born: false };

export function emptyBase(membership: Membership): SnapshotId {
  return { lsn: lsn(0), term: term(0), chain: zeroChain, membership };
}

/** What a test may watch. Called as things happen, before anything else does. */
export type Watcher = {
  onSent(packet: Packet): void;
  onReady(node: ToyNode, ready: Ready): void;
  /** These entries are on a disk, or on the way to one. */
  onSpread(entries: readonly Entry[]): void;
};

export class ToyNode {
  readonly id: NodeId;
  readonly #cluster: ToyCluster;
  /** Undefined while the node is down. */
  #raft: Raft | undefined;
  disk: Disk;
  /** Entries after the base, durable or on their way to the disk: what a log store has in its cache. */
  memory: Entry[] = [];
  /** The disk is busy with it. */
  #busy: Ready | undefined;
  /** This node's clock is `offset + rate * cluster time`. */
  clock = { offset: 0, rate: 1 };

  constructor(cluster: ToyCluster, id: NodeId, base: SnapshotId) {
    this.#cluster = cluster;
    this.id = id;
    this.disk = { hardState: unborn, base, entries: [], committedLsn: base.lsn };
  }

  get raft(): Raft {
    assert(this.#raft !== undefined, `node ${this.id} is down`);
    return this.#raft;
  }
  get isUp(): boolean {
    return this.#raft !== undefined;
  }
  get isBusy(): boolean {
    return this.#busy !== undefined;
  }
  get nowMs(): number {
    return Math.floor(this.clock.offset + this.clock.rate * this.#cluster.nowMs);
  }

  start(): void {
    const { hardState, base, entries, committedLsn } = this.disk;
    const last = entries.at(-1) ?? base;
    this.memory = [...entries];
    this.#raft = new Raft({
      id: this.id,
      prng: this.#cluster.prng.child(),
      nowMs: this.nowMs,
      hardState,
      base,
      termRuns: runsOf(entries),
      last: { lsn: last.lsn, term: last.term },
      lastChain: last.chain,
      memberships: entries.flatMap((entry) =>
        entry.kind === "membership"
          ? [{ lsn: entry.lsn, membership: decodeMembership(entry.body) }]
          : [],
      ),
      committedLsn,
    });
  }

  /** Power fails. */
  crash(): void {
    this.#raft = undefined;
    this.#busy = undefined;
    this.memory = [];
  }

  /** The disk is replaced by an empty one. */
  wipe(base: SnapshotId): void {
    this.crash();
    this.disk = { hardState: unborn, base, entries: [], committedLsn: base.lsn };
  }

  step(packet: Packet): void {
    // Through JSON, as on the wire: what JSON drops, the core must not need.
    const envelope = decodeEnvelope(JSON.parse(JSON.stringify(packet.envelope)));
    this.raft.step(envelope, packet.entries, this.nowMs);
  }

  /** Takes a Ready and starts writing it. False when there is none. */
  begin(): boolean {
    if (this.#busy !== undefined) return false;
    const ready = this.raft.ready();
    if (ready === undefined) return false;
    const first = ready.entries[0];
    if (first !== undefined) {
      this.memory = [...this.memory.filter((entry) => entry.lsn < first.lsn), ...ready.entries];
    }
    this.#busy = ready;
    this.#cluster.watcher.onReady(this, ready);
    for (const envelope of ready.messagesNow) this.#send(envelope);
    return true;
  }

  /** The disk has done it. */
  finish(): void {
    const ready = this.#busy;
    if (ready === undefined) return;
    this.#busy = undefined;
    const { disk } = this;
    if (ready.hardState !== undefined) disk.hardState = ready.hardState;
    const first = ready.entries[0];
    if (first !== undefined) {
      disk.entries = [...disk.entries.filter((entry) => entry.lsn < first.lsn), ...ready.entries];
    }
    disk.committedLsn = ready.committedLsn;
    this.#cluster.watcher.onSpread(ready.entries);
    for (const envelope of ready.messages) this.#send(envelope);
    this.raft.advance(ready);
  }

  /** Does all work at once, the disk included. */
  drain(): void {
    if (!this.isUp) return;
    this.finish();
    while (this.begin()) this.finish();
  }

  /** Drops the beginning of the log. */
  compact(upTo: Lsn): void {
    const base = this.snapshot(upTo);
    this.disk.base = base;
    this.disk.entries = this.disk.entries.filter((entry) => entry.lsn > upTo);
    this.memory = this.memory.filter((entry) => entry.lsn > upTo);
    this.raft.logStartsAt(base);
  }

  /** The database as of `at`, by name. */
  snapshot(at: Lsn): SnapshotId {
    const upTo = this.memory.filter((entry) => entry.lsn <= at);
    const body = upTo.findLast((entry) => entry.kind === "membership")?.body;
    const membership = body === undefined ? this.disk.base.membership : decodeMembership(body);
    const last = upTo.at(-1) ?? this.disk.base;
    assert(last.lsn === at, `node ${this.id} has no entry ${at}`);
    return { lsn: at, term: last.term, chain: last.chain, membership };
  }

  /** Page sync arrives. False when the log has overtaken it. */
  install(snapshot: SnapshotId): boolean {
    this.finish();
    if (!this.raft.wantsInstall(snapshot)) return false;
    this.disk = { ...this.disk, base: snapshot, entries: [], committedLsn: snapshot.lsn };
    this.memory = [];
    this.raft.installed(snapshot, this.nowMs);
    return true;
  }

  #send(envelope: Envelope): void {
    const { message } = envelope;
    const entries =
      message.type === "append"
        ? this.memory.filter((e) => e.lsn >= message.range.from && e.lsn < message.range.to)
        : [];
    this.#cluster.watcher.onSpread(entries);
    this.#cluster.watcher.onSent({ envelope, entries });
  }
}

export class ToyCluster {
  nowMs = 0;
  readonly prng: Prng;
  readonly nodes = new Map<NodeId, ToyNode>();
  watcher: Watcher;

  constructor(seed: number, watcher: Watcher) {
    this.prng = new Prng(seed);
    this.watcher = watcher;
  }

  /** A new node with an empty disk, running. */
  add(id: NodeId, membership: Membership): ToyNode {
    const node = new ToyNode(this, id, emptyBase(membership));
    this.nodes.set(id, node);
    node.start();
    return node;
  }

  node(id: NodeId): ToyNode {
    const node = this.nodes.get(id);
    assert(node !== undefined, `there is no node ${id}`);
    return node;
  }

  up(): ToyNode[] {
    return [...this.nodes.values()].filter((node) => node.isUp);
  }
}

function runsOf(entries: readonly Entry[]): TermRun[] {
  const runs: TermRun[] = [];
  for (const entry of entries) {
    if (runs.at(-1)?.term !== entry.term) runs.push({ from: entry.lsn, term: entry.term });
  }
  return runs;
}
