/**
 * Random clusters in memory, by seed: messages are lost, doubled, delayed and overtaken, nodes crash with their disks
 * busy, networks split, clocks drift, members come and go, logs are cut and disks replaced. After every step:
 *
 *   one leader per term · equal (lsn, term) means equal history · a committed entry never changes · a new leader holds
 *   everything committed · a read index covers everything committed when it was asked · so does a lease
 *
 * A second storm also changes the commit rule. Then "committed" reads "safe", and what a leader committed by whatever
 * rule must be in the log in the end, or have been kept by a node before it gave way: nothing is lost silently.
 *
 * After the storm everything heals, and the cluster must elect, accept and converge.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../base/prng.ts";
import {
  defaultSettings,
  type Entry,
  type Lsn,
  lsn,
  type MemberKind,
  type Membership,
  type NodeId,
  nodeId,
  type Settings,
  type Term,
} from "../vocabulary.ts";
import { type Packet, ToyCluster, type ToyNode } from "./fixtures/toy-cluster.ts";
import { counts } from "./membership.ts";
import type { Ready } from "./raft.ts";

const seeds = Number(process.env["RAFT_SEEDS"] ?? 400);
const firstSeed = Number(process.env["RAFT_START"] ?? 1);
const stepsPerSeed = 1500;

/** What must hold of all nodes together. */
class Checker {
  readonly #leaderByTerm = new Map<Term, NodeId>();
  readonly #chainById = new Map<string, string>();
  /** Index is the LSN. */
  readonly committed: Entry[] = [];
  readonly #askedByRead = new Map<string, number>();
  /** What a leader committed, by `lsn@term`: it may have been acknowledged. */
  readonly acked = new Map<string, Entry>();
  /** What nodes kept before it gave way. */
  readonly kept = new Set<string>();
  grants = 0;
  leases = 0;

  get committedLsn(): number {
    return Math.max(0, this.committed.length - 1);
  }

  /** Log Matching: an identity stands for one history. An entry that nobody has yet may still be made anew. */
  onSpread(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const key = `${entry.lsn}@${entry.term}`;
      const chain = this.#chainById.get(key) ?? entry.chain;
      assert.equal(entry.chain, chain, `two histories end in ${key}`);
      this.#chainById.set(key, entry.chain);
    }
  }

  onReady(node: ToyNode, ready: Ready): void {
    const { role, safeLsn } = node.raft.status();
    // Copied pages can be all that anyone knows of an entry.
    const { lsn: baseLsn, term, chain } = node.disk.base;
    const base: Entry = { lsn: baseLsn, term, chain, kind: "noop", body: new Uint8Array() };
    for (const entry of [base, ...node.memory]) {
      if (role === "leader" && entry.lsn <= ready.committedLsn) {
        this.acked.set(`${entry.lsn}@${entry.term}`, entry);
      }
      if (entry.lsn > safeLsn) continue;
      const known = this.committed[entry.lsn];
      if (known !== undefined) assert.equal(entry.chain, known.chain, `${entry.lsn} changed`);
      else if (entry.lsn > this.committedLsn) this.committed[entry.lsn] = entry;
    }
    assert.ok(this.committedLsn >= safeLsn, "committed without an entry");
    for (const { id, lsn: at } of ready.reads) {
      const asked = this.#askedByRead.get(`${node.id}/${id}`);
      assert.ok(asked !== undefined, "an answer without a question");
      this.#askedByRead.delete(`${node.id}/${id}`);
      if (at === undefined) continue;
      this.grants++;
      assert.ok(at >= asked, `read at ${at}, but ${asked} was committed before it was asked`);
    }
  }

  onAsked(node: ToyNode, id: number): void {
    this.#askedByRead.set(`${node.id}/${id}`, this.#answered());
  }

  /** The latest entry that may have been acknowledged and cannot be lost: by rule all, not everything that is safe. */
  #answered(): number {
    const last = this.committed.findLast(
      (e) => e !== undefined && this.acked.has(`${e.lsn}@${e.term}`),
    );
    return last?.lsn ?? 0;
  }

  check(node: ToyNode): void {
    if (!node.isUp) return;
    const { role, term, safeLsn } = node.raft.status();
    if (role !== "leader") return;
    const leader = this.#leaderByTerm.get(term);
    if (leader === undefined) {
      this.#leaderByTerm.set(term, node.id);
      this.#checkComplete(node);
    } else assert.equal(leader, node.id, `term ${term} has two leaders`);
    if (node.raft.hasLease(node.nowMs)) {
      this.leases++;
      assert.ok(safeLsn >= this.committedLsn, `stale lease: ${safeLsn}`);
    }
  }

  onKept(node: ToyNode, from: Lsn): void {
    for (const { lsn: at, term } of node.memory) if (at >= from) this.kept.add(`${at}@${term}`);
  }

  /** How many entries that were committed gave way; every one of them was kept. */
  lost(): number {
    let lost = 0;
    for (const [id, entry] of this.acked) {
      const winner = this.committed[entry.lsn];
      if (winner === undefined || winner.term === entry.term) continue;
      assert.ok(this.kept.has(id), `${id} was committed, and is nowhere`);
      lost++;
    }
    return lost;
  }

  #checkComplete(node: ToyNode): void {
    for (const entry of this.committed) {
      if (entry === undefined || entry.lsn <= node.disk.base.lsn) continue;
      const chain = this.#chainAt(node, entry.lsn);
      assert.equal(chain, entry.chain, `leader ${node.id} lacks ${entry.lsn}@${entry.term}`);
    }
  }

  /** In a new leader's log the committed part is in memory; its own no-op may not be yet. */
  #chainAt(node: ToyNode, at: Lsn): string | undefined {
    return node.memory.find((entry) => entry.lsn === at)?.chain;
  }
}

/** One story. */
class Storm {
  readonly prng: Prng;
  readonly cluster: ToyCluster;
  readonly checker = new Checker();
  /** On the wire. Delivered in any order during the storm. */
  packets: Packet[] = [];
  /** Directed pairs that are cut. */
  cuts = new Set<string>();
  readonly ids: NodeId[];
  readonly initial: Membership;
  #nextRead = 1;
  #nextBody = 1;
  readonly loss: number;
  readonly maxStepMs: number;
  isCalm = false;
  /** The commit rule changes, too. */
  readonly #hasRules: boolean;
  readonly #born: Settings;
  /** Entries from there on were asked to be kept, by node. */
  readonly #keeping = new Map<ToyNode, Lsn>();

  constructor(seed: number, hasRules = false) {
    this.#hasRules = hasRules;
    this.prng = new Prng(seed);
    this.cluster = new ToyCluster(this.prng.u32(), {
      onSent: (packet) => this.#onSent(packet),
      onReady: (node, ready) => {
        this.checker.onReady(node, ready);
        if (ready.keepFrom !== undefined) this.#keeping.set(node, ready.keepFrom);
      },
      onSpread: (entries) => this.checker.onSpread(entries),
    });
    const isAsync = hasRules && this.prng.chance(0.7);
    this.#born = isAsync ? { ...defaultSettings, commitRule: "leader" } : defaultSettings;
    const size = this.prng.integer(1, 6);
    this.ids = ["a", "b", "c", "d", "e", "f"].map(nodeId);
    this.initial = this.ids
      .slice(0, size)
      .map((id, i) => ({ id, kind: i === 2 ? "witness" : "voter", address: `${id}:1` }));
    this.loss = this.prng.chance(0.5) ? 0 : 0.1;
    this.maxStepMs = this.prng.chance(0.5) ? 15 : 60;
    for (const { id } of this.initial) this.#start(id, this.initial);
  }

  #start(id: NodeId, membership: Membership): void {
    const node = this.cluster.add(id, membership);
    node.clock = { offset: this.prng.integer(0, 10_000), rate: 0.96 + this.prng.u32() * 2e-11 };
    const settings = this.#hasRules ? this.#born : defaultSettings;
    node.wipe({ ...node.disk.base, settings });
    node.start();
  }

  #onSent(packet: Packet): void {
    const { from, to } = packet.envelope;
    if (this.cuts.has(`${from}${to}`) || this.prng.chance(this.isCalm ? 0 : this.loss)) return;
    this.packets.push(packet);
    if (!this.isCalm && this.prng.chance(0.05)) this.packets.push(packet);
  }

  step(): void {
    const dice = this.prng.integer(0, 1000);
    if (dice < 500) this.deliverOne();
    else if (dice < 640) this.passTime(this.prng.integer(1, this.maxStepMs));
    else if (dice < 900) this.work();
    else if (dice < 940) this.#write();
    else if (dice < 970) this.#read();
    else this.#disturb(this.prng.integer(950, 1000));
    for (const node of this.cluster.nodes.values()) this.checker.check(node);
  }

  deliverOne(): void {
    if (this.packets.length === 0) return;
    const isInOrder = this.isCalm || this.prng.chance(0.7);
    const index = isInOrder ? 0 : this.prng.integer(0, this.packets.length);
    const [packet] = this.packets.splice(index, 1) as [Packet];
    const node = this.cluster.nodes.get(packet.envelope.to);
    if (node?.isUp) node.step(packet);
  }

  passTime(ms: number): void {
    this.cluster.nowMs += ms;
    for (const node of this.cluster.up()) {
      if (this.isCalm || this.prng.chance(0.9)) node.raft.tick(node.nowMs);
    }
  }

  /** Some disks get on with it. */
  work(): void {
    this.#keep();
    for (const node of this.cluster.up()) {
      if (this.isCalm || this.prng.chance(0.6)) node.finish();
      if (this.isCalm || this.prng.chance(0.8)) node.begin();
    }
  }

  /** Whoever was asked to keep entries does so, sooner or later, unless it went down meanwhile. */
  #keep(): void {
    for (const [node, from] of this.#keeping) {
      if (node.isUp && !this.isCalm && this.prng.chance(0.5)) continue;
      this.#keeping.delete(node);
      if (!node.isUp) continue;
      this.checker.onKept(node, from);
      node.raft.yieldFrom(from);
    }
  }

  #configure(): void {
    const leader = this.#leader();
    if (leader === undefined) return;
    const rules = ["quorum", "all", "one", "leader", "leader"] as const;
    leader.raft.changeSettings(
      {
        ...defaultSettings,
        commitRule: rules[this.prng.integer(0, rules.length)]!,
        whenCopiesMissing: this.prng.chance(0.3) ? "degrade" : "wait",
        copiesTimeoutMs: 100,
      },
      leader.nowMs,
    );
  }

  #pick(): ToyNode {
    const nodes = [...this.cluster.nodes.values()];
    return nodes[this.prng.integer(0, nodes.length)]!;
  }

  #leader(): ToyNode | undefined {
    return this.cluster.up().find((node) => node.raft.status().role === "leader");
  }

  #write(): void {
    for (const node of this.cluster.up()) {
      if (node.raft.status().role !== "leader") continue;
      for (let n = this.prng.integer(1, 4); n > 0; n--) {
        node.raft.propose("payload", new TextEncoder().encode(`${this.#nextBody++}`), node.nowMs);
      }
      if (this.#hasRules && !this.isCalm && this.prng.chance(0.1)) this.#dieWithNews(node);
    }
  }

  /** A leader's disk has what nobody else gets to see, and then it is gone for a while. */
  #dieWithNews(node: ToyNode): void {
    node.drain();
    node.crash();
    this.packets = this.packets.filter((packet) => packet.envelope.from !== node.id);
  }

  #read(): void {
    const node = this.#pick();
    if (!node.isUp) return;
    const id = this.#nextRead++;
    this.checker.onAsked(node, id);
    node.raft.readIndex(id, node.nowMs);
  }

  #disturb(dice: number): void {
    const node = this.#pick();
    if (this.#hasRules && this.prng.chance(0.2)) this.#configure();
    if (dice < 960) {
      if (node.isUp) node.crash();
      else node.start();
    } else if (dice < 970) this.#split();
    else if (dice < 974) this.cluster.nowMs += this.prng.integer(100, 1500);
    else if (dice < 980) this.#changeMembership();
    else if (dice < 986) this.#leader()?.raft.transferTo(node.id, this.#leader()!.nowMs);
    else if (dice < 990) this.#loseLinks(node);
    else if (dice < 994) this.#compact(node);
    else if (dice < 997) this.#syncPages();
    else if (!this.#hasRules) this.#wipe(node);
  }

  #split(): void {
    this.cuts.clear();
    if (this.prng.chance(0.4)) return;
    const isOneWay = this.prng.chance(0.3);
    const side = new Set(this.ids.filter(() => this.prng.chance(0.5)));
    for (const a of this.ids) {
      for (const b of this.ids) {
        if (side.has(a) && !side.has(b)) {
          this.cuts.add(`${a}${b}`);
          if (!isOneWay) this.cuts.add(`${b}${a}`);
        }
      }
    }
  }

  #loseLinks(lost: ToyNode): void {
    for (const node of this.cluster.up()) node.raft.linkLost(lost.id, node.nowMs);
  }

  #changeMembership(): void {
    const leader = this.#leader();
    if (leader === undefined) return;
    const { membership } = leader.raft.status();
    const id = this.ids[this.prng.integer(0, this.ids.length)]!;
    const kinds: MemberKind[] = ["voter", "voter", "learner", "witness"];
    const kind = kinds[this.prng.integer(0, kinds.length)]!;
    const isMember = membership.some((member) => member.id === id);
    if (!isMember) {
      if (!this.cluster.nodes.has(id)) this.#start(id, []);
      const member = { id, kind, address: `${id}:1` };
      leader.raft.changeMembership({ type: "add", member }, leader.nowMs);
    } else if (this.prng.chance(0.5)) {
      leader.raft.changeMembership({ type: "remove", id }, leader.nowMs);
    } else leader.raft.changeMembership({ type: "kind", id, kind }, leader.nowMs);
  }

  #compact(node: ToyNode): void {
    if (!node.isUp || node.isBusy) return;
    const from = node.disk.base.lsn + 1;
    const highest = Math.min(node.disk.committedLsn, node.raft.status().safeLsn);
    if (highest < from) return;
    const upTo = lsn(this.prng.integer(from, highest + 1));
    if (node.disk.entries.some((entry) => entry.lsn === upTo)) node.compact(upTo);
  }

  /** Copies the leader's database to whoever waits for it. */
  #syncPages(): void {
    const leader = this.#leader();
    if (leader === undefined) return;
    for (const progress of leader.raft.status().progress) {
      if (progress.mode !== "snapshot") continue;
      const target = this.cluster.nodes.get(progress.id);
      if (!target?.isUp || (!this.isCalm && this.prng.chance(0.3))) {
        leader.raft.reportProgress(progress.id, { type: "snapshot-failed" }, leader.nowMs);
        continue;
      }
      const at = leader.disk.committedLsn;
      if (target.isBusy) target.finish();
      target.install(leader.snapshot(at));
      const report = { type: "snapshot-done", lsn: at } as const;
      leader.raft.reportProgress(progress.id, report, leader.nowMs);
    }
  }

  /** Replaces a disk: one at a time, and only while everyone else is well and a leader is in office. */
  #wipe(node: ToyNode): void {
    const leader = this.#leader();
    if (leader === undefined || leader === node || !leader.raft.status().committedInTerm) return;
    const members = leader.raft.status().membership.map((member) => this.cluster.node(member.id));
    const isWell = members.every((n) => n.disk.hardState.born && n.isUp);
    const terms = new Set(this.cluster.up().map((n) => n.raft.status().term));
    if (!isWell || terms.size > 1 || leader.raft.status().membership.filter(counts).length < 3)
      return;
    // Its connections are gone with it, and what was on them.
    this.packets = this.packets.filter((packet) => packet.envelope.from !== node.id);
    node.wipe({ ...node.disk.base, ...emptyHistory, membership: this.#birthplace(node.id) });
    node.start();
  }

  #birthplace(id: NodeId): Membership {
    return this.initial.some((member) => member.id === id) ? this.initial : [];
  }

  /** No more faults: everyone up, everything delivered, disks fast. */
  heal(): void {
    this.isCalm = true;
    this.cuts.clear();
    for (const node of this.cluster.nodes.values()) if (!node.isUp) node.start();
    for (let ms = 0; ms < 8_000; ms += 20) {
      this.passTime(20);
      for (let round = 0; round < 6; round++) {
        this.work();
        while (this.packets.length > 0) this.deliverOne();
      }
      if (ms % 100 === 0) this.#syncPages();
      if (ms === 5_000) this.#write();
      for (const node of this.cluster.nodes.values()) this.checker.check(node);
    }
    this.work();
  }

  checkConverged(): void {
    const leader = this.#leader();
    assert.ok(leader !== undefined, `no leader after healing: ${this.#describe()}`);
    const { committedLsn, last, membership, committedInTerm } = leader.raft.status();
    assert.ok(committedInTerm, "the leader cannot commit after healing");
    assert.equal(committedLsn, last.lsn, "something stays uncommitted after healing");
    for (const { id } of membership) {
      const status = this.cluster.node(id).raft.status();
      assert.deepEqual(status.last, last, `${id} has not caught up`);
      assert.equal(status.committedLsn, committedLsn, `${id} does not know what is committed`);
      assert.ok(status.born, `${id} is not born`);
    }
  }

  #describe(): string {
    const lines = this.cluster.up().map((node) => {
      const { role, term, born, last, committedLsn, membership } = node.raft.status();
      const members = membership.map((member) => `${member.id}:${member.kind}`).join();
      const at = `${last.lsn}@${last.term} committed ${committedLsn}`;
      return `${node.id} ${role} of ${term}, ${born ? "born" : "unborn"}, ${at}, ${members}`;
    });
    return lines.join("; ");
  }
}

const emptyHistory = { lsn: lsn(0), term: 0 as Term, chain: "0000000000000000" };

test("by every commit rule what is safe stays, and what is lost was kept", () => {
  const seen = { acked: 0, safe: 0, lost: 0 };
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    const storm = new Storm(seed, true);
    try {
      for (let i = 0; i < stepsPerSeed; i++) storm.step();
      storm.heal();
      storm.checkConverged();
      seen.lost += storm.checker.lost();
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
    seen.acked += storm.checker.acked.size;
    seen.safe += storm.checker.committedLsn;
  }
  if (process.env["RAFT_SEEDS"] !== undefined) console.log(seen);
  assert.ok(seen.acked > seeds * 5, `only ${seen.acked} entries were committed`);
  assert.ok(seen.lost > seeds / 40, `only ${seen.lost} entries were lost`);
});

test(`${seeds} random clusters stay safe, and recover`, () => {
  const seen = { committed: 0, grants: 0, leases: 0 };
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    const storm = new Storm(seed);
    try {
      for (let i = 0; i < stepsPerSeed; i++) storm.step();
      storm.heal();
      storm.checkConverged();
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
    seen.committed += storm.checker.committedLsn;
    seen.grants += storm.checker.grants;
    seen.leases += storm.checker.leases;
  }
  if (process.env["RAFT_SEEDS"] !== undefined) console.log(seen);
  // A search that reaches nothing finds nothing.
  assert.ok(seen.committed > seeds * 5, `only ${seen.committed} entries were committed`);
  assert.ok(seen.grants > seeds / 4, `only ${seen.grants} reads were granted`);
  assert.ok(seen.leases > seeds, `only ${seen.leases} leases were held`);
});
