/**
 * A sum of bytes that large requests share. Whoever wants more than is left waits in line, for a bounded time.
 *
 * Not here: small requests. They take nothing and never wait, so large ones cannot starve them.
 */

import { ClientError } from "../../base/errors.ts";

type Waiting = { readonly bytes: number; admit(): void };

export class ByteBudget {
  readonly #max: number;
  readonly #waitMs: number;
  #used = 0;
  /** First come, first served: a very large request gets its turn as well. */
  #line: Waiting[] = [];

  constructor(max: number, waitMs: number) {
    this.#max = max;
    this.#waitMs = waitMs;
  }

  get used(): number {
    return this.#used;
  }

  /**
   * Takes `bytes`; what is returned gives them back, once. Throws ClientError OVERLOADED when they were not to be had
   * in time, or BAD_REQUEST when the client hung up.
   */
  async take(bytes: number, what: string, signal: AbortSignal): Promise<() => void> {
    if (this.#line.length > 0 || this.#used + bytes > this.#max) {
      await this.#turn(bytes, what, signal);
    }
    this.#used += bytes;
    let isGiven = false;
    return () => {
      if (isGiven) return;
      isGiven = true;
      this.#used -= bytes;
      this.#next();
    };
  }

  /** Resolves when it is this one's turn. */
  #turn(bytes: number, what: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        this.#line = this.#line.filter((each) => each !== waiting);
      };
      const fail = (error: unknown) => {
        leave();
        reject(error);
        this.#next();
      };
      const onAbort = () => fail(new ClientError("BAD_REQUEST", "the client hung up"));
      const timer = setTimeout(() => {
        const text = `${what} under way have more than ${this.#max} bytes; repeat it after a pause`;
        fail(new ClientError("OVERLOADED", text));
      }, this.#waitMs);
      signal.addEventListener("abort", onAbort, { once: true });
      const admit = () => {
        leave();
        resolve();
      };
      const waiting: Waiting = { bytes, admit };
      this.#line.push(waiting);
    });
  }

  #next(): void {
    let free = this.#max - this.#used;
    for (const { bytes, admit } of [...this.#line]) {
      // Alone, anything goes: a request within its own limit is never larger than it may be.
      if (bytes > free && this.#used > 0) return;
      free -= bytes;
      admit();
    }
  }
}
