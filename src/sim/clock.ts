/**
 * The simulated twin of host/clock.ts: the clock of one process, on virtual time. It has a zero and a speed of its
 * own, its timers are late as on a busy machine, and they stop when the process is stopped.
 */

import type { Prng } from "../base/prng.ts";
import type { Cancel, Clock } from "../host/clock.ts";
import type { Life, Scheduler } from "./scheduler.ts";

export type ClockTraits = {
  /** Milliseconds of this clock per millisecond of the world. */
  readonly rate: number;
  /** Timers are late by up to so many milliseconds. */
  readonly latenessMs: number;
  /** Of the wall clock, against the world. */
  readonly wallSkewMs: number;
};

/** The world begins here, by the wall. */
const epochMs = 1_700_000_000_000;

export class SimClock implements Clock {
  readonly #scheduler: Scheduler;
  readonly #life: Life;
  readonly #prng: Prng;
  readonly #latenessMs: number;
  /** Milliseconds of this clock per millisecond of the world. */
  #rate: number;
  /** What this clock showed when its rate was last set, and the world's time at that moment. */
  #sinceMs: { own: number; world: number };
  #wallSkewMs: number;

  constructor(scheduler: Scheduler, life: Life, prng: Prng, traits: ClockTraits) {
    this.#scheduler = scheduler;
    this.#life = life;
    this.#prng = prng;
    this.#latenessMs = traits.latenessMs;
    this.#rate = traits.rate;
    this.#wallSkewMs = traits.wallSkewMs;
    const zeroMs = prng.integer(1_000, 1_000_000);
    this.#sinceMs = { own: zeroMs + scheduler.nowMs * traits.rate, world: scheduler.nowMs };
  }

  nowMs(): number {
    const { own, world } = this.#sinceMs;
    return own + (this.#scheduler.nowMs - world) * this.#rate;
  }

  wallMs(): number {
    return epochMs + Math.floor(this.#scheduler.nowMs + this.#wallSkewMs);
  }

  /** From now on it runs at another speed; it never jumps. Timers that are set already keep theirs. */
  setRate(rate: number): void {
    this.#sinceMs = { own: this.nowMs(), world: this.#scheduler.nowMs };
    this.#rate = rate;
  }

  /** The wall clock is set forward or back. */
  stepWall(ms: number): void {
    this.#wallSkewMs += ms;
  }

  every(ms: number, f: () => void): Cancel {
    let cancel: Cancel = () => {};
    const next = () => {
      cancel = this.after(ms, () => {
        next();
        f();
      });
    };
    next();
    return () => cancel();
  }

  after(ms: number, f: () => void): Cancel {
    const late = this.#latenessMs;
    const lateMs = late === 0 ? 0 : this.#prng.integer(0, late + 1);
    // A real timer takes a millisecond at least.
    return this.#scheduler.after(Math.max(1, ms) / this.#rate + lateMs, f, this.#life);
  }

  turn(f: () => void): void {
    this.#scheduler.after(0, f, this.#life);
  }
}
