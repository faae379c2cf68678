/**
 * Nodes that follow this one: the lower part of a tree. Each gets the committed entries of this node's log, as a member
 * gets the leader's, and does not count towards anything. So the leader's work does not grow with the tree below.
 *
 *   registered   by the child, over HTTP, again and again (tree/upstream.ts); one that falls silent is forgotten
 *   fed          appends of committed entries, in the same envelopes and with the same progress as between members
 *   asked for    read indexes, which this node asks of whoever it follows itself; page syncs
 *
 * Only what is committed and on this node's disk goes down, so nothing of it is ever taken back while the commit rule
 * is one that loses nothing.
 *
 * Not here: the connection's other end (tree/upstream.ts), who dials whom (tree/tree.ts).
 */

import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import { decodeEnvelope, type Envelope, type Message } from "../../raft/messages.ts";
import { Progress } from "../../raft/progress.ts";
import {
  type EntryId,
  type Lsn,
  lsn,
  type Member,
  type NodeId,
  type Term,
} from "../../vocabulary.ts";

/** What a relay needs of the log. */
export type RelayLog = {
  readonly base: EntryId;
  readonly last: EntryId;
  termAt(at: Lsn): Term | undefined;
  bytesAfter(at: Lsn): number;
};

export type RelayPorts = {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly log: RelayLog;
  term(): Term;
  committedLsn(): Lsn;
  /** Sends, with the entries of the range filled in. */
  send(envelope: Envelope): void;
  /** "Fetch pages from me." */
  wantPageSync(child: NodeId): void;
  readIndex(): Promise<Lsn>;
};

type Child = {
  readonly member: Member;
  readonly progress: Progress;
  /** Forgotten then, unless it registers again. */
  untilMs: number;
};

/** A child registers every second. */
export const leaseMs = 5_000;
/** Entries in one append when a child catches up; the outbox cuts it to size. */
const appendEntriesMax = 512;

export class Relay {
  readonly #ports: RelayPorts;
  readonly #childById = new Map<NodeId, Child>();
  #round = 0;
  #beatMs = 0;
  /** When children that need pages were last told. */
  #toldMs = 0;

  constructor(ports: RelayPorts) {
    this.#ports = ports;
  }

  has(id: NodeId): boolean {
    return this.#childById.has(id);
  }

  member(id: NodeId): Member | undefined {
    return this.#childById.get(id)?.member;
  }

  /** The children, as links need them. */
  members(): readonly Member[] {
    return [...this.#childById.values()].map((child) => child.member);
  }

  /** The lowest LSN that a child has; the log should keep what comes after. Undefined without children. */
  neededFrom(): Lsn | undefined {
    const matched = [...this.#childById.values()].map((child) => child.progress.matchLsn);
    return matched.length === 0 ? undefined : lsn(Math.min(...matched));
  }

  /** True when the child is new here, or has moved. */
  register(id: NodeId, address: string): boolean {
    const untilMs = this.#ports.clock.nowMs() + leaseMs;
    const known = this.#childById.get(id);
    if (known?.member.address === address) {
      known.untilMs = untilMs;
      return false;
    }
    const next = lsn(this.#committed() + 1);
    this.#childById.set(id, {
      member: { id, kind: "learner", address },
      progress: new Progress(next, this.#ports.clock.nowMs()),
      untilMs,
    });
    return true;
  }

  /** What was in flight to a child is lost. */
  entriesLost(id: NodeId): void {
    this.#childById.get(id)?.progress.presumeLost();
  }

  /** Heartbeats, and forgetting. Returns children that were forgotten. */
  tick(): readonly NodeId[] {
    const nowMs = this.#ports.clock.nowMs();
    const gone: NodeId[] = [];
    for (const [id, child] of this.#childById) {
      if (nowMs <= child.untilMs) continue;
      this.#childById.delete(id);
      gone.push(id);
    }
    if (nowMs - this.#beatMs >= limits.heartbeatMs) {
      this.#beatMs = nowMs;
      this.#round += 1;
      for (const [id, { progress }] of this.#childById) {
        if (nowMs - progress.heardMs >= limits.electionTimeoutMaxMs) progress.presumeLost();
        if (!this.#feed(id, progress)) this.#append(id, progress, undefined);
      }
    }
    // The word may have been lost; whoever is at it already does not mind.
    if (nowMs - this.#toldMs >= 1_000) {
      this.#toldMs = nowMs;
      for (const [id, { progress }] of this.#childById) {
        if (progress.mode === "snapshot") this.#ports.wantPageSync(id);
      }
    }
    return gone;
  }

  /** More is committed. */
  onCommitted(): void {
    for (const [id, { progress }] of this.#childById) {
      const isFed = this.#feed(id, progress);
      const isNews = progress.mode === "stream" && progress.toldCommittedLsn < this.#committed();
      if (!isFed && isNews) this.#append(id, progress, undefined);
    }
  }

  /** A message of a child. Throws ProtocolError when it is none. */
  onMessage(from: NodeId, value: unknown): void {
    const { message } = decodeEnvelope(value);
    const progress = this.#childById.get(from)?.progress;
    if (progress === undefined) return;
    if (message.type === "read") this.#answerRead(from, message.id);
    else if (message.type === "appended") this.#onAppended(progress, message);
    else if (message.type === "append-refused") this.#onRefused(progress, message);
    else return;
    this.#feed(from, progress);
  }

  /** A page sync to a child has ended; where its log goes on, or undefined when it was given up. */
  pageSyncEnded(from: NodeId, at: Lsn | undefined): void {
    const progress = this.#childById.get(from)?.progress;
    progress?.onSnapshot(at);
  }

  #onAppended(progress: Progress, message: Extract<Message, { type: "appended" }>): void {
    const { log, clock } = this.#ports;
    progress.onHeard(message.stamp, clock.nowMs());
    // One that followed another node may have more than this one; it has to wait until this one knows it too.
    if (message.matchLsn > log.last.lsn) return;
    if (progress.mode === "snapshot" && message.matchLsn < log.base.lsn) return;
    progress.onMatched(message.matchLsn);
  }

  #onRefused(progress: Progress, message: Extract<Message, { type: "append-refused" }>): void {
    progress.onHeard(message.stamp, this.#ports.clock.nowMs());
    const { prevLsn, hint } = message;
    if (hint.lsn < progress.matchLsn) progress.forget(hint.lsn);
    else progress.onRefused(prevLsn, hint.lsn);
  }

  #committed(): Lsn {
    const { log } = this.#ports;
    return lsn(Math.min(this.#ports.committedLsn(), log.last.lsn));
  }

  /** Sends as much as the window allows. True when something left. */
  #feed(id: NodeId, progress: Progress): boolean {
    const { log } = this.#ports;
    const end = this.#committed();
    let isFed = false;
    while (progress.canSend() && progress.nextLsn <= end) {
      if (progress.nextLsn <= log.base.lsn) {
        progress.becomeSnapshot();
        this.#ports.wantPageSync(id);
        break;
      }
      const from = progress.nextLsn;
      const to = lsn(Math.min(from + appendEntriesMax, end + 1));
      const bytes = log.bytesAfter(lsn(from - 1)) - log.bytesAfter(lsn(to - 1));
      const isProbe = progress.mode === "probe" && bytes > limits.appendBytesMax;
      this.#append(id, progress, isProbe ? undefined : to);
      progress.onSent(to, Math.max(1, bytes), this.#ports.clock.nowMs());
      isFed = true;
    }
    return isFed;
  }

  #append(to: NodeId, progress: Progress, end: Lsn | undefined): void {
    const { log, self, clock } = this.#ports;
    // As a leader's heartbeats (raft/replication.ts, `sendAppend`).
    const isAwaited = end === undefined && progress.isAwaited(clock.nowMs());
    const asked = isAwaited ? progress.matchLsn + 1 : progress.nextLsn;
    const prevLsn =
      progress.mode === "snapshot"
        ? log.base.lsn
        : lsn(Math.min(Math.max(asked - 1, log.base.lsn), log.last.lsn));
    const prevTerm = log.termAt(prevLsn);
    if (prevTerm === undefined) return;
    const committedLsn = this.#committed();
    const from = lsn(prevLsn + 1);
    this.#ports.send({
      ...{ from: self, to, term: this.#ports.term() },
      message: {
        type: "append",
        prev: { lsn: prevLsn, term: prevTerm },
        range: { from, to: end ?? from },
        committedLsn,
        stamp: { round: this.#round, sentMs: clock.nowMs() },
      },
    });
    progress.onTold(prevLsn, committedLsn);
  }

  #answerRead(to: NodeId, id: number): void {
    const answer = (at: Lsn | undefined) =>
      this.#ports.send({
        ...{ from: this.#ports.self, to, term: this.#ports.term() },
        message: { type: "read-reply", id, lsn: at },
      });
    this.#ports.readIndex().then(answer, () => answer(undefined));
  }
}
