/**
 * Requests that wait for the writer, first come, first served. Bounded; a request that waits too long or whose client
 * has gone leaves without having been started, and is told so in a way that makes it safe to repeat.
 */

import { ClientError } from "../../base/errors.ts";
import type { Unit } from "../../db/sql/request.ts";
import { limits } from "../../limits.ts";
import type { NodeId } from "../../vocabulary.ts";
import type { RunAnswer } from "../route/run.ts";
import type { Ack } from "../rule/ack.ts";

/** One unit on its way. */
export type WriteItem = {
  readonly unit: Unit;
  /** The open transaction it belongs to. */
  readonly session: string | undefined;
  /** The node it came through, when that is another one. */
  readonly origin: NodeId | undefined;
  /** More copies than the commit rule asks for, before it is answered. */
  readonly ack: Ack | undefined;
  /** Rough size, for the bound on a batch. */
  readonly bytes: number;
  /** Monotonic time at which it is refused if it has not been started. */
  readonly startByMs: number;
  readonly signal: AbortSignal | undefined;
  /** How often a writer died under it. */
  attempts: number;
  /** Must not share a batch: its pages were too many in company. */
  alone: boolean;
  readonly resolve: (answer: RunAnswer) => void;
  readonly reject: (error: Error) => void;
};

export class WriteQueue {
  #items: WriteItem[] = [];
  /** What to say to a unit whose transaction is open no more. */
  readonly #whyEnded: (session: string) => ClientError;

  constructor(whyEnded: (session: string) => ClientError) {
    this.#whyEnded = whyEnded;
  }

  get length(): number {
    return this.#items.length;
  }

  /** Throws ClientError OVERLOADED when full. */
  push(item: WriteItem): void {
    if (this.#items.length >= limits.writeQueueMax) {
      throw new ClientError(
        "OVERLOADED",
        `${limits.writeQueueMax} requests wait for the writer already; slow down and repeat`,
      );
    }
    this.#items.push(item);
  }

  /** Puts units that were not carried out back to the front, in their order. */
  putBack(items: readonly WriteItem[]): void {
    this.#items = [...items, ...this.#items];
  }

  /** The next group commit: as many waiting units as its bounds allow. */
  takeBatch(): WriteItem[] {
    let bytes = 0;
    let count = 0;
    const batch: WriteItem[] = [];
    for (const item of this.#items) {
      const full =
        batch.length >= limits.batchUnitsMax || bytes + item.bytes > limits.batchBytesMax;
      if (batch.length > 0 && (full || item.alone || batch[0]!.alone)) break;
      count++;
      if (item.session !== undefined) item.reject(this.#whyEnded(item.session));
      else if (item.signal?.aborted === true) item.reject(clientGone());
      else {
        batch.push(item);
        bytes += item.bytes;
      }
    }
    this.#items.splice(0, count);
    return batch;
  }

  /** The next unit of the open transaction `session`. */
  takeOf(session: string): WriteItem | undefined {
    const at = this.#items.findIndex((item) => item.session === session);
    return at < 0 ? undefined : this.#items.splice(at, 1)[0];
  }

  /** Refuses those that have waited too long. */
  sweep(nowMs: number): void {
    if (!this.#items.some((item) => item.startByMs <= nowMs)) return;
    const late = this.#items.filter((item) => item.startByMs <= nowMs);
    this.#items = this.#items.filter((item) => item.startByMs > nowMs);
    for (const item of late) {
      item.reject(
        new ClientError(
          "OVERLOADED",
          "the writer did not get to this request in time " +
            `(requestWaitMs, ${limits.requestWaitMs} ms, or the client's paceline-deadline-ms); ` +
            "nothing was done, repeat it",
        ),
      );
    }
  }

  /** Refuses all. Nothing of them was started. */
  clear(error: Error): void {
    for (const item of this.#items.splice(0)) {
      item.reject(item.session === undefined ? error : this.#whyEnded(item.session));
    }
  }
}

function clientGone(): ClientError {
  return new ClientError("OVERLOADED", "the client went away before the request was started");
}
