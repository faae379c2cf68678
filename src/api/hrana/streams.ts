/**
 * The open streams of a node. A stream is what a connection is to other databases: it may have a transaction open
 * and SQL texts stored. Over HTTP it lives between requests under a baton.
 *
 * Invariants:
 *   1. A baton is good for one request. Every answer carries a new one; the sequence inside tells old from new.
 *   2. A stream is idle (has a baton out there) or busy (one request is using it), never used by two requests.
 *   3. A stream that ends has no transaction: `end` rolls back.
 *   4. An idle stream ends after streamIdleMs. Its transaction ends sooner, after transactionIdleMs, because it holds
 *      the only writer; the stream then remembers that it lost one (stream.ts).
 *
 * An ended stream is remembered for a while, so that whoever comes too late learns why. One that only was idle, and had
 * neither a transaction nor texts, goes on as if it had never ended: its baton says so, and what it keeps as a
 * connection. Pools of connections that do not know of expiry live by that.
 */

import { randomUUID } from "node:crypto";
import { assert } from "../../base/assert.ts";
import { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import { idleTooLong } from "../../node/write/transaction-errors.ts";
import type { NodeId } from "../../vocabulary.ts";
import { type Baton, BatonSeal } from "./baton.ts";
import type { TextBudget } from "./sql-texts.ts";
import { Stream } from "./stream.ts";

/** Why a stream ended. */
export type StreamEnd = "closed" | "idle" | "broken";

/** A baton of this node leads to a stream, or to the reason why there is none any more. */
export type Found =
  | { readonly type: "stream"; readonly stream: Stream }
  | { readonly type: "gone"; readonly error: ClientError };

export type StreamPorts = {
  readonly node: NodeId;
  readonly secret: string;
  readonly clock: Pick<Clock, "nowMs" | "every">;
  /** Rolls back. */
  closeSession(session: string): void;
};

type Tombstone = {
  readonly end: StreamEnd;
  /** Of its last baton. */
  readonly sequence: number;
  readonly untilMs: number;
};

/** How often idle streams are looked through. */
const sweepMs = 500;

export class Streams {
  readonly #ports: StreamPorts;
  readonly #seal: BatonSeal;
  readonly #streamById = new Map<string, Stream>();
  /** Oldest first. */
  readonly #tombstoneById = new Map<string, Tombstone>();
  readonly #budget: TextBudget = { usedChars: 0 };
  readonly #cancelSweep: () => void;

  constructor(ports: StreamPorts) {
    this.#ports = ports;
    this.#seal = new BatonSeal(ports.secret);
    this.#cancelSweep = ports.clock.every(sweepMs, () => this.#sweep());
  }

  get count(): number {
    return this.#streamById.size;
  }

  /** A new stream, busy. One that ends with its request needs no place here. */
  open(): Stream {
    return new Stream(randomUUID().replaceAll("-", ""), this.#budget);
  }

  /** The stream of a baton, busy from now on. Throws ClientError BATON_INVALID when the baton is not good here. */
  find(text: string): Found {
    const baton = this.#seal.open(text);
    if (baton === undefined) {
      throw new ClientError("BATON_INVALID", "the baton was not made by this cluster");
    }
    if (baton.node !== this.#ports.node) {
      throw new ClientError(
        "BATON_INVALID",
        `the stream of this baton is on node "${baton.node}", this is "${this.#ports.node}"; a load ` +
          "balancer must keep a client on one node while it has a transaction",
      );
    }
    const stream = this.#streamById.get(baton.streamId);
    if (stream === undefined) return this.#revived(baton) ?? this.#gone(baton);
    if (stream.busy || stream.sequence !== baton.sequence) {
      const text = stream.busyWithCursor
        ? "a cursor of this stream is still being read; read it to its end first"
        : "the baton was used before; each is good for one request";
      throw new ClientError("BATON_INVALID", text);
    }
    stream.busy = true;
    return { type: "stream", stream };
  }

  /**
   * Takes a place for a stream that is to outlive its request, before anything runs on it. Throws ClientError
   * OVERLOADED.
   */
  admit(stream: Stream): void {
    if (this.#streamById.has(stream.id)) return;
    if (this.#streamById.size >= limits.streamsMax) {
      throw new ClientError("OVERLOADED", `${limits.streamsMax} streams are open on this node`);
    }
    this.#streamById.set(stream.id, stream);
  }

  /** Makes a busy stream idle, and gives its next baton. */
  keep(stream: Stream): string {
    const baton = this.nextBaton(stream, stream.plain);
    this.rest(stream);
    return baton;
  }

  /** Makes a busy stream idle. */
  rest(stream: Stream): void {
    stream.busy = false;
    stream.busyWithCursor = false;
    stream.idleSinceMs = this.#ports.clock.nowMs();
  }

  /** The next baton of a busy stream. It is good when the stream is idle. `plain`: nothing is lost with the stream. */
  nextBaton(stream: Stream, plain: boolean): string {
    assert(
      stream.busy && this.#streamById.has(stream.id),
      "an admitted stream, used by its request",
    );
    stream.sequence = (stream.sequence + 1) >>> 0;
    const { id: streamId, sequence, connection } = stream;
    return this.#seal.seal({ streamId, sequence, node: this.#ports.node, plain, connection });
  }

  /** Ends a stream: its transaction is rolled back, its texts are dropped. Fine when it has ended already. */
  end(stream: Stream, why: StreamEnd): void {
    const known = this.#streamById.delete(stream.id);
    if (known) this.#bury(stream, why);
    stream.ended = true;
    this.#rollBack(stream);
    stream.texts.clear();
  }

  /** Ends everything. */
  close(): void {
    this.#cancelSweep();
    for (const stream of [...this.#streamById.values()]) this.end(stream, "closed");
  }

  #rollBack(stream: Stream): void {
    const { session } = stream;
    stream.session = undefined;
    if (session !== undefined) this.#ports.closeSession(session);
  }

  #sweep(): void {
    const nowMs = this.#ports.clock.nowMs();
    for (const stream of [...this.#streamById.values()]) {
      if (stream.busy) continue;
      const idleMs = nowMs - stream.idleSinceMs;
      if (idleMs >= limits.streamIdleMs) {
        this.end(stream, "idle");
      } else if (stream.session !== undefined && idleMs >= limits.transactionIdleMs) {
        this.#rollBack(stream);
        stream.lost = idleTooLong();
      }
    }
    for (const [id, tombstone] of this.#tombstoneById) {
      if (tombstone.untilMs > nowMs) break;
      this.#tombstoneById.delete(id);
    }
  }

  /** The stream of a baton that was given for a plain one, as it was. */
  #revived({ streamId, sequence, plain, connection }: Baton): Found | undefined {
    const tombstone = this.#tombstoneById.get(streamId);
    const isLast = tombstone === undefined || tombstone.sequence === sequence;
    if (!plain || !isLast || (tombstone?.end ?? "idle") !== "idle") return undefined;
    this.#tombstoneById.delete(streamId);
    const stream = new Stream(streamId, this.#budget);
    stream.sequence = sequence;
    stream.connection = connection;
    return { type: "stream", stream };
  }

  #gone(baton: Baton): Found {
    return { type: "gone", error: this.#whyGone(baton) };
  }

  #bury({ id, sequence }: Stream, end: StreamEnd): void {
    const untilMs = this.#ports.clock.nowMs() + limits.streamTombstoneMs;
    this.#tombstoneById.set(id, { end, sequence, untilMs });
    if (this.#tombstoneById.size <= limits.streamTombstonesMax) return;
    const oldest = this.#tombstoneById.keys().next().value;
    if (oldest !== undefined) this.#tombstoneById.delete(oldest);
  }

  #whyGone(baton: Baton): ClientError {
    switch (this.#tombstoneById.get(baton.streamId)?.end) {
      case "closed":
        return new ClientError("BATON_INVALID", "the stream was closed");
      case "broken":
        return new ClientError("BATON_INVALID", "the stream was closed after a failed request");
      case "idle":
        return new ClientError(
          "STREAM_EXPIRED",
          `the stream has expired: no request came for ${limits.streamIdleMs} ms`,
        );
      default:
        return new ClientError("STREAM_EXPIRED", "the node was restarted, or the stream expired");
    }
  }
}
