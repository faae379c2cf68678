/**
 * The port to time. Everything that waits or measures takes a Clock, so that a simulation can own time.
 *
 *   nowMs    monotonic milliseconds: for timers, leases, measurements. Its zero means nothing.
 *   wallMs   milliseconds since 1970, as the machine believes: only for people and for metadata, never for a decision.
 *
 * Not here: what the times are (limits.ts).
 */

/** Stops a timer. Harmless when the timer has already ended. */
export type Cancel = () => void;

export interface Clock {
  /** Monotonic, in milliseconds, with fractions. Never goes back; may stand still while the machine sleeps. */
  nowMs(): number;
  /** Wall clock in whole milliseconds. May jump either way. */
  wallMs(): number;
  /** Calls `f` every `ms` until cancelled. Late calls are not made up for. What `f` throws ends the process. */
  every(ms: number, f: () => void): Cancel;
  /** Calls `f` once, not before `ms` have passed. What `f` throws ends the process. */
  after(ms: number, f: () => void): Cancel;
  /** Calls `f` once, when everything that is due now has run: what else arrives until then comes first. */
  turn(f: () => void): void;
}

export class RealClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  every(ms: number, f: () => void): Cancel {
    const timer = setInterval(f, ms);
    return () => clearInterval(timer);
  }

  after(ms: number, f: () => void): Cancel {
    const timer = setTimeout(f, ms);
    return () => clearTimeout(timer);
  }

  turn(f: () => void): void {
    setImmediate(f);
  }
}
