/**
 * A token bucket: so many bytes per second, with a tenth of a second's worth saved up at most.
 */

import type { Clock } from "../host/clock.ts";

export class Throttle {
  readonly #clock: Clock;
  #bytesPerSecond: number;
  /** Bytes that may go at once. Negative while a debt is waited off. */
  #tokens = 0;
  #filledMs: number;

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
    this.#filledMs = clock.nowMs();
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  double(): void {
    this.#fill();
    this.#bytesPerSecond *= 2;
  }

  /** Resolves when these bytes may go. One call at a time. */
  async take(bytes: number): Promise<void> {
    this.#fill();
    this.#tokens -= bytes;
    if (this.#tokens >= 0) return;
    const waitMs = (-this.#tokens * 1000) / this.#bytesPerSecond;
    // A timer is no finer than a millisecond; shorter debts are carried on.
    if (waitMs < 1) return;
    await new Promise<void>((resolve) => {
      this.#clock.after(waitMs, resolve);
    });
  }

  #fill(): void {
    const nowMs = this.#clock.nowMs();
    this.#tokens += ((nowMs - this.#filledMs) * this.#bytesPerSecond) / 1000;
    this.#tokens = Math.min(this.#tokens, this.#bytesPerSecond / 10);
    this.#filledMs = nowMs;
  }
}
