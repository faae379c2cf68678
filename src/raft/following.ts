/**
 * The follower's side: taking a leader's entries [Raft §5.3], knowing whether a leader is alive, and asking it for
 * read indexes.
 *
 * Quiet. While a leader may still be alive, votes are refused and their terms ignored ("leader stickiness"): a node
 * that was cut off cannot depose a leader that everyone else hears [Raft thesis §4.2.3], and a leader may trust its
 * lease, because a majority is quiet for longer than the lease lasts [§6.4.1]. Quiet ends `electionTimeoutMin` after
 * the last append, or already `leaseOver` after it when the link to the leader broke: then only the lease matters. A
 * node that starts is quiet for `leaseOver`, because it forgot whom it has heard.
 *
 * Not here: the leader's side (replication.ts), elections (election.ts).
 */

import { assert } from "../base/assert.ts";
import { type Entry, type EntryId, type Lsn, lsn, type NodeId, type Term } from "../vocabulary.ts";
import type { Core } from "./core.ts";
import { decodeMembership } from "./membership.ts";
import type { Message, Stamp } from "./messages.ts";
import { decodeSettings } from "./rule/settings.ts";

type Append = Extract<Message, { type: "append" }>;

export class Following {
  readonly #core: Core;
  /** Until then a leader may be alive. */
  #quietUntilMs: number;
  /** When the leader was last heard; with `#quietUntilMs` the only memory of a leader that is gone. */
  #heardMs: number;
  /** The latest stamp of the leader of `term`. */
  #latest: { readonly term: Term; readonly stamp: Stamp } | undefined;
  /** Up to where we told the leader of that term that our log is durable and equal to its own. */
  #promise: EntryId | undefined;
  /** Up to where our log was seen to be equal with the log of the leader of that term, whatever follows here. */
  #agreed: EntryId | undefined;
  /** Read indexes asked of the leader and not answered: when, by id. Oldest first. */
  readonly #askedMsById = new Map<number, number>();

  constructor(core: Core) {
    this.#core = core;
    this.#heardMs = core.nowMs;
    this.#quietUntilMs = core.nowMs + core.timing.leaseOverMs;
  }

  /** Whether a leader may still be alive, so that votes must be refused. */
  isQuiet(): boolean {
    return this.#core.nowMs < this.#quietUntilMs;
  }

  /** The link to the leader broke. Returns when its lease is surely over. */
  onLinkLost(): number {
    const leaseOverMs = this.#heardMs + this.#core.timing.leaseOverMs;
    this.#quietUntilMs = Math.min(this.#quietUntilMs, leaseOverMs);
    return leaseOverMs;
  }

  /** An append of the leader of our term. Its entries are already in the caller's hands. */
  onAppend(from: NodeId, append: Append, entries: readonly Entry[]): void {
    const core = this.#core;
    assert(core.leader === from && core.role === "follower", "an append from someone else");
    this.#hear(append.stamp);
    // Entries that do not follow each other are a peer's fault. The message is as good as lost.
    if (!isRun(append, entries, core.term)) return;
    const matched = this.#take(append, entries);
    const common = { stamp: append.stamp, ...core.memory };
    if (matched === undefined) {
      const { prev } = append;
      const { log } = core;
      const hint = log.highestWithin(prev.lsn, prev.term) ?? log.base;
      const floor = log.base.lsn > log.safeLsn ? { floor: idOf(log.base) } : {};
      core.send(from, {
        type: "append-refused",
        prevLsn: prev.lsn,
        hint: idOf(hint),
        ...floor,
        ...common,
      });
      return;
    }
    this.#promise = { term: core.term, lsn: matched };
    // "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)" [Raft Figure 2].
    // Beyond the last entry that this very append has shown to match, our log may be someone else's.
    const safe = Math.min(append.safeLsn ?? append.committedLsn, matched);
    if (safe > core.log.safeLsn) core.log.safeTo(lsn(safe));
    const committed = Math.min(append.committedLsn, matched);
    if (committed > core.log.committedLsn) core.log.commitTo(lsn(committed));
    this.#checkBirth(append, matched);
    core.send(from, { type: "appended", matchLsn: matched, ...common });
  }

  /** Up to where the leader of our term may count on our log. */
  get promisedLsn(): Lsn {
    return this.#promise?.term === this.#core.term ? this.#promise.lsn : lsn(0);
  }

  /** Up to where the log was seen to be that of the leader of `term`, durable or not. */
  agreedLsn(term: Term): Lsn {
    return this.#agreed?.term === term ? this.#agreed.lsn : lsn(0);
  }

  /** Tells the leader where page sync has brought us, as far as it can still use that. */
  onInstalled(): void {
    const { core, stamp } = { core: this.#core, stamp: this.#stampOfTerm() };
    if (core.leader === undefined || stamp === undefined) return;
    const matchLsn = core.log.base.lsn;
    // By a weak rule this leader may not have what another one's pages had.
    if (matchLsn > core.log.safeLsn) return;
    core.send(core.leader, { type: "appended", matchLsn, stamp, ...core.memory });
  }

  /**
   * Whether an order to stand for election still holds. The leader may have given up on the transfer and trust its
   * lease again; it does that only once we have answered a later round, so we must not obey an earlier order then.
   */
  mayObey(from: NodeId, round: number): boolean {
    const stamp = this.#stampOfTerm();
    return this.#core.leader === from && stamp !== undefined && round >= stamp.round;
  }

  /** Passes a read index on to the leader. */
  askRead(id: number): void {
    const { leader, nowMs } = this.#core;
    assert(leader !== undefined && leader !== this.#core.id, "no one to ask");
    this.#askedMsById.set(id, nowMs);
    this.#core.sendNow(leader, { type: "read", id });
  }

  onReadReply(id: number, at: Lsn | undefined): void {
    if (!this.#askedMsById.delete(id)) return;
    this.#core.answer({ from: this.#core.id, id }, this.#isOfAnotherTime() ? undefined : at);
  }

  /**
   * By a weak rule, what is applied here may be what the leader's cluster has lost, and LSNs then compare nothing. Only
   * until the leader's next append: either it shows that the logs are equal, or ours gives way.
   */
  #isOfAnotherTime(): boolean {
    const { log, term } = this.#core;
    return log.committedLsn > log.safeLsn && log.committedLsn > this.agreedLsn(term);
  }

  /** Refuses reads whose question or answer must have been lost. */
  refuseOldReads(): void {
    const oldest = this.#core.nowMs - this.#core.timing.electionTimeoutMaxMs;
    for (const [id, askedMs] of this.#askedMsById) {
      if (askedMs > oldest) return;
      this.onReadReply(id, undefined);
    }
  }

  /** The leader is gone, and with it the answers. */
  refuseReads(): void {
    for (const id of this.#askedMsById.keys()) this.onReadReply(id, undefined);
  }

  #hear(stamp: Stamp): void {
    const { nowMs, timing, term } = this.#core;
    this.#heardMs = nowMs;
    this.#quietUntilMs = nowMs + timing.electionTimeoutMinMs;
    const known = this.#stampOfTerm();
    if (known === undefined || stamp.round >= known.round) this.#latest = { term, stamp };
  }

  #stampOfTerm(): Stamp | undefined {
    return this.#latest?.term === this.#core.term ? this.#latest.stamp : undefined;
  }

  /** Brings our log into line. Returns up to where it now equals the leader's, or undefined when that is not known. */
  #take(append: Append, entries: readonly Entry[]): Lsn | undefined {
    const { log } = this.#core;
    const { prev } = append;
    const here = log.termAt(prev.lsn);
    // Up to the safe mark the logs agree, whatever the append says of it: a leader holds everything that is safe
    // [Raft §5.4.3, Leader Completeness], and the entries before it are equal too [§5.3, Log Matching].
    const isSafe = prev.lsn <= log.safeLsn;
    if (isSafe) assert(here === undefined || here === prev.term, "a committed entry changed");
    let matched: Lsn = isSafe ? log.safeLsn : prev.lsn;
    if (prev.lsn < log.base.lsn && log.safeLsn < log.base.lsn) {
      // What the log begins after is not known to be safe, so that it must be seen to be the same.
      if (!entries.some((entry) => isSame(entry, log.base))) return undefined;
      matched = log.base.lsn;
    } else if (!isSafe && here !== prev.term) return undefined;
    this.#agreeTo(matched);
    for (const entry of entries) {
      const term = log.termAt(entry.lsn);
      if (entry.lsn <= log.safeLsn || entry.lsn <= log.base.lsn) {
        assert(term === undefined || term === entry.term, "a committed entry changed");
        continue;
      }
      // "If an existing entry conflicts with a new one (same index but different terms), delete the existing entry
      // and all that follow it" [Raft Figure 2]. Only then: a doubled or overtaken append that ends before our log
      // does must not cost us entries that we have promised to hold.
      if (term === undefined) log.append(entry);
      else if (term !== entry.term) {
        // What a weak rule committed may have been acknowledged: it is kept before it gives way. Until then this
        // append is as good as lost, and comes again.
        if (log.isKept(entry.lsn)) {
          this.#core.askToKeep(entry.lsn);
          return undefined;
        }
        log.replaceFrom(entry);
      }
      matched = entry.lsn;
      this.#agreeTo(matched);
    }
    return matched;
  }

  #agreeTo(matched: Lsn): void {
    const { term } = this.#core;
    if (matched > this.agreedLsn(term)) this.#agreed = { lsn: matched, term };
  }

  #checkBirth(append: Append, matched: Lsn): void {
    if (!this.#core.isConfirmed(append)) return;
    const { log, term, isManual } = this.#core;
    // Under a manual coordinator only what everybody has is safe, and somebody may be away for long. Whoever was
    // promoted has what was acknowledged before, and that is what counts.
    const proof = isManual ? append.committedLsn : (append.safeLsn ?? append.committedLsn);
    if (proof <= matched && log.termAt(proof) === term) {
      this.#core.expectBirth({ lsn: proof, term });
    }
  }
}

function idOf({ lsn, term }: EntryId): EntryId {
  return { lsn, term };
}

function isSame(a: EntryId, b: EntryId): boolean {
  return a.lsn === b.lsn && a.term === b.term;
}

/** Whether the entries are consecutive after `prev`, and of terms that the sender can know. */
function isRun(append: Append, entries: readonly Entry[], termMax: Term): boolean {
  let { lsn: at, term } = append.prev;
  for (const entry of entries) {
    if (entry.lsn !== at + 1 || entry.term < term || entry.term > termMax) return false;
    if (entry.kind === "membership" && !decodes(decodeMembership, entry.body)) return false;
    if (entry.kind === "settings" && !decodes(decodeSettings, entry.body)) return false;
    at = entry.lsn;
    term = entry.term;
  }
  return true;
}

function decodes(decode: (body: Uint8Array) => unknown, body: Uint8Array): boolean {
  try {
    decode(body);
    return true;
  } catch {
    return false;
  }
}
