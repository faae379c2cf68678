/**
 * Entries to followers, and the commit mark [Raft §5.3, §5.4.2].
 *
 * Appends are made in `flush`, once per Ready and not once per proposal: everything proposed since the last one
 * leaves together, as ranges. Every append carries the round of the latest broadcast and the time; the answers prove
 * that a follower still followed after that round began, and after that time. That is all that leases, read indexes
 * and check-quorum need. *Sending* times count: an answer may have been under way, or we may have been asleep, while
 * the follower gave its vote to someone else.
 *
 * Not here: what a leader refuses and when it stops (leading.ts), belief about one follower (progress.ts).
 */

import { assert } from "../base/assert.ts";
import { limits } from "../limits.ts";
import {
  type CommitRule,
  type EntryId,
  type Lsn,
  lsn,
  type Membership,
  type NodeId,
} from "../vocabulary.ts";
import type { Core } from "./core.ts";
import { counts, memberOf } from "./membership.ts";
import type { Memory, Message, Stamp } from "./messages.ts";
import { Progress } from "./progress.ts";
import { majority, reachedBy, reachedByMajority } from "./quorum.ts";
import { type Copies, copiesOf, reachedByRule, weakerRule } from "./rule/commit-rule.ts";
import { Degradation } from "./rule/degradation.ts";
import { isCaretaker } from "./rule/priority.ts";

/** Entries of unknown size in one append. The driver cuts by bytes, and the rest follows after the answer. */
const unsizedEntriesMax = 256;

export class Replication {
  readonly #core: Core;
  readonly #trustsVotes: boolean;
  /** All other members, and those who are leaving; sorted by id, because the order reaches the wire. */
  #progressByNode = new Map<NodeId, Progress>();
  /** The latest broadcast. Rises. */
  #round = 0;
  #broadcastMs: number;
  #isBroadcastDue = true;
  /** Of this term: below it nothing is committed by counting. */
  readonly #firstLsn: Lsn;
  readonly #degradation = new Degradation();
  /** For quorum arithmetic without garbage. */
  readonly #values: number[] = [];

  /** `trustsVotes`: a follower that is not born counts if it voted for this leader. */
  constructor(core: Core, trustsVotes: boolean) {
    this.#core = core;
    this.#trustsVotes = trustsVotes;
    this.#firstLsn = lsn(core.log.last.lsn + 1);
    this.#broadcastMs = core.nowMs;
    this.onMembership();
  }

  get round(): number {
    return this.#round;
  }

  progressOf(node: NodeId): Progress | undefined {
    return this.#progressByNode.get(node);
  }

  /** The membership in force has changed. It is, from the moment it is in the log [Raft §6]. */
  onMembership(): void {
    const { log, id, nowMs } = this.#core;
    const members = new Set(log.membership.map((member) => member.id));
    for (const [node, progress] of this.#progressByNode) progress.isLeaving = !members.has(node);
    for (const node of members) {
      if (node === id || this.#progressByNode.has(node)) continue;
      this.#progressByNode.set(node, new Progress(lsn(log.last.lsn + 1), nowMs));
    }
    const sorted = [...this.#progressByNode].sort(([a], [b]) => (a < b ? -1 : 1));
    this.#progressByNode = new Map(sorted);
  }

  tick(): void {
    const { nowMs, timing } = this.#core;
    if (nowMs - this.#broadcastMs < timing.heartbeatMs) return;
    this.#isBroadcastDue = true;
    for (const progress of this.#progressByNode.values()) {
      if (nowMs - progress.heardMs >= timing.electionTimeoutMaxMs) progress.presumeLost();
    }
  }

  /** Makes the heartbeats that are due, and nothing else. */
  beat(): void {
    if (!this.#isBroadcastDue) return;
    this.#beginRound();
    for (const [node, progress] of this.#progressByNode) {
      this.#sendAppend(node, progress, undefined);
    }
  }

  /** Makes all appends that may leave now. `wantsRound`: someone waits for a broadcast. */
  flush(wantsRound: boolean): void {
    const isBroadcast = this.#isBroadcastDue || wantsRound;
    if (isBroadcast) this.#beginRound();
    const { log } = this.#core;
    for (const [node, progress] of this.#progressByNode) {
      const isAppended = this.#sendEntries(node, progress);
      const isLate = progress.mode === "stream" && progress.toldCommittedLsn < log.committedLsn;
      const isNews = isLate || this.#isConfirmable(progress);
      if (!isAppended && (isBroadcast || isNews)) this.#sendAppend(node, progress, undefined);
      const isTold = progress.toldCommittedLsn >= log.membershipLsn;
      if (progress.isLeaving && isTold) this.#progressByNode.delete(node);
    }
  }

  #beginRound(): void {
    this.#round++;
    this.#broadcastMs = this.#core.nowMs;
    this.#isBroadcastDue = false;
  }

  /** A follower has everything up to `matchLsn`. */
  onAppended(from: NodeId, message: Extract<Message, { type: "appended" }>): void {
    const progress = this.#progressByNode.get(from);
    if (progress === undefined) return;
    const { log, nowMs } = this.#core;
    const { matchLsn } = message;
    // It matched an append of ours, or its own commit mark, and we hold all that is committed [Raft §5.4.3].
    assert(matchLsn <= log.last.lsn, `${from} matches ${matchLsn}, beyond our end ${log.last.lsn}`);
    progress.onHeard(message.stamp, nowMs);
    this.#remember(progress, message);
    if (progress.mode === "snapshot" && matchLsn < log.base.lsn) return;
    progress.onMatched(matchLsn);
  }

  /** A follower's log differs from ours, or ends early. */
  onRefused(from: NodeId, message: Extract<Message, { type: "append-refused" }>): void {
    const progress = this.#progressByNode.get(from);
    if (progress === undefined) return;
    const { log, nowMs } = this.#core;
    const { prevLsn, hint, floor } = message;
    progress.onHeard(message.stamp, nowMs);
    this.#remember(progress, message);
    if (floor !== undefined && floor.lsn >= log.base.lsn) {
      // The same entry, so the logs agree up to there [Raft §5.3, Log Matching]. Or one that a weak rule committed and
      // an election dropped: then no append of ours ever fits.
      const isSame = log.termAt(floor.lsn) === floor.term;
      if (!isSame && progress.mode !== "snapshot") this.#wantSnapshot(from, progress);
      if (isSame && floor.lsn > progress.matchLsn) progress.onMatched(floor.lsn);
      else if (isSame) progress.onRefused(prevLsn, this.#agreedAt(hint));
      return;
    }
    // Skips a whole term at a time [Raft §5.3, last but one paragraph]: above the follower's last entry of a term not
    // higher than ours nothing can agree. Below our base we cannot know, and need not.
    const agreed = this.#agreedAt(hint);
    if (!message.born && hint.lsn < progress.matchLsn) progress.forget(lsn(agreed));
    else progress.onRefused(prevLsn, lsn(agreed));
  }

  /** Who is not born waits for a round that begins after it was heard: at once. */
  #remember(progress: Progress, message: Memory & { readonly stamp: Stamp }): void {
    const { unborn } = progress;
    progress.onMemory(message, this.#round, this.#trustsVotes);
    if (progress.unborn !== undefined && progress.unborn !== unborn) this.#isBroadcastDue = true;
  }

  /** Whether a follower that is not born can be told what it waits for, and has not been. */
  #isConfirmable(progress: Progress): boolean {
    if (progress.unborn === undefined) return false;
    const life = this.#confirmation(progress);
    return life !== undefined && life !== progress.toldLife;
  }

  /** Up to where the logs may agree, by a follower's hint. */
  #agreedAt(hint: EntryId): Lsn {
    return this.#core.log.highestWithin(hint.lsn, hint.term)?.lsn ?? hint.lsn;
  }

  get isDegraded(): boolean {
    return this.#degradation.isDegraded;
  }

  /**
   * Commits what the commit rule allows. True when a mark moved.
   *
   * "Only log entries from the leader's current term are committed by counting replicas" [Raft §5.4.2]: an older
   * entry on a majority can still be replaced by a leader with a later last term (Figure 8). It is committed with the
   * first entry of our own term, which is why every term begins with a no-op.
   */
  advanceCommit(): boolean {
    const { log, term } = this.#core;
    const isManual = log.settings.coordinator === "manual";
    this.#collect((progress) => progress.matchLsn, log.durableLsn);
    const count = isManual ? this.#values.length : majority(this.#values.length);
    const onEnough = lsn(reachedBy(this.#values, count));
    const upTo = lsn(Math.min(onEnough, log.safeMax()));
    const isSafer = upTo > log.safeLsn && log.termAt(onEnough) === term;
    if (isSafer) log.safeTo(upTo);
    // From here on other settings are in force, and with them another meaning of enough.
    if (isSafer && upTo < onEnough) return this.advanceCommit();
    if (isManual) return this.#commitAppointed() || isSafer;
    if (log.safeLsn < this.#firstLsn) return false;
    const target = Math.max(this.#firstLsn, this.#allowedByRule());
    if (target <= log.committedLsn) return isSafer;
    log.commitTo(lsn(target));
    return true;
  }

  /** Under a manual coordinator: everything that has the copies which the rule asks for, from our first entry on. */
  #commitAppointed(): boolean {
    const { log, nowMs } = this.#core;
    const rule = log.settings.commitRule;
    const reached = this.#onCopies(rule);
    this.#degradation.look(log.settings, reached, log.last.lsn, nowMs);
    const target = this.#degradation.isDegraded ? this.#onCopies(weakerRule(rule)) : reached;
    if (target < this.#firstLsn || target <= log.committedLsn) return false;
    log.commitTo(lsn(target));
    return true;
  }

  /** Up to where the log has the copies that a rule asks for; this node's own is always one of them. */
  #onCopies(rule: CommitRule): number {
    const { durableLsn } = this.#core.log;
    this.#collect((progress) => progress.matchLsn, durableLsn);
    const reached = reachedBy(this.#values, copiesOf(rule, this.#values.length));
    return Math.min(durableLsn, reached);
  }

  /** Up to where the settings in force let us commit. */
  #allowedByRule(): number {
    const { log, nowMs, timing } = this.#core;
    const { settings } = log;
    // The rule of nearly everybody, and nothing to work out.
    if (settings.commitRule === "quorum") return log.safeLsn;
    const copies = this.#copies();
    const voters = this.#values.length;
    const reached = reachedByRule(settings.commitRule, copies, voters);
    this.#degradation.look(settings, reached, log.last.lsn, nowMs);
    const allowed = this.#degradation.isDegraded
      ? reachedByRule(weakerRule(settings.commitRule), copies, voters)
      : reached;
    if (allowed <= log.safeLsn) return allowed;
    const hasLease = nowMs - this.answeredSentMs(nowMs) < timing.leaseMs;
    return hasLease ? Math.min(allowed, log.firstUnsafeChange() - 1) : log.safeLsn;
  }

  #copies(): Copies {
    const { log } = this.#core;
    this.#collect((progress) => progress.matchLsn, log.durableLsn);
    let all = Number.POSITIVE_INFINITY;
    for (const value of this.#values) all = Math.min(all, value);
    let other = Number.NEGATIVE_INFINITY;
    for (const [node, progress] of this.#progressByNode) {
      const member = memberOf(log.membership, node);
      const isCopy = member !== undefined && counts(member) && progress.isCounted;
      if (isCopy) other = Math.max(other, progress.matchLsn);
    }
    return { own: log.durableLsn, other, all, safe: log.safeLsn };
  }

  /** The latest round that a majority has answered. Our own answer is immediate. */
  answeredRound(): number {
    return this.#reached((progress) => progress.answered.round, Number.POSITIVE_INFINITY);
  }

  /** The latest time such that a majority has answered something sent at or after it. */
  answeredSentMs(nowMs: number): number {
    return this.#reached((progress) => progress.answered.sentMs, nowMs);
  }

  /** When a majority was last heard. */
  heardMs(nowMs: number): number {
    return this.#reached((progress) => progress.heardMs, nowMs);
  }

  /** The voter with the most of our log that may lead: the natural successor. Not born: only for want of others. */
  successor(membership: Membership): NodeId | undefined {
    let best: { readonly node: NodeId; readonly match: number } | undefined;
    for (const member of membership) {
      const progress = this.#progressByNode.get(member.id);
      if (member.kind !== "voter" || isCaretaker(member) || progress === undefined) continue;
      const match = progress.unborn === undefined ? progress.matchLsn : -1;
      if (best === undefined || match > best.match) best = { node: member.id, match };
    }
    return best?.node;
  }

  /** Sends as many entries as the window allows. True when an append left. */
  #sendEntries(node: NodeId, progress: Progress): boolean {
    const { log, nowMs } = this.#core;
    let isAppended = false;
    while (progress.canSend() && progress.nextLsn <= log.last.lsn) {
      if (progress.nextLsn <= log.base.lsn) {
        this.#wantSnapshot(node, progress);
        break;
      }
      const { to, bytes } = this.#rangeFrom(progress.nextLsn);
      // What is large leaves once: not to find out where the logs agree.
      const isProbe = progress.mode === "probe" && bytes > limits.appendBytesMax;
      this.#sendAppend(node, progress, isProbe ? undefined : to);
      progress.onSent(to, bytes, nowMs);
      isAppended = true;
    }
    return isAppended;
  }

  #wantSnapshot(node: NodeId, progress: Progress): void {
    progress.becomeSnapshot();
    this.#core.wantSnapshot(node);
  }

  /**
   * Entries up to `to`, or none: a heartbeat, which asks whether the follower has what we believe is on its way. Not
   * while that is large and may still be: a heartbeat overtakes it, and a refusal would send all of it again.
   */
  #sendAppend(node: NodeId, progress: Progress, to: Lsn | undefined): void {
    const { log, nowMs } = this.#core;
    const isAwaited = to === undefined && progress.isAwaited(nowMs);
    const prevLsn =
      progress.mode === "snapshot"
        ? log.base.lsn
        : lsn(Math.max(isAwaited ? progress.matchLsn : progress.nextLsn - 1, log.base.lsn));
    const term = log.termAt(prevLsn);
    assert(term !== undefined, `entry ${prevLsn} before an append is not in the log`);
    const from = lsn(prevLsn + 1);
    const confirms = this.#confirmation(progress);
    this.#core.sendNow(node, {
      type: "append",
      prev: { lsn: prevLsn, term },
      range: { from, to: to ?? from },
      committedLsn: log.committedLsn,
      ...(log.safeLsn === log.committedLsn ? {} : { safeLsn: log.safeLsn }),
      stamp: { round: this.#round, sentMs: nowMs },
      ...(confirms === undefined ? {} : { confirms }),
    });
    progress.onTold(prevLsn, log.committedLsn, confirms);
  }

  /** The end of the append that starts at `from`: bounded by bytes, at least one entry. */
  #rangeFrom(from: Lsn): { readonly to: Lsn; readonly bytes: number } {
    const { log } = this.#core;
    const end = log.last.lsn + 1;
    if (log.sizeOf(from) === undefined) {
      // The driver knows how much fits. Filling the window makes us wait for the answer, which tells how much did.
      return {
        to: lsn(Math.min(from + unsizedEntriesMax, end)),
        bytes: limits.inFlightBytesMax,
      };
    }
    let bytes = 0;
    let to: number = from;
    while (to < end) {
      const size = log.sizeOf(lsn(to))!;
      if (to > from && bytes + size > limits.appendBytesMax) break;
      bytes += size;
      to++;
    }
    return { to: lsn(to), bytes };
  }

  /**
   * What a majority of those who count has reached; `own` stands for this node, if it counts. Under a manual
   * coordinator as many as make a commit: a leader that may commit alone leads alone.
   */
  #reached(value: (progress: Progress) => number, own: number): number {
    this.#collect(value, own);
    const { coordinator, commitRule } = this.#core.log.settings;
    if (coordinator !== "manual") return reachedByMajority(this.#values);
    return reachedBy(this.#values, copiesOf(commitRule, this.#values.length));
  }

  /** Fills `#values` with what those who count have reached. */
  #collect(reachedBy: (progress: Progress) => number, own: number): void {
    const { log, id } = this.#core;
    this.#values.length = 0;
    for (const member of log.membership) {
      if (!counts(member)) continue;
      const progress = this.#progressByNode.get(member.id);
      assert(progress !== undefined || member.id === id, `no progress for ${member.id}`);
      if (progress === undefined) this.#values.push(own);
      else this.#values.push(progress.isCounted ? reachedBy(progress) : Number.NEGATIVE_INFINITY);
    }
  }

  /**
   * The life that a follower which is not born may go on with; undefined while it must wait [decisions/0009]. Its lost
   * disk may have held a vote for a later leader, or that one's entries. Whoever answers a round that began after this
   * life was heard had not entered a later term by then; with so many of them, too few are left to have made a majority
   * with the lost disk.
   */
  #confirmation(progress: Progress): number | undefined {
    const { unborn } = progress;
    if (unborn === undefined || unborn.isTrusted) return unborn?.life;
    const { isManual, fewestCopies } = this.#core;
    this.#collect((other) => other.answered.round, Number.POSITIVE_INFINITY);
    const voters = this.#values.length;
    // Where one copy is enough nothing was ever promised to anybody.
    const copies = isManual ? fewestCopies : majority(voters);
    const enough = copies === 1 ? 1 : voters - copies + 1;
    return reachedBy(this.#values, enough) > unborn.sinceRound ? unborn.life : undefined;
  }
}
