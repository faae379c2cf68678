/**
 * Waiting for a position. Requests that need an LSN to be applied here wait in one list, ordered by LSN, and are
 * woken when it is; a request that has waited too long is told so.
 *
 * Invariant: every promise given out settles, by reaching its LSN, by its deadline, by its signal or by `failAll`.
 */

import { ClientError } from "../base/errors.ts";
import type { Clock } from "../host/clock.ts";
import type { Lsn } from "../vocabulary.ts";

type Waiter = {
  readonly lsn: Lsn;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly cancelTimer: () => void;
};

export class Waiters {
  readonly #clock: Clock;
  /** The highest LSN reached. Falls only by `rewindTo`. */
  #reached: Lsn;
  /** Those still waiting, in order of LSN. */
  #waiting: Waiter[] = [];

  constructor(clock: Clock, reached: Lsn) {
    this.#clock = clock;
    this.#reached = reached;
  }

  get reached(): Lsn {
    return this.#reached;
  }

  /** Resolves once `lsn` is reached. Throws ClientError TOO_STALE after `timeoutMs`. */
  wait(lsn: Lsn, timeoutMs: number): Promise<void> {
    if (lsn <= this.#reached) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const cancelTimer = this.#clock.after(timeoutMs, () => {
        this.#waiting = this.#waiting.filter((w) => w !== waiter);
        reject(
          new ClientError(
            "TOO_STALE",
            `this node has applied up to ${this.#reached}, the request needs ${lsn}; ` +
              "ask another node, or repeat the request",
          ),
        );
      });
      const waiter: Waiter = { lsn, resolve, reject, cancelTimer };
      let at = this.#waiting.length;
      while (at > 0 && this.#waiting[at - 1]!.lsn > lsn) at--;
      this.#waiting.splice(at, 0, waiter);
    });
  }

  /** Everything up to `lsn` is there. */
  reach(lsn: Lsn): void {
    if (lsn <= this.#reached) return;
    this.#reached = lsn;
    let done = 0;
    while (done < this.#waiting.length && this.#waiting[done]!.lsn <= lsn) done++;
    for (const waiter of this.#waiting.splice(0, done)) {
      waiter.cancelTimer();
      waiter.resolve();
    }
  }

  /** What was reached from `from` on was lost by the cluster, and other entries come in its place. */
  rewindTo(from: Lsn): void {
    this.#reached = Math.min(this.#reached, from - 1) as Lsn;
  }

  failAll(error: Error): void {
    for (const waiter of this.#waiting.splice(0)) {
      waiter.cancelTimer();
      waiter.reject(error);
    }
  }
}
