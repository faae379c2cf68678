/**
 * A term of leadership: what a leader accepts, what it may answer alone, how it hands over, and when it must stop.
 * One object per term won; it begins with a no-op [Raft §8].
 *
 * Lease. A majority that answered something sent at time t refuses votes until t + leaseOver at the earliest
 * (following.ts), so nobody else can lead, and commit, before that. Until t + lease the leader may answer reads from
 * its own commit mark; the difference is the allowed drift of clocks [Raft thesis §6.4.1].
 *
 * Handing over breaks that argument: the ordered election is held although the leader is alive. So the lease is
 * suspended from the order on, and comes back when the target has answered a *later* round in this term: then it has
 * not stood, and will not obey that order any more (following.ts, `mayObey`).
 *
 * Caretaker. A witness has a log and no database; a voter of priority "never" shall not lead. When the leader died and
 * one of them alone holds the latest entries, no other can win: it does, accepts nothing, brings another voter up to
 * date and orders it to stand.
 *
 * Not here: how entries reach followers (replication.ts).
 */

import { assert } from "../base/assert.ts";
import { chainHash } from "../base/hash.ts";
import { limits } from "../limits.ts";
import {
  type Entry,
  type EntryKind,
  type Lsn,
  lsn,
  type NodeId,
  type Settings,
} from "../vocabulary.ts";
import type { Core, Reader } from "./core.ts";
import { entriesSizedMax } from "./log-view.ts";
import { changed, counts, encodeMembership, memberOf } from "./membership.ts";
import type { Message } from "./messages.ts";
import { ReadIndex } from "./read-index.ts";
import type { MembershipChange, Proposal, Refusal } from "./ready.ts";
import { Replication } from "./replication.ts";
import { isCaretaker } from "./rule/priority.ts";
import { encodeSettings } from "./rule/settings.ts";

const emptyBody = new Uint8Array(0);

export class Leading {
  readonly #core: Core;
  readonly #reads: ReadIndex;
  readonly replication: Replication;
  /** The no-op of this term. Once it is committed, so is everything before it. */
  readonly #firstLsn: Lsn;
  /** Entries of this term that are not committed. */
  #uncommittedBytes = 0;
  #isCommittedInTerm = false;
  /** Handing over, until the target leads or the time is up. */
  #transfer: { readonly target: NodeId; readonly untilMs: number; isOrdered: boolean } | undefined;
  /** Orders to stand that may still be obeyed: their round, by target. While there are any there is no lease. */
  readonly #orderedRounds = new Map<NodeId, number>();

  /** `isUnanimous`: everybody who counts gave this node its vote. */
  constructor(core: Core, isUnanimous: boolean) {
    this.#core = core;
    this.#reads = new ReadIndex(core);
    // Where the unborn elect one of themselves, or all elect one, their votes are all there is to go by.
    const trustsVotes = !core.isBorn || isUnanimous || core.isManual;
    this.replication = new Replication(core, trustsVotes);
    this.#firstLsn = this.#appendFirst().lsn;
  }

  /**
   * The no-op of this term. At the very beginning of a log it is the membership that the cluster was born with: who
   * gets the log from its first entry on, with an empty disk, must learn the members from it.
   */
  #appendFirst(): Entry {
    const { log } = this.#core;
    if (log.last.lsn > 0) return this.#append("noop", emptyBody);
    return this.#append("membership", encodeMembership(log.membership));
  }

  get isCommittedInTerm(): boolean {
    return this.#isCommittedInTerm;
  }
  get isDegraded(): boolean {
    return this.replication.isDegraded;
  }
  get transferringTo(): NodeId | undefined {
    return this.#transfer?.target;
  }

  propose(kind: "payload" | "genesis", body: Uint8Array): Proposal {
    const { log, isCaretaker } = this.#core;
    if (isCaretaker || this.#transfer !== undefined)
      return { accepted: false, why: "transferring" };
    const isFull =
      this.#uncommittedBytes >= limits.uncommittedBytesMax ||
      log.last.lsn - log.committedLsn >= entriesSizedMax - 1;
    if (isFull) return { accepted: false, why: "too-many-in-flight" };
    return { accepted: true, entry: this.#append(kind, body) };
  }

  changeMembership(change: MembershipChange): Proposal {
    const { log } = this.#core;
    if (this.#transfer !== undefined) return { accepted: false, why: "transferring" };
    // Two leaders that each change a membership the other does not know of can end up with majorities that do not
    // overlap. An entry of our own term that is committed rules that out [raft-dev 2015-07-10, "bug in single-server
    // membership changes"].
    if (!this.#isCommittedInTerm) return { accepted: false, why: "not-ready" };
    // One at a time, or the majorities before the first and after the second need not overlap [Raft thesis §4.1].
    if (log.membershipLsn > this.#settledLsn) return { accepted: false, why: "membership-busy" };
    const next = changed(log.membership, change);
    if (next === undefined) return { accepted: false, why: "membership-refused" };
    const before = new Set(log.membership.filter(counts).map((member) => member.id));
    const after = new Set(next.filter(counts).map((member) => member.id));
    assert(before.symmetricDifference(after).size <= 1, "a change of more than one who counts");
    const entry = this.#append("membership", encodeMembership(next));
    this.replication.onMembership();
    return { accepted: true, entry };
  }

  /** One at a time, so that what an operator is told to be in force is. */
  changeSettings(settings: Settings): Proposal {
    const { log } = this.#core;
    if (this.#transfer !== undefined) return { accepted: false, why: "transferring" };
    if (!this.#isCommittedInTerm) return { accepted: false, why: "not-ready" };
    if (log.settingsLsn > this.#settledLsn) return { accepted: false, why: "settings-busy" };
    return { accepted: true, entry: this.#append("settings", encodeSettings(settings)) };
  }

  /** Refuses proposals from now on, brings the target up to date, and then orders it to stand. */
  transferTo(target: NodeId): Refusal | undefined {
    const { log, id, isElectable } = this.#core;
    if (this.#transfer !== undefined) return "transferring";
    const member = memberOf(log.membership, target);
    if (target === id || member?.kind !== "voter") return "transfer-refused";
    // A leader with a damaged database needs another one's pages, if only for as long as they are copied.
    if (isCaretaker(member) && isElectable) return "transfer-refused";
    this.#startTransfer(target);
    return undefined;
  }

  readIndex(reader: Reader): void {
    this.#reads.add(reader, this.#isCommittedInTerm ? this.replication.round + 1 : undefined);
  }

  /** See the door sign. `nowMs` is the moment at which the answer must hold. */
  hasLease(nowMs: number): boolean {
    if (!this.#isCommittedInTerm || this.#transfer !== undefined) return false;
    for (const [target, round] of this.#orderedRounds) {
      const answered = this.replication.progressOf(target)?.answered.round ?? 0;
      if (answered <= round) return false;
    }
    const sinceMs = this.replication.answeredSentMs(nowMs);
    return nowMs - sinceMs < this.#core.timing.leaseMs;
  }

  tick(): void {
    this.replication.tick();
    // Whether copies are missing, and whether a lease holds, changes with time alone.
    if (this.#core.log.committedLsn < this.#core.log.last.lsn) this.#settle();
    if (this.#transfer !== undefined && this.#core.nowMs >= this.#transfer.untilMs) {
      this.#transfer = undefined;
    }
  }

  onMessage(
    from: NodeId,
    message: Extract<Message, { type: "appended" | "append-refused" }>,
  ): void {
    if (message.type === "appended") this.replication.onAppended(from, message);
    else this.replication.onRefused(from, message);
    this.#settle();
  }

  /** Our own disk holds more. Only now do we count ourselves [Raft thesis §10.2.1]. */
  onDurable(): void {
    this.#settle();
  }

  /** Makes the messages that are due. */
  flush(): void {
    this.#settle();
    const { replication } = this;
    replication.flush(this.#reads.wantsRound(replication.round));
    if (this.#core.isCaretaker && this.#transfer === undefined) this.#handOver();
    this.#order();
  }

  /**
   * Whether leadership ends here. "A leader steps down if an election timeout elapses without a successful round of
   * heartbeats to a majority" [Raft thesis §6.2]: its clients then look elsewhere. And a leader that removed itself
   * leads until that is committed, not counting itself [§4.2.2].
   */
  isOver(): boolean {
    const { nowMs, timing, log, isManual } = this.#core;
    const isAlone = nowMs - this.replication.heardMs(nowMs) >= timing.electionTimeoutMaxMs;
    // Whom an operator appointed leads until another one is.
    if (isAlone && !isManual) return true;
    return this.#settledLsn >= log.membershipLsn && !this.#isCounted();
  }

  /** Up to where members and settings need not be feared to go. Under a manual coordinator that is nowhere sure. */
  get #settledLsn(): Lsn {
    const { log, isManual } = this.#core;
    return isManual ? log.committedLsn : log.safeLsn;
  }

  /** The last words: refuses all reads, and names a successor if we are no longer part of the cluster. */
  end(): void {
    this.#reads.refuseAll();
    if (this.#isCounted()) return;
    this.replication.flush(true);
    const successor = this.replication.successor(this.#core.log.membership);
    if (successor === undefined) return;
    this.#core.sendNow(successor, { type: "timeout-now", round: this.replication.round });
  }

  #isCounted(): boolean {
    const { kind } = this.#core;
    return kind === "voter" || kind === "witness";
  }

  #startTransfer(target: NodeId): void {
    const untilMs = this.#core.nowMs + this.#core.timing.electionTimeoutMinMs;
    this.#transfer = { target, untilMs, isOrdered: false };
  }

  /** A caretaker looks for a voter that has everything. */
  #handOver(): void {
    const { log } = this.#core;
    const successor = this.replication.successor(log.membership);
    if (successor === undefined) return;
    const match = this.replication.progressOf(successor)?.matchLsn;
    if (match === log.last.lsn) this.#startTransfer(successor);
  }

  /** Orders the target to stand once it has our whole log, which stands still meanwhile [Raft thesis §3.10]. */
  #order(): void {
    const transfer = this.#transfer;
    if (transfer === undefined || transfer.isOrdered) return;
    const { target } = transfer;
    const progress = this.replication.progressOf(target);
    if (progress?.matchLsn !== this.#core.log.last.lsn) return;
    const { round } = this.replication;
    this.#core.sendNow(target, { type: "timeout-now", round });
    this.#orderedRounds.set(target, round);
    transfer.isOrdered = true;
  }

  #append(kind: EntryKind, body: Uint8Array): Entry {
    const { log, term, leader, id } = this.#core;
    assert(leader === id, "only a leader appends on its own");
    const next = { lsn: lsn(log.last.lsn + 1), term, kind, body };
    const entry: Entry = { ...next, chain: chainHash(log.lastChain, next) };
    // Leader Append-Only: "a leader never overwrites or deletes entries in its log; it only appends new entries"
    // [Raft §5.3].
    log.append(entry);
    this.#uncommittedBytes += log.sizeOf(entry.lsn)!;
    return entry;
  }

  /** Moves the commit mark as far as it goes, and draws the consequences. */
  #settle(): void {
    const { log, term } = this.#core;
    const before = log.committedLsn;
    if (this.replication.advanceCommit()) {
      for (let at = Math.max(before + 1, this.#firstLsn); at <= log.committedLsn; at++) {
        this.#uncommittedBytes -= log.sizeOf(lsn(at))!;
      }
      assert(this.#uncommittedBytes >= 0, "more bytes committed than proposed");
      if (!this.#isCommittedInTerm) {
        // Marks move only onto entries of our own term, and the no-op, the first of them, needs a majority by any rule;
        // or, under a manual coordinator, the copies of the rule.
        assert(this.#settledLsn >= this.#firstLsn, "a commit of this term below its no-op");
        this.#isCommittedInTerm = true;
        this.#reads.onCommittedInTerm(this.replication.round + 1);
        this.#core.expectBirth({ lsn: this.#firstLsn, term });
      }
    }
    this.#reads.onAnswered(this.replication.answeredRound());
  }
}
