/**
 * When entries became known to be committed here, by the monotonic clock, roughly: positions that came close together
 * share one moment, the last of them. So no entry is ever taken for older than it is, and the list stays short whatever
 * comes.
 */

import type { Lsn } from "../../vocabulary.ts";

type Arrival = { lsn: Lsn; atMs: number; readonly sinceMs: number };

/** Arrivals are this fine, in parts of the delay. */
const parts = 64;
/** More than these are kept only while nothing is applied for longer than the delay; then they become coarser. */
const arrivalsMax = 4 * parts;

export class Arrivals {
  readonly #grainMs: number;
  /** In the order of LSN and time. */
  #list: Arrival[] = [];

  constructor(delayMs: number) {
    this.#grainMs = delayMs / parts;
  }

  /** Everything up to `lsn` is known at `nowMs`. */
  came(lsn: Lsn, nowMs: number): void {
    const last = this.#list.at(-1);
    if (last !== undefined && nowMs - last.sinceMs < this.#grainMs) {
      last.lsn = lsn;
      last.atMs = nowMs;
      return;
    }
    this.#list.push({ lsn, atMs: nowMs, sinceMs: nowMs });
    if (this.#list.length > arrivalsMax) {
      this.#list = this.#list.filter((_, i) => i % 2 === 0 || i === this.#list.length - 1);
    }
  }

  /** When the entry was known at the latest; undefined when nothing is known about it. */
  of(lsn: Lsn): number | undefined {
    return this.#list.find((arrival) => arrival.lsn >= lsn)?.atMs;
  }

  forgetTo(lsn: Lsn): void {
    while (this.#list.length > 0 && this.#list[0]!.lsn <= lsn) this.#list.shift();
  }

  /** Other entries come from `from` on. */
  rewindTo(from: Lsn): void {
    this.#list = this.#list.filter((arrival) => arrival.lsn < from);
  }
}
