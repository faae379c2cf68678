/**
 * Consensus: which node leads, and which entries are in the log for good [Raft; Ongaro's thesis].
 *
 * A function of its inputs. Time arrives as `nowMs`, chance as a Prng in the constructor; there is no I/O, no promise
 * and no log line in this room, and nothing here throws except through `assert`. Inputs are `tick`, `step`, `propose`
 * and their like; outputs wait until the driver asks for a `Ready`, does what it says, and gives it back by
 * `advance`. One Ready is outstanding at a time; inputs may go on meanwhile, and come out with the next.
 *
 * What it keeps, whatever the network does and however nodes crash, as long as their disks keep what was fsynced
 * [Raft Figure 3]:
 *   Election Safety       a term has at most one leader                          core.ts
 *   Leader Append-Only    a leader never replaces an entry of its own log        leading.ts
 *   Log Matching          equal lsn and term mean equal logs up to there         following.ts
 *   Leader Completeness   what is committed is in every later leader's log       election.ts, replication.ts
 *   State Machine Safety  a committed entry never changes                        log-view.ts
 *
 * Where to look: who leads → election.ts · is the leader alive → following.ts · entries out → replication.ts, in →
 * following.ts · what a leader accepts, leases, handing over → leading.ts · linearizable reads → read-index.ts · who
 * counts → membership.ts, quorum.ts · how many copies make a commit → rule/commit-rule.ts · what one follower has →
 * progress.ts · shared state → core.ts, log-view.ts.
 *
 * Deliberately not here: entry bodies are passed through and never read or cached; page sync is only asked for and
 * heard of; what becomes of entries that an asynchronous cluster loses (node/discarded/).
 */

import { assert, unreachable } from "../base/assert.ts";
import {
  type CommitRule,
  type Entry,
  type EntryId,
  type Lsn,
  lsn,
  type NodeId,
  type Settings,
  type SnapshotId,
  type Term,
} from "../vocabulary.ts";
import { Core } from "./core.ts";
import { Election, type PromotionOrder } from "./election.ts";
import { Following } from "./following.ts";
import { Leading } from "./leading.ts";
import { memberOf } from "./membership.ts";
import type { Envelope } from "./messages.ts";
import type {
  MembershipChange,
  ProgressStatus,
  Proposal,
  RaftConfig,
  RaftStatus,
  Ready,
  Refusal,
} from "./ready.ts";
import { weakerRule } from "./rule/commit-rule.ts";

export type {
  HardState,
  MembershipChange,
  Proposal,
  RaftConfig,
  RaftStatus,
  Ready,
  Refusal,
} from "./ready.ts";

export class Raft {
  readonly #core: Core;
  readonly #election: Election;
  readonly #following: Following;
  /** Present exactly while this node leads. */
  #leading: Leading | undefined;
  /** Handed out and not yet given back. */
  #outstanding: Ready | undefined;

  constructor(config: RaftConfig) {
    this.#core = new Core(config);
    this.#election = new Election(this.#core);
    this.#following = new Following(this.#core);
  }

  /** Time has passed. Call it every `limits.tickMs` or so; nothing is counted in calls. */
  tick(nowMs: number): void {
    this.#core.passTo(nowMs);
    if (this.#leading !== undefined) {
      this.#leading.tick();
      this.#endIfOver();
      return;
    }
    this.#following.refuseOldReads();
    if (this.#settlePromotion() || !this.#election.isDue()) return;
    this.#following.refuseReads();
    if (!this.#core.canStand() || this.#core.isManual) this.#onLost();
    else if (this.#election.startPrevote()) this.#onWon();
  }

  /** A message arrived. `entries` are those of an append; they are kept, not copied. */
  step(envelope: Envelope, entries: readonly Entry[], nowMs: number): void {
    const core = this.#core;
    core.passTo(nowMs);
    const { from, term, message } = envelope;
    assert(envelope.to === core.id, `a message for ${envelope.to} came to ${core.id}`);
    if (message.type === "prevote") {
      // Answered whatever its term, and changing nothing here [Raft thesis §9.6].
      this.#election.onRequest(from, term, message, this.#isQuiet());
      return;
    }
    if (term > core.term) {
      // "If a server receives a RequestVote request within the minimum election timeout of hearing from a current
      // leader, it does not update its term or grant its vote" [Raft thesis §4.2.3]. Except when that leader asked.
      if (message.type === "vote" && !message.transfer && this.#isQuiet()) return;
      this.#enterTerm(term);
    } else if (term < core.term && message.type !== "prevote-reply") {
      // A pre-vote's answer names the term that it is about, and comes from voters who are still in an older one.
      this.#answerOldTerm(envelope);
      return;
    }
    this.#dispatch(envelope, entries);
    this.#endIfOver();
  }

  /** Appends an entry on the leader. It is not committed, nor even durable, when this returns. */
  propose(kind: "payload" | "genesis", body: Uint8Array, nowMs: number): Proposal {
    this.#core.passTo(nowMs);
    return this.#leading?.propose(kind, body) ?? { accepted: false, why: "not-leader" };
  }

  /** Changes one member. One change at a time, and only once the leader has committed in its term. */
  changeMembership(change: MembershipChange, nowMs: number): Proposal {
    this.#core.passTo(nowMs);
    return this.#leading?.changeMembership(change) ?? { accepted: false, why: "not-leader" };
  }

  /** Changes what the cluster has agreed on. One change at a time; in force once it is committed. */
  changeSettings(settings: Settings, nowMs: number): Proposal {
    this.#core.passTo(nowMs);
    return this.#leading?.changeSettings(settings) ?? { accepted: false, why: "not-leader" };
  }

  /** Hands leadership to another voter. Proposals are refused until it leads, or for an election timeout. */
  transferTo(node: NodeId, nowMs: number): Refusal | undefined {
    this.#core.passTo(nowMs);
    return this.#leading === undefined ? "not-leader" : this.#leading.transferTo(node);
  }

  /**
   * An operator's word: this node leads a new term, without asking for a majority. Only under a manual coordinator,
   * and only a voter that is fit to lead; one of priority "never" then hands over as a caretaker does. It leads once
   * those who are expected have answered, or does not.
   */
  promote(order: PromotionOrder, nowMs: number): Refusal | undefined {
    const core = this.#core;
    core.passTo(nowMs);
    const own = memberOf(core.log.membership, core.id);
    if (!core.isManual) return "not-manual";
    if (own?.kind !== "voter" || !core.isElectable) return "promotion-refused";
    if (this.#leading !== undefined) this.#stepDown();
    this.#following.refuseReads();
    this.#election.startPromotion(order);
    this.#settlePromotion();
    return undefined;
  }

  /** So many voters have everything that any leader may have acknowledged, by the settings that may be in force. */
  fewestCopies(): number {
    return this.#core.fewestCopies;
  }

  /**
   * Asks how far to apply before a linearizable read. `id` is not negative and unique for the life of this object.
   * The answer comes in `Ready.reads`, always: when it cannot be had, as a refusal.
   */
  readIndex(id: number, nowMs: number): Refusal | undefined {
    this.#core.passTo(nowMs);
    if (this.#leading !== undefined) this.#leading.readIndex({ from: this.#core.id, id });
    else if (this.#core.leader === undefined) return "no-leader";
    else this.#following.askRead(id);
    return undefined;
  }

  /**
   * Whether this leader may answer reads from its own commit mark at `nowMs`, without asking anyone. Ask after the
   * read and before the answer leaves: a process that was stopped in between must not answer.
   */
  hasLease(nowMs: number): boolean {
    return this.#leading?.hasLease(nowMs) ?? false;
  }

  /** The connection to `node` broke. If it led, we stand as soon as its lease is surely over. */
  linkLost(node: NodeId, nowMs: number): void {
    this.#core.passTo(nowMs);
    if (this.#core.role !== "follower" || this.#core.leader !== node) return;
    this.#election.hurry(this.#following.onLinkLost());
  }

  /** False: this node never stands for election, because its database is damaged. It votes and stores all the same. */
  setElectable(yes: boolean): void {
    this.#core.isElectable = yes;
  }

  /** The driver tells how page sync to a follower ended. */
  reportProgress(
    node: NodeId,
    report:
      | { readonly type: "snapshot-done"; readonly lsn: Lsn }
      | { readonly type: "snapshot-failed" },
    nowMs: number,
  ): void {
    this.#core.passTo(nowMs);
    const isDone = report.type === "snapshot-done";
    // Pages of an earlier leader may be of a time that this log does not have.
    const at = isDone ? lsn(Math.min(report.lsn, this.#core.log.last.lsn)) : undefined;
    this.#leading?.replication.progressOf(node)?.onSnapshot(at);
  }

  /**
   * Whether the log should be thrown away for a snapshot. False when it has reached the snapshot by itself meanwhile:
   * what it holds beyond may already count towards commits.
   */
  wantsInstall(snapshot: SnapshotId): boolean {
    const { log, role } = this.#core;
    const isHere = log.termAt(snapshot.lsn) === snapshot.term;
    // Behind the commit mark only where a weak rule committed what the cluster does not have; see `floor`.
    const isAhead = snapshot.lsn > log.committedLsn || this.#following.promisedLsn <= snapshot.lsn;
    return role !== "leader" && snapshot.lsn > log.safeLsn && isAhead && !isHere;
  }

  /**
   * The log starts after `snapshot` and is empty. Right after `wantsInstall` said yes, with no input between; then the
   * log on disk is reset, and only then is the next Ready asked for. A crash in between leaves the old log, and
   * nobody was told otherwise.
   */
  installed(snapshot: SnapshotId, nowMs: number): void {
    this.#core.passTo(nowMs);
    assert(this.wantsInstall(snapshot), "a log was thrown away that should have been kept");
    this.#core.log.resetTo(snapshot);
    this.#core.onReset();
    this.#following.onInstalled();
  }

  /** The log on disk no longer has the entries up to and including `base`. */
  logStartsAt(base: SnapshotId): void {
    this.#core.log.dropUpTo(base);
  }

  /**
   * From where on the log may hold what was acknowledged and is on no majority, if it is about to be thrown away for
   * `snapshot`. Undefined when there is nothing to keep. Where the leader of the snapshot's term was seen to have the
   * same log as this one, the snapshot has it too [Log Matching].
   */
  losesFrom(snapshot: SnapshotId): Lsn | undefined {
    const { log } = this.#core;
    const agreed = Math.min(this.#following.agreedLsn(snapshot.term), snapshot.lsn);
    const from = lsn(Math.max(log.safeLsn, log.base.lsn, agreed) + 1);
    return this.wantsInstall(snapshot) ? log.firstKept(from) : undefined;
  }

  /** Whether this log, as far as it goes back, has that entry. */
  holds(id: EntryId): boolean {
    const { log } = this.#core;
    return id.lsn < log.base.lsn || log.termAt(id.lsn) === id.term;
  }

  /** In force. */
  get settings(): Settings {
    return this.#core.log.settings;
  }

  /** The commit rule that is being followed: by a leader that is degraded, a weaker one than settings have. */
  get commitRule(): CommitRule {
    const { commitRule } = this.#core.log.settings;
    return this.#leading?.isDegraded === true ? weakerRule(commitRule) : commitRule;
  }

  /** What entries from `from` on say has been kept, so that they may give way to the leader's; see `Ready.keepFrom`. */
  yieldFrom(from: Lsn): void {
    const { log } = this.#core;
    if (from > log.safeLsn && from > log.base.lsn) log.yieldFrom(from);
  }

  /** Work for the driver, or undefined when there is none. Not to be called while a Ready is outstanding. */
  ready(): Ready | undefined {
    assert(this.#outstanding === undefined, "the last Ready was not given back");
    this.#leading?.flush();
    this.#endIfOver();
    this.#outstanding = this.#core.takeReady();
    return this.#outstanding;
  }

  /**
   * While a Ready is outstanding and its fsync takes long: what need not wait for it (core.ts, `takeBeside`). An entry
   * of 200 MB takes the disk for seconds, and neither a leader nor a follower may be taken for dead meanwhile.
   *
   * It weakens nothing. A lease and a quorum of heartbeats rest on what followers *remember*, that they refuse votes
   * for a while after hearing this leader [thesis §4.2.3, §6.4.1], and a node that forgets it by a crash refuses them
   * all the same (following.ts); what rests on the disk, the term, the vote and the entries, is not said before it is
   * there. A disk that hangs is another matter, and the driver's: it stops asking.
   */
  beside(): readonly Envelope[] {
    if (this.#outstanding === undefined) return [];
    this.#leading?.replication.beat();
    return this.#core.takeBeside();
  }

  /** Entries that left for `node` were dropped on the way, or the connection that they were on has broken. */
  entriesLost(node: NodeId, nowMs: number): void {
    this.#core.passTo(nowMs);
    this.#leading?.replication.progressOf(node)?.presumeLost();
  }

  /** The work is done: hard state and entries of `ready` are durable, its messages are on their way. */
  advance(ready: Ready, nowMs: number = this.#core.nowMs): void {
    this.#core.passTo(nowMs);
    assert(ready === this.#outstanding, "a Ready was given back that is not outstanding");
    this.#outstanding = undefined;
    this.#core.onDurable(ready);
    this.#leading?.onDurable();
    this.#endIfOver();
  }

  status(): RaftStatus {
    const { id, role, term, isBorn, leader, log } = this.#core;
    return {
      id,
      role,
      term,
      born: isBorn,
      leader,
      committedLsn: log.committedLsn,
      safeLsn: log.safeLsn,
      degraded: this.#leading?.isDegraded ?? false,
      committedInTerm: this.#leading?.isCommittedInTerm ?? false,
      last: log.last,
      durableLsn: log.durableLsn,
      membership: log.membership,
      settings: log.settings,
      settingsLsn: log.settingsLsn,
      transferringTo: this.#leading?.transferringTo,
      progress: this.#progress(),
    };
  }

  #progress(): readonly ProgressStatus[] {
    const list: ProgressStatus[] = [];
    for (const { id, kind } of this.#core.log.membership) {
      const progress = this.#leading?.replication.progressOf(id);
      if (progress === undefined) continue;
      const { mode, matchLsn, nextLsn, heardMs } = progress;
      list.push({ id, kind, mode, matchLsn, nextLsn, heardMs });
    }
    return list;
  }

  /** A message of our own term. */
  #dispatch({ from, message }: Envelope, entries: readonly Entry[]): void {
    switch (message.type) {
      case "append":
        this.#follow(from);
        this.#following.onAppend(from, message, entries);
        return;
      case "appended":
      case "append-refused":
        this.#leading?.onMessage(from, message);
        return;
      case "vote":
        this.#election.onRequest(from, this.#core.term, message, false);
        return;
      case "vote-reply":
      case "prevote-reply": {
        const result = this.#election.onReply(from, message);
        if (result === "won") this.#onWon();
        else if (result === "lost") this.#onLost();
        return;
      }
      case "timeout-now":
        if (this.#core.canStand() && this.#following.mayObey(from, message.round)) {
          this.#following.refuseReads();
          if (this.#election.startVote(true)) this.#lead();
        }
        return;
      case "read":
        if (this.#leading === undefined) this.#core.answer({ from, id: message.id }, undefined);
        else this.#leading.readIndex({ from, id: message.id });
        return;
      case "read-reply":
        this.#following.onReadReply(message.id, message.lsn);
        return;
      case "prevote":
        assert(false, "a pre-vote is answered whatever its term");
        return;
      default:
        unreachable(message);
    }
  }

  /**
   * Tells a leader or candidate of an old term that it is over; the rest of the past is void. The answer bears our
   * term. Should the same node lead that one, having led the old one, it must not take the answer for one to a round
   * of its own.
   */
  #answerOldTerm({ from, message }: Envelope): void {
    const { log, memory } = this.#core;
    if (message.type === "append") {
      const { prev } = message;
      const stamp = { round: 0, sentMs: 0 };
      const hint = { lsn: log.base.lsn, term: log.base.term };
      const refusal = { type: "append-refused", prevLsn: prev.lsn, hint, stamp } as const;
      this.#core.send(from, { ...refusal, ...memory });
    } else if (message.type === "vote") {
      this.#core.send(from, { type: "vote-reply", verdict: "refused" });
    }
  }

  /** Whether a leader may be alive: this one, or one that was heard lately. */
  #isQuiet(): boolean {
    return this.#leading !== undefined || this.#following.isQuiet();
  }

  #enterTerm(term: Term): void {
    if (this.#leading !== undefined) this.#stepDown();
    this.#core.enterTerm(term);
    this.#election.end();
    this.#following.refuseReads();
  }

  #follow(leader: NodeId): void {
    if (this.#core.leader !== leader) {
      this.#core.becomeFollower(leader);
      this.#election.end();
    }
    this.#election.postpone();
  }

  /** True while a promotion is under way, or when it has just ended. */
  #settlePromotion(): boolean {
    const result = this.#election.promotionResult();
    if (result === "won") this.#lead();
    else if (result === "lost") this.#onLost();
    return result !== undefined;
  }

  #onWon(): void {
    if (this.#election.phase === "promotion") this.#lead();
    else if (!this.#core.canStand()) this.#onLost();
    else if (this.#election.phase !== "prevote" || this.#election.startVote(false)) this.#lead();
  }

  /** No one is known to lead. */
  #onLost(): void {
    this.#core.becomeFollower(undefined);
    this.#election.end();
    if (this.#election.isDue()) this.#election.postpone();
  }

  #lead(): void {
    const { isUnanimous } = this.#election;
    this.#core.becomeLeader();
    this.#election.end();
    this.#leading = new Leading(this.#core, isUnanimous);
  }

  #endIfOver(): void {
    if (this.#leading?.isOver() === true) this.#stepDown();
  }

  #stepDown(): void {
    this.#leading?.end();
    this.#leading = undefined;
    this.#core.becomeFollower(undefined);
    this.#election.postpone();
  }
}
