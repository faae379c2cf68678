/**
 * Who leads: timers, pre-votes, votes [Raft §5.2, §5.4.1; thesis §4.2.3, §9.6].
 *
 * A node that has heard no leader for its election timeout first asks whether it *would* be elected (pre-vote), and
 * only then enters a new term. So a node that cannot win, because it is cut off or behind, disturbs nobody.
 *
 * Birth. A node that lost its disk may have promised entries and votes that it no longer knows of. It must not help
 * to elect someone who lacks those entries. So hard state has a flag: `born` means that this disk once held a full
 * log. The born elect the born. The unborn elect the unborn: that is how a new cluster gets its first leader, and
 * from then on whoever catches up with a leader is born (core.ts, `expectBirth`), if that leader has shown that it is
 * none of the past (replication.ts); until then its answers do not count. Across that border a vote is given
 * with a reservation: it counts only if *everyone* votes for the candidate, because then its log is the best there
 * is on any disk, and waiting could bring nothing better. Without that, two nodes of which one lost its disk would
 * never again have a leader. Not covered: the loss of a majority of disks, and a vote given in an election that is
 * still under way when the voter's disk is lost.
 *
 * Caretakers: witnesses, and voters of priority "never". They lead only to hand their log over (leading.ts), so they
 * are elected only when they alone have the newest entries: a voter that has as much, and could lead itself, refuses
 * them its vote. Refusing is always safe; and that voter can win: all who would have voted for them vote for it.
 *
 * Priority. Whoever would rather lead stands first: each voter of a higher priority that may be alive is waited for a
 * little. Nothing depends on it; a leader of lower priority hands over later (node/lead/).
 *
 * Promotion. Under a manual coordinator nobody stands by itself; an operator promotes a node, and it leads a new term
 * without a majority. Terms are what fences: those that are reached enter the new term before the node leads, so that
 * an old leader among them has stopped by then. They refuse if they have more than the node; whether that counts is
 * the operator's word. Two nodes that are promoted apart from each other must not lead the same term: the term of a
 * promotion is the next multiple of `promotionStep`, and some for the place of the node among the members. Elections by
 * order (a switchover) count on from there, and never as far as the next place.
 *
 * Not here: whether a leader is alive, and therefore votes are refused (following.ts).
 */

import { assert } from "../base/assert.ts";
import { type NodeId, type Term, term } from "../vocabulary.ts";
import type { Core } from "./core.ts";
import { counts, memberOf } from "./membership.ts";
import type { Message, Verdict } from "./messages.ts";
import { electionResult } from "./quorum.ts";
import { isCaretaker } from "./rule/priority.ts";

/** Spread of the candidacies that follow a broken link: all followers notice it in the same millisecond. */
const linkLostJitterMs = 150;
/** So many voters of higher priority are waited for: an election must not take long because many are away. */
const politeMax = 2;
/** Terms of promotions: multiples of this, plus the node's place among the members times `promotionPlace`. */
const promotionStep = 10_000;
const promotionPlace = 100;
/** How long a promotion waits for those who should answer. */
const promotionMs = 1_000;

/** An operator's word that a node shall lead. */
export type PromotionOrder = {
  /** Highest term that anybody who was asked has seen. */
  readonly aboveTerm: Term;
  /** Those who were reached, and must answer. */
  readonly expected: readonly NodeId[];
  /** Lead even if some of them do not answer, or have more. */
  readonly acceptLoss: boolean;
};

type VoteRequest = Extract<Message, { type: "vote" | "prevote" }>;

export class Election {
  readonly #core: Core;
  /** When we stand for election unless a leader is heard. Drawn anew whenever it is pushed back. */
  #deadlineMs = 0;
  #phase: "idle" | "prevote" | "vote" | "promotion" = "idle";
  /** What the operator said, while `#phase` is promotion. */
  #promotion: PromotionOrder | undefined;
  /** When those whom the promotion needs had entered its term. */
  #wonMs: number | undefined;
  /** Answers of those who count, our own included. */
  #votes = new Map<NodeId, Verdict>();
  /** The link to the last leader broke: it is surely gone, so failed attempts are repeated quickly. */
  #isHurried = false;

  constructor(core: Core) {
    this.#core = core;
    this.postpone();
  }

  get phase(): "idle" | "prevote" | "vote" | "promotion" {
    return this.#phase;
  }

  /** Everybody who counts gives this node its vote, if with reserve. */
  get isUnanimous(): boolean {
    const voters = this.#core.log.membership.filter(counts);
    return voters.every(({ id }) => (this.#votes.get(id) ?? "refused") !== "refused");
  }

  /** A leader was heard, or a vote was given: a full timeout from now [Raft §5.2]. */
  postpone(): void {
    const { prng, timing, nowMs, isCaretaker: isLast } = this.#core;
    const { electionTimeoutMinMs: min, electionTimeoutMaxMs: max } = timing;
    const courtesyMs = isLast ? max - min : this.#politenessMs();
    this.#deadlineMs = nowMs + prng.integer(min, max) + courtesyMs;
    this.#isHurried = false;
  }

  /** Someone else leads, or we do: no election of ours is open. */
  end(): void {
    this.#phase = "idle";
    this.#promotion = undefined;
    this.#votes.clear();
  }

  /** The leader is surely gone; its lease ends at `leaseOverMs`. */
  hurry(leaseOverMs: number): void {
    const { prng, nowMs, isCaretaker: isLast } = this.#core;
    const courtesyMs = isLast ? 2 * linkLostJitterMs : this.#politenessMs();
    const soonest = Math.max(nowMs, leaseOverMs) + prng.integer(0, linkLostJitterMs);
    this.#deadlineMs = Math.min(this.#deadlineMs, soonest + courtesyMs);
    this.#isHurried = true;
  }

  isDue(): boolean {
    return this.#core.nowMs >= this.#deadlineMs;
  }

  /** Asks whether we would be elected. True when that is settled at once, by our own vote. */
  startPrevote(): boolean {
    assert(this.#core.canStand(), "a node that may not lead stands for election");
    this.#core.becomeCandidate();
    this.#open("prevote");
    return this.#isWon();
  }

  /** Enters a new term and asks for votes. True when our own vote elects us. */
  startVote(transfer: boolean): boolean {
    const core = this.#core;
    assert(core.canStand(), "a node that may not lead stands for election");
    core.enterTerm(term(core.term + 1));
    // "To begin an election, a follower increments its current term and transitions to candidate state. It then votes
    // for itself" [Raft §5.2]. Both reach the disk before any request leaves, because requests go with `send`.
    core.voteFor(core.id);
    core.becomeCandidate();
    this.#open("vote", transfer);
    return this.#isWon();
  }

  /** Enters a new term to lead it by an operator's word. What comes of it: `promotionResult`. */
  startPromotion(order: PromotionOrder): void {
    const core = this.#core;
    const place = core.log.membership.findIndex((member) => member.id === core.id);
    const above = Math.max(core.term, order.aboveTerm);
    const step = Math.floor(above / promotionStep) + 1;
    core.enterTerm(
      term(step * promotionStep + (place % (promotionStep / promotionPlace)) * promotionPlace),
    );
    core.voteFor(core.id);
    core.becomeCandidate();
    this.#open("promotion", true);
    this.#promotion = order;
    this.#wonMs = undefined;
    this.#deadlineMs = core.nowMs + promotionMs;
  }

  /** How a promotion stands. Undefined when there is none. */
  promotionResult(): "won" | "lost" | "open" | undefined {
    const order = this.#promotion;
    if (this.#phase !== "promotion" || order === undefined) return undefined;
    const result = this.#promotionVotes(order);
    if (result !== "won" || this.#haveAllEntered()) return result;
    // Who has not entered this term may be the leader of the one before. Those who have do not answer it any more: it
    // reads alone until its lease is over, so nothing may be written before that.
    const { nowMs, timing } = this.#core;
    this.#wonMs ??= nowMs;
    return nowMs - this.#wonMs < timing.leaseOverMs ? "open" : "won";
  }

  #haveAllEntered(): boolean {
    const { membership } = this.#core.log;
    return membership.every((member) => !counts(member) || this.#votes.has(member.id));
  }

  #promotionVotes(order: PromotionOrder): "won" | "lost" | "open" {
    const votes = order.expected.map((id) => this.#votes.get(id));
    if (order.acceptLoss) return votes.includes(undefined) && !this.isDue() ? "open" : "won";
    if (votes.includes("refused")) return "lost";
    if (!votes.includes(undefined)) return "won";
    if (!this.isDue()) return "open";
    // One that answered the operator may be unable to answer us: an empty node that knows nobody yet. Those who did not
    // enter this term must be too few to have acknowledged anything, or to do so now.
    return this.#strangers() < this.#core.fewestCopies ? "won" : "lost";
  }

  /** How many of those who count have not given us their vote without reserve. */
  #strangers(): number {
    const members = this.#core.log.membership.filter(counts);
    return members.filter(({ id }) => this.#votes.get(id) !== "granted").length;
  }

  /** Answers a request of our own term (votes) or of any (pre-votes). `isQuiet`: a leader may still be alive. */
  onRequest(from: NodeId, theirTerm: Term, request: VoteRequest, isQuiet: boolean): void {
    const core = this.#core;
    // "The voter denies its vote if its own log is more up-to-date than that of the candidate" [Raft §5.4.1]. A
    // committed entry is on a majority, so every winner holds it.
    const isFit = core.log.isAtMost(request.last) && !this.#isBetterThan(from, request);
    const grant: Verdict = request.born === core.isBorn ? "granted" : "reserved";
    if (request.type === "prevote") {
      const forTerm = term(theirTerm + 1);
      const isYes = isFit && !isQuiet && forTerm > core.term;
      core.send(from, { type: "prevote-reply", forTerm, verdict: isYes ? grant : "refused" });
      return;
    }
    assert(theirTerm === core.term, "a vote is answered in its own term");
    const isFree = core.vote === undefined || core.vote === from;
    const isYes = isFit && isFree && core.leader === undefined;
    if (isYes) {
      core.voteFor(from);
      this.postpone();
    }
    core.send(from, { type: "vote-reply", verdict: isYes ? grant : "refused" });
  }

  /** Counts an answer. "won" moves us on: from pre-vote to vote, from vote to leader. */
  onReply(
    from: NodeId,
    reply: Extract<Message, { type: "vote-reply" | "prevote-reply" }>,
  ): "won" | "lost" | "open" {
    if (this.#phase === "promotion" && reply.type === "vote-reply") {
      this.#votes.set(from, reply.verdict);
      return this.promotionResult() ?? "open";
    }
    const wanted = reply.type === "prevote-reply" ? "prevote" : "vote";
    if (this.#phase !== wanted) return "open";
    if (reply.type === "prevote-reply" && reply.forTerm !== this.#core.term + 1) return "open";
    // A later answer outweighs an earlier one: the question is asked again while a leader is presumed alive. An
    // overtaken refusal of a vote cannot undo its grant, because a vote is given once.
    if (this.#votes.get(from) !== "granted") this.#votes.set(from, reply.verdict);
    return this.#result();
  }

  /** A caretaker asks, and this node could lead as well, for good: it has the same entries. */
  #isBetterThan(candidate: NodeId, { last: theirs, born }: VoteRequest): boolean {
    const { log, kind, isElectable, isBorn, isCaretaker: isOne } = this.#core;
    if (!isCaretaker(memberOf(log.membership, candidate))) return false;
    const hasAsMuch = log.last.lsn === theirs.lsn && log.last.term === theirs.term;
    // The born do not elect one that is not.
    const canWin = isElectable && (isBorn || !born);
    return kind === "voter" && !isOne && canWin && hasAsMuch;
  }

  /** Lets those go first who would rather lead. */
  #politenessMs(): number {
    return Math.min(this.#core.betterCount, politeMax) * linkLostJitterMs;
  }

  #open(phase: "prevote" | "vote" | "promotion", transfer = false): void {
    const { id, log, isBorn, timing, prng, nowMs } = this.#core;
    this.#phase = phase;
    this.#votes.clear();
    this.#votes.set(id, "granted");
    const retry: readonly [number, number] = this.#isHurried
      ? [timing.heartbeatMs, timing.heartbeatMs + linkLostJitterMs]
      : [timing.leaseOverMs, timing.electionTimeoutMinMs];
    // "Raft uses randomized election timeouts to ensure that split votes are rare" [Raft §5.2].
    this.#deadlineMs = nowMs + prng.integer(...retry);
    if (phase !== "promotion" && this.#isWon()) return;
    for (const member of log.membership) {
      if (member.id === id || !counts(member)) continue;
      const request = { last: log.last, born: isBorn };
      if (phase === "prevote") this.#core.send(member.id, { type: "prevote", ...request });
      else this.#core.send(member.id, { type: "vote", ...request, transfer });
    }
  }

  #isWon(): boolean {
    return this.#result() === "won";
  }

  /** Only those who count are counted, by the membership in our log, committed or not [Raft §6]. */
  #result(): "won" | "lost" | "open" {
    const tally = { voters: 0, granted: 0, reserved: 0, refused: 0 };
    for (const member of this.#core.log.membership) {
      if (!counts(member)) continue;
      tally.voters++;
      const vote = this.#votes.get(member.id);
      if (vote !== undefined) tally[vote]++;
    }
    return electionResult(tally);
  }
}
