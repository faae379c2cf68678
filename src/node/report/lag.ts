/**
 * How far this copy is behind, honestly: the age of the last moment at which it surely had everything the leader had
 * committed. A silent link makes the lag grow; it never reads as zero [field.md trap 10].
 *
 *   0           on the leader
 *   undefined   this node has never been up to date since it started
 */

import type { Clock } from "../../host/clock.ts";
import type { Lsn } from "../../vocabulary.ts";

export class Lag {
  readonly #clock: Clock;
  /** The leader's commit mark as last heard. */
  #leaderCommitted = 0 as Lsn;
  /** When that was heard. */
  #heardMs: number | undefined;
  /** When this node last surely had everything. */
  #currentMs: number | undefined;
  #applied = 0 as Lsn;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The leader said what is committed. */
  heard(committedLsn: Lsn): void {
    this.#heardMs = this.#clock.nowMs();
    this.#leaderCommitted = committedLsn;
    this.#check();
  }

  applied(lsn: Lsn): void {
    this.#applied = lsn;
    this.#check();
  }

  /** Milliseconds, rounded up. */
  lagMs(leading: boolean): number | undefined {
    if (leading) return 0;
    if (this.#currentMs === undefined) return undefined;
    return Math.max(0, Math.ceil(this.#clock.nowMs() - this.#currentMs));
  }

  #check(): void {
    if (this.#heardMs !== undefined && this.#applied >= this.#leaderCommitted) {
      this.#currentMs = this.#heardMs;
    }
  }
}
