/**
 * What leaves the core: envelopes, with the entries of their ranges filled in.
 *
 * The core names ranges and never holds entries. Most are in the round at hand or in the log's cache; a follower that
 * is far behind has them read from disk, and then its messages queue behind that read, so that they stay in order.
 *
 * What is read is bounded in bytes. A range of which only a part can be had leaves as that part: the answer tells the
 * core how much it was. One of which nothing can be had is dropped: the core will find out and ask for a page sync.
 */

import { CorruptionError, messageOf, StorageError } from "../base/errors.ts";
import { limits } from "../limits.ts";
import type { Envelope } from "../raft/messages.ts";
import type { Entry, Lsn, NodeId } from "../vocabulary.ts";

/** Where entries come from: the replication log. */
export type EntrySource = {
  cached(from: Lsn, to: Lsn, bytesMax: number): readonly Entry[] | undefined;
  read(from: Lsn, to: Lsn, bytesMax: number): Promise<readonly Entry[]>;
};

/** Where envelopes go: the links. Never blocks. */
export type Send = (envelope: Envelope, entries: readonly Entry[]) => void;

export class Outbox {
  readonly #source: EntrySource;
  readonly #send: Send;
  readonly #onProblem: (line: string) => void;
  readonly #failed: (error: Error) => void;
  /** Followers whose messages wait for a read from disk, with the last of the queue. */
  readonly #queueByNode = new Map<NodeId, Promise<void>>();

  /** `failed`: the log cannot be read, and never will be by this process. */
  constructor(
    source: EntrySource,
    send: Send,
    events: { onProblem: (line: string) => void; failed: (error: Error) => void },
  ) {
    this.#source = source;
    this.#send = send;
    this.#onProblem = events.onProblem;
    this.#failed = events.failed;
  }

  /** `fresh` are the entries of the round, which may not be in the log yet. */
  send(envelopes: readonly Envelope[], fresh: readonly Entry[]): void {
    for (const envelope of envelopes) {
      const { message } = envelope;
      if (message.type !== "append" || message.range.from >= message.range.to) {
        // No entries: free to overtake, as heartbeats must.
        this.#send(envelope, []);
        continue;
      }
      const { from, to } = message.range;
      const entries = this.#queueByNode.has(envelope.to)
        ? undefined
        : this.#atHand(from, to, fresh);
      if (entries !== undefined) this.#send(envelope, entries);
      else this.#enqueue(envelope, from, to);
    }
  }

  #atHand(from: Lsn, to: Lsn, fresh: readonly Entry[]): readonly Entry[] | undefined {
    const first = fresh[0]?.lsn;
    if (first !== undefined && from >= first) return fresh.slice(from - first, to - first);
    const boundary = first !== undefined && first < to ? first : to;
    const cached = this.#source.cached(from, boundary, limits.peerFrameBytesMax);
    if (cached === undefined || cached.length !== boundary - from) return undefined;
    return boundary === to ? cached : [...cached, ...fresh.slice(0, to - boundary)];
  }

  #enqueue(envelope: Envelope, from: Lsn, to: Lsn): void {
    const before = this.#queueByNode.get(envelope.to) ?? Promise.resolve();
    const after = before
      .then(() => this.#read(from, to))
      .then((entries) => {
        if (entries.length > 0) this.#send(withEntries(envelope, entries), entries);
      })
      .catch((error: unknown) => {
        // A leader that cannot read its log would keep the lead, and its followers would wait for ever.
        if (error instanceof StorageError || error instanceof CorruptionError) this.#failed(error);
        this.#onProblem(`entries ${from} to ${to - 1} for ${envelope.to}: ${messageOf(error)}`);
      })
      .finally(() => {
        if (this.#queueByNode.get(envelope.to) === after) this.#queueByNode.delete(envelope.to);
      });
    this.#queueByNode.set(envelope.to, after);
  }

  /** One read ends where a segment of the log does; a range need not. */
  async #read(from: Lsn, to: Lsn): Promise<readonly Entry[]> {
    const entries: Entry[] = [];
    let bytesLeft: number = limits.appendBytesMax;
    while (from + entries.length < to && bytesLeft > 0) {
      const at = (from + entries.length) as Lsn;
      const more = await this.#source.read(at, to, bytesLeft);
      if (more.length === 0) break;
      entries.push(...more);
      for (const { body } of more) bytesLeft -= body.byteLength;
    }
    return entries;
  }
}

/** The append with the range that the entries fill: all of its own, or its beginning. */
function withEntries(envelope: Envelope, entries: readonly Entry[]): Envelope {
  const { message } = envelope;
  if (message.type !== "append") return envelope;
  const { from } = message.range;
  const range = { from, to: (from + entries.length) as Lsn };
  return { ...envelope, message: { ...message, range } };
}
