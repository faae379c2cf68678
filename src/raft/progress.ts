/**
 * What the leader believes about one follower's log. Belief, not fact: it is rebuilt from nothing at each election,
 * and it may lag the follower but never runs ahead of it.
 *
 *   probe     where the logs agree is not known; one append at a time, then silence until an answer or a heartbeat
 *   stream    they agree up to matchLsn; appends follow each other without waiting, within a window
 *   snapshot  the follower needs entries that the log no longer has; heartbeats only, until page sync is done
 *
 * Invariants, checked by `#assertValid` after every change:
 *   1. matchLsn < nextLsn.
 *   2. Only in mode "stream" is anything in flight, and at most limits.inFlightAppendsMax appends.
 *   3. matchLsn never falls, except by `forget`: a follower that lost its disk says so.
 *
 * Not here: what is sent (replication.ts).
 */

import { assert } from "../base/assert.ts";
import { limits } from "../limits.ts";
import { type Lsn, lsn } from "../vocabulary.ts";
import type { Memory, Stamp } from "./messages.ts";

/** What a follower has forgotten, or never knew. */
type Unborn = {
  readonly life: number | undefined;
  /** The latest of our broadcasts when this life of it was first heard. */
  readonly sinceRound: number;
  /** It voted for us, and that is enough. */
  readonly isTrusted: boolean;
};

/** An append under way in mode "stream": entries in (prev, last]. */
type Flight = { readonly prev: Lsn; readonly last: Lsn; readonly bytes: number };

export class Progress {
  #mode: "probe" | "stream" | "snapshot" = "probe";
  /** Highest LSN the follower has told us is durable there. */
  #matchLsn: Lsn = lsn(0);
  /** Next LSN to send. In mode "stream" everything in (matchLsn, nextLsn) is on its way. */
  #nextLsn: Lsn;
  /** Mode "probe": an append was sent and not answered. */
  #isWaiting = false;
  /** `prev` of the latest append or heartbeat; the one whose refusal a probe waits for. */
  #askedLsn: Lsn = lsn(0);
  /** Unanswered appends, oldest first. */
  #flights: Flight[] = [];
  #flightBytes = 0;
  /** When the first of them left, or the latest answer to any of them came. */
  #movedMs = 0;
  /** When the follower was last heard in this term, by our clock. Starts with the belief: everyone gets a chance. */
  #heardMs: number;
  /** The latest of our broadcasts that it has answered: the proof for leases and read indexes. */
  #answered: Stamp = { round: 0, sentMs: Number.NEGATIVE_INFINITY };
  /** The commit mark it was last sent. */
  #toldCommittedLsn: Lsn = lsn(0);
  #unborn: Unborn | undefined;
  /** The life that the last append confirmed. */
  #toldLife: number | undefined;
  /** Removed by the latest membership; it is served until that is committed, so that it learns of it. */
  isLeaving = false;

  constructor(nextLsn: Lsn, nowMs: number) {
    this.#nextLsn = nextLsn;
    this.#heardMs = nowMs;
  }

  get mode(): "probe" | "stream" | "snapshot" {
    return this.#mode;
  }
  get matchLsn(): Lsn {
    return this.#matchLsn;
  }
  get nextLsn(): Lsn {
    return this.#nextLsn;
  }
  get heardMs(): number {
    return this.#heardMs;
  }
  get answered(): Stamp {
    return this.#answered;
  }
  get toldCommittedLsn(): Lsn {
    return this.#toldCommittedLsn;
  }
  get toldLife(): number | undefined {
    return this.#toldLife;
  }
  get unborn(): Unborn | undefined {
    return this.#unborn;
  }
  /** Whether what it answers counts towards commits, leases and reads: it must not have promised that to others. */
  get isCounted(): boolean {
    return this.#unborn === undefined || this.#unborn.isTrusted;
  }

  /** Whether entries may be sent now. */
  canSend(): boolean {
    if (this.#mode === "probe") return !this.#isWaiting;
    if (this.#mode === "snapshot") return false;
    return (
      this.#flights.length < limits.inFlightAppendsMax &&
      this.#flightBytes < limits.inFlightBytesMax
    );
  }

  /** Any append left, also an empty one. */
  onTold(prev: Lsn, committedLsn: Lsn, life?: number): void {
    this.#askedLsn = prev;
    this.#toldCommittedLsn = committedLsn;
    this.#toldLife = life;
  }

  /** Entries up to and excluding `to` left. */
  onSent(to: Lsn, bytes: number, nowMs: number): void {
    assert(this.canSend(), "an append left outside the window");
    assert(to > this.#nextLsn, "an append of nothing");
    if (this.#mode === "probe") {
      this.#isWaiting = true;
      return;
    }
    if (this.#flights.length === 0) this.#movedMs = nowMs;
    this.#flights.push({ prev: lsn(this.#nextLsn - 1), last: lsn(to - 1), bytes });
    this.#flightBytes += bytes;
    this.#nextLsn = to;
    this.#assertValid();
  }

  /** So much is in flight that it may well not have arrived yet. Small appends are asked for at once. */
  isAwaited(nowMs: number): boolean {
    if (this.#flightBytes <= limits.appendBytesMax) return false;
    return nowMs - this.#movedMs < this.#flightBytes / limits.slowBytesPerMs;
  }

  /** The follower answered a broadcast of ours. Answers may overtake each other. */
  onHeard(stamp: Stamp, nowMs: number): void {
    this.#heardMs = Math.max(this.#heardMs, nowMs);
    this.#answered = {
      round: Math.max(this.#answered.round, stamp.round),
      sentMs: Math.max(this.#answered.sentMs, stamp.sentMs),
    };
  }

  /** What an answer says of its sender's memory; `round` is our latest broadcast. */
  onMemory(
    { born, life, voted, stamp }: Memory & { readonly stamp: Stamp },
    round: number,
    trustsVotes: boolean,
  ): void {
    if (born) {
      // An answer of the life before comes late: it cannot be one to a broadcast since.
      const isLate = this.#unborn !== undefined && stamp.round <= this.#unborn.sinceRound;
      if (!isLate) this.#unborn = undefined;
    } else if (this.#unborn === undefined || this.#unborn.life !== life) {
      this.#unborn = { life, sinceRound: round, isTrusted: trustsVotes && voted === true };
    }
  }

  /** Everything up to `match` is durable there and equal to ours. True when that is news. */
  onMatched(match: Lsn): boolean {
    const isNews = match > this.#matchLsn;
    if (isNews) this.#matchLsn = match;
    if (this.#mode !== "stream") {
      // Also the way out of "snapshot": whoever matches has a log that ours reaches; if not, we find out at once.
      this.#become("stream", lsn(this.#matchLsn + 1));
      return isNews;
    }
    while (this.#flights.length > 0 && this.#flights[0]!.last <= match) {
      this.#flightBytes -= this.#flights.shift()!.bytes;
      this.#movedMs = this.#heardMs;
    }
    const oldest = this.#flights[0];
    if (oldest !== undefined && match > oldest.prev) {
      // It got a part of what the range named. The rest is not on its way.
      this.#become("stream", lsn(this.#matchLsn + 1));
    }
    if (this.#nextLsn <= this.#matchLsn) this.#nextLsn = lsn(this.#matchLsn + 1);
    this.#assertValid();
    return isNews;
  }

  /** The follower lacks `prev`; the logs may agree up to `agreed`, not beyond. */
  onRefused(prev: Lsn, agreed: Lsn): void {
    if (this.#mode === "snapshot") return;
    // A refusal of what has been matched since, or of a question that we no longer ask, is old news. Without this,
    // a window of refused appends would become as many probes.
    if (prev <= this.#matchLsn) return;
    if (this.#mode === "probe" && prev !== this.#askedLsn) return;
    const next = Math.max(this.#matchLsn + 1, Math.min(prev, agreed + 1));
    this.#become("probe", lsn(next));
  }

  /** The follower lost its disk: what it once matched, it no longer has. */
  forget(agreed: Lsn): void {
    this.#matchLsn = lsn(0);
    this.#become("probe", lsn(agreed + 1));
  }

  /** Its next entry is gone from our log. */
  becomeSnapshot(): void {
    this.#become("snapshot", this.#nextLsn);
  }

  /** Page sync brought it to `at`; undefined when that failed, and then it must speak first before we try again. */
  onSnapshot(at: Lsn | undefined): void {
    if (this.#mode !== "snapshot") return;
    this.#become("probe", at === undefined ? this.#nextLsn : lsn(Math.max(this.#matchLsn, at) + 1));
    this.#isWaiting = at === undefined;
  }

  /** It has been silent for long, or the way to it has broken: what was in flight is presumed lost. */
  presumeLost(): void {
    if (this.#mode !== "stream") return;
    this.#become("probe", lsn(this.#matchLsn + 1));
    this.#isWaiting = true;
  }

  #become(mode: "probe" | "stream" | "snapshot", nextLsn: Lsn): void {
    this.#mode = mode;
    this.#nextLsn = nextLsn;
    this.#isWaiting = false;
    this.#flights = [];
    this.#flightBytes = 0;
    this.#assertValid();
  }

  #assertValid(): void {
    assert(this.#matchLsn < this.#nextLsn, `match ${this.#matchLsn}, next ${this.#nextLsn}`);
    assert(this.#mode === "stream" || this.#flights.length === 0, "in flight outside of a stream");
    assert(this.#flights.length <= limits.inFlightAppendsMax, "window overrun");
  }
}
