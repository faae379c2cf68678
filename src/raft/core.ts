/**
 * What every part of the core shares: who we are, the term and the vote, the role, the log, and what waits to leave.
 *
 * Invariants, asserted where they could break:
 *   1. The term never falls, and the vote is given once per term [Raft Figure 2, §5.2].
 *   2. A term has at most one leader [Raft §5.2, Election Safety].
 *   3. `leader` is this node exactly when the role is leader.
 *
 * Not here: any decision. Who changes what, and when, is in election.ts, following.ts and replication.ts.
 */

import { assert } from "../base/assert.ts";
import type { Prng } from "../base/prng.ts";
import { limits } from "../limits.ts";
import {
  type EntryId,
  type Lsn,
  lsn,
  type Member,
  type MemberKind,
  type NodeId,
  type Role,
  type Term,
} from "../vocabulary.ts";
import { LogView } from "./log-view.ts";
import { counts, memberOf } from "./membership.ts";
import type { Envelope, Memory, Message } from "./messages.ts";
import type { HardState, RaftConfig, ReadGrant, Ready, Timing } from "./ready.ts";
import { fewestCopies } from "./rule/commit-rule.ts";
import { isCaretaker, priorityOf } from "./rule/priority.ts";

/** Who asked for a read index. */
export type Reader = { readonly from: NodeId; readonly id: number };

export class Core {
  readonly id: NodeId;
  readonly timing: Timing;
  readonly prng: Prng;
  readonly log: LogView;
  #term: Term;
  #vote: NodeId | undefined;
  #born: boolean;
  #role: Role = "follower";
  /** The leader of `#term`, once known. */
  #leader: NodeId | undefined;
  /** The latest time we were given. Never falls. */
  #nowMs: number;
  /** False on a node with a damaged database: it stores and votes, but does not stand. */
  isElectable = true;

  /** What the driver has made durable. */
  #durable: HardState;
  /** The commit mark of the last Ready. */
  #toldCommittedLsn: Lsn;
  /** Messages that promise nothing about this disk. */
  #messagesNow: Envelope[] = [];
  #messages: Envelope[] = [];
  /** The latest answer to the leader's appends, and it is still among `#messages`. */
  #answer: Envelope | undefined;
  #reads: ReadGrant[] = [];
  #snapshotsWanted: NodeId[] = [];
  #keepFrom: Lsn | undefined;
  /** Names this life while it is not born. */
  #life: number | undefined;
  /** An entry durable here that proves the log full once this disk holds it; see `expectBirth`. */
  #birth: EntryId | undefined;

  constructor(config: RaftConfig) {
    this.id = config.id;
    this.timing = config.timing ?? limits;
    this.prng = config.prng;
    this.log = new LogView(config);
    // After page sync the log may know of a term before hard state does. No vote of that term can have left this node,
    // because votes leave after their hard state.
    const isBehind = config.hardState.term < this.log.last.term;
    this.#term = isBehind ? this.log.last.term : config.hardState.term;
    this.#vote = isBehind ? undefined : config.hardState.vote;
    this.#born = config.hardState.born;
    this.#durable = config.hardState;
    this.#nowMs = config.nowMs;
    this.#toldCommittedLsn = this.log.committedLsn;
  }

  get term(): Term {
    return this.#term;
  }
  get vote(): NodeId | undefined {
    return this.#vote;
  }
  get isBorn(): boolean {
    return this.#born;
  }
  get role(): Role {
    return this.#role;
  }
  get leader(): NodeId | undefined {
    return this.#leader;
  }
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Time passes. A clock that seems to go back stands still. */
  passTo(nowMs: number): void {
    if (nowMs > this.#nowMs) this.#nowMs = nowMs;
  }

  /** What this node is, by the membership in its log. Undefined while it is not a member. */
  get kind(): MemberKind | undefined {
    return memberOf(this.log.membership, this.id)?.kind;
  }

  /** Leaders are appointed by an operator: nobody stands by itself. */
  get isManual(): boolean {
    return this.log.settings.coordinator === "manual";
  }

  /** So many voters have everything that any leader may have acknowledged; fewer need not. */
  get fewestCopies(): number {
    const voters = this.log.membership.filter(counts).length;
    return Math.min(...this.log.possibleSettings().map((s) => fewestCopies(s, voters)));
  }

  /** Whether this node leads only to hand over. */
  get isCaretaker(): boolean {
    return isCaretaker(memberOf(this.log.membership, this.id));
  }

  /** Voters that would rather lead than this one, beside the leader that is or was. */
  get betterCount(): number {
    const own = memberOf(this.log.membership, this.id);
    const rank = (member: Member | undefined) =>
      member === undefined || isCaretaker(member) ? -1 : Number(priorityOf(member));
    const isBetter = (m: Member) =>
      m.kind === "voter" && m.id !== this.#leader && rank(m) > rank(own);
    return this.log.membership.filter(isBetter).length;
  }

  /**
   * Whether this node may stand for election. A witness may, as a caretaker (leading.ts). So may a node that its own
   * log removes, until it knows that to be committed: it can be the only one who could win, because the others lack
   * that very entry [Raft thesis §4.2.2, Figure 4.6]. It does not count itself then.
   */
  canStand(): boolean {
    if (!this.isElectable) return false;
    return this.log.relevantMemberships().some((membership) => {
      const member = memberOf(membership, this.id);
      return member !== undefined && counts(member);
    });
  }

  /** A higher term was seen or is being started. The vote of the old one is history. */
  enterTerm(term: Term): void {
    // "currentTerm: latest term server has seen (increases monotonically)" [Raft Figure 2].
    assert(term > this.#term, `term would go from ${this.#term} to ${term}`);
    assert(Number.isSafeInteger(term), "term out of range");
    this.#term = term;
    this.#vote = undefined;
    this.#leader = undefined;
    this.#role = "follower";
    this.#answer = undefined;
  }

  voteFor(candidate: NodeId): void {
    // "Each server will vote for at most one candidate in a given term" [Raft §5.2]. So two majorities of one term
    // would share a voter who voted twice.
    assert(this.#vote === undefined || this.#vote === candidate, "a second vote in one term");
    this.#vote = candidate;
  }

  becomeFollower(leader: NodeId | undefined): void {
    // Election Safety: "at most one leader can be elected in a given term" [Raft §5.2]. Whoever we heard leading this
    // term is its only leader; a second one means that some disk forgot a vote.
    assert(leader !== this.id, "a node cannot follow itself");
    const isOther = leader !== undefined && this.#leader !== undefined && leader !== this.#leader;
    assert(!isOther, `term ${this.#term} has two leaders, ${this.#leader} and ${leader}`);
    this.#role = "follower";
    this.#leader = leader;
  }

  becomeCandidate(): void {
    assert(this.#role !== "leader", "a leader stands for election");
    this.#role = "candidate";
    this.#leader = undefined;
  }

  becomeLeader(): void {
    assert(this.#role === "candidate", "only a candidate wins");
    assert(this.#vote === this.id, "a leader voted for itself");
    this.#role = "leader";
    this.#leader = this.id;
  }

  /**
   * Once `proof` is durable here, this node holds everything that it may ever have promised to hold: a leader's log
   * contains all entries committed before its term [Raft §5.4, Leader Completeness], and an entry of its own term
   * that is committed comes after all of them. But for what it promised to a later leader; the caller has seen to it
   * that there was none [decisions/0009]. See election.ts for what birth means.
   */
  expectBirth(proof: EntryId): void {
    if (this.#born) return;
    this.#birth = proof;
    this.#checkBirth();
  }

  /** What answers to the leader say of it. */
  get memory(): Memory {
    if (this.#born) return { born: true };
    this.#life ??= this.prng.mark();
    return {
      ...{ born: false, life: this.#life },
      voted: this.#vote !== undefined && this.#vote === this.#leader,
    };
  }

  /** Whether the leader knows of this life, and that it is no leader of the past. */
  isConfirmed({ confirms }: { readonly confirms?: number | undefined }): boolean {
    return confirms !== undefined && confirms === this.#life;
  }

  /** A promise about this disk, or an answer that depends on one. */
  send(to: NodeId, message: Message): void {
    const envelope = { from: this.id, to, term: this.#term, message };
    this.#messages.push(envelope);
    if (message.type === "appended") this.#answer = envelope;
  }

  /** Promises nothing about this disk, so it need not wait for it. */
  sendNow(to: NodeId, message: Message): void {
    this.#messagesNow.push({ from: this.id, to, term: this.#term, message });
  }

  /** Answers a read index. An undefined LSN refuses it. */
  answer(reader: Reader, at: Lsn | undefined): void {
    if (reader.from === this.id) this.#reads.push({ id: reader.id, lsn: at });
    else this.sendNow(reader.from, { type: "read-reply", id: reader.id, lsn: at });
  }

  wantSnapshot(node: NodeId): void {
    this.#snapshotsWanted.push(node);
  }

  /** Entries from `from` on are about to be replaced, and may have been acknowledged. */
  askToKeep(from: Lsn): void {
    this.#keepFrom = from;
  }

  /** Everything that waits, or undefined. */
  takeReady(): Ready | undefined {
    const { log } = this;
    const hardState = this.#changedHardState();
    const isIdle =
      hardState === undefined &&
      !log.hasUnstable() &&
      this.#messagesNow.length === 0 &&
      this.#messages.length === 0 &&
      this.#reads.length === 0 &&
      this.#snapshotsWanted.length === 0 &&
      this.#keepFrom === undefined &&
      log.committedLsn === this.#toldCommittedLsn;
    if (isIdle) return undefined;
    // A term that is not yet durable must not be heard of: after a crash we could lead it a second time, with other
    // entries under the same LSNs. Only a lone voter gets here; all others hear of votes first.
    const isTermDurable = this.#durable.term === this.#term && this.#durable.vote === this.#vote;
    const [now, later] = isTermDurable
      ? [this.#messagesNow, this.#messages]
      : [[], [...this.#messagesNow, ...this.#messages]];
    const ready: Ready = {
      hardState,
      entries: log.takeUnstable(),
      messagesNow: now,
      messages: later,
      committedLsn: log.committedLsn,
      reads: this.#reads,
      snapshotsWanted: this.#snapshotsWanted,
      keepFrom: this.#keepFrom,
    };
    this.#keepFrom = undefined;
    this.#toldCommittedLsn = log.committedLsn;
    this.#messagesNow = [];
    this.#messages = [];
    this.#answer = undefined;
    this.#reads = [];
    this.#snapshotsWanted = [];
    return ready;
  }

  /**
   * What may leave while the disk is busy with a Ready: heartbeats, the traffic of reads, and of the latest answer to
   * the leader as much as is true already: that this node heard it, and has up to where its log is durable *and* was
   * seen to be the leader's. All of hard state is on the disk, so these promise nothing that a crash could take back.
   */
  takeBeside(): readonly Envelope[] {
    if (this.#changedHardState() !== undefined) return [];
    const isWithoutEntries = ({ message }: Envelope) =>
      message.type !== "append" || message.range.from >= message.range.to;
    const beside = this.#messagesNow.filter(isWithoutEntries);
    this.#messagesNow = this.#messagesNow.filter((envelope) => !isWithoutEntries(envelope));
    const answer = this.#answer;
    this.#answer = undefined;
    if (answer?.message.type !== "appended") return beside;
    const matchLsn = lsn(Math.min(answer.message.matchLsn, this.log.durableLsn));
    return [...beside, { ...answer, message: { ...answer.message, matchLsn } }];
  }

  /** The driver has done what `ready` asked for. */
  onDurable(ready: Ready): void {
    if (ready.hardState !== undefined) this.#durable = ready.hardState;
    this.log.markDurable(ready.entries);
    this.#checkBirth();
  }

  /** Page sync finished: the database is there already, so the driver need not be told to apply up to it. */
  onReset(): void {
    this.#toldCommittedLsn = lsn(Math.max(this.#toldCommittedLsn, this.log.committedLsn));
  }

  #changedHardState(): HardState | undefined {
    const { term, vote, born } = this.#durable;
    if (term === this.#term && vote === this.#vote && born === this.#born) return undefined;
    return { term: this.#term, vote: this.#vote, born: this.#born };
  }

  /** Birth is made durable only after the log that proves it is: the disk writes hard state before entries. */
  #checkBirth(): void {
    const proof = this.#birth;
    if (proof === undefined || this.log.durableLsn < proof.lsn) return;
    this.#birth = undefined;
    // Below the base the log is the database, and that was copied with everything committed.
    const here = this.log.termAt(proof.lsn);
    if (here === proof.term || proof.lsn < this.log.base.lsn) this.#born = true;
  }
}
