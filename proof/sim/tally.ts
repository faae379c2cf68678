/** The sum of many seeds: what `npm run sim` prints. Field names and meanings are part of its `--json` format. */

import type { Violation } from "../../src/sim/story/world.ts";
import type { Played } from "./fleet.ts";

export type FailedSeed = { readonly seed: number; readonly violations: readonly Violation[] };

/** What `--json` prints, on one line. */
export type Summary = {
  readonly ok: boolean;
  readonly seeds: number;
  readonly simulatedHours: number;
  readonly faults: number;
  readonly faultsByType: Readonly<Record<string, number>>;
  readonly acked: number;
  readonly reads: number;
  /** Acknowledged writes that are gone without a trace. */
  readonly lost: number;
  /** Acknowledged by a weak commit rule, lost by the cluster, kept by a node. */
  readonly discarded: number;
  readonly stale: number;
  readonly diverged: number;
  readonly failedSeeds: readonly FailedSeed[];
};

const sums = ["acked", "reads", "lost", "discarded", "stale"] as const;

export class Tally {
  #seeds = 0;
  #simulatedMs = 0;
  readonly #sum = { acked: 0, reads: 0, lost: 0, discarded: 0, stale: 0 };
  #diverged = 0;
  readonly #faultsByType = new Map<string, number>();
  readonly #failedSeeds: FailedSeed[] = [];

  get failed(): number {
    return this.#failedSeeds.length;
  }

  /** Returns the seed when it failed. */
  add(played: Played): FailedSeed | undefined {
    this.#seeds++;
    if (played.type === "thrown") {
      const { seed, text } = played;
      return this.#fail({ seed, violations: [{ invariant: "thrown", text }] });
    }
    const { result } = played;
    this.#simulatedMs += result.simulatedMs;
    for (const key of sums) this.#sum[key] += result[key];
    for (const [name, times] of Object.entries(result.faults)) {
      this.#faultsByType.set(name, (this.#faultsByType.get(name) ?? 0) + times);
    }
    const { seed, violations } = result;
    if (violations.some((violation) => violation.invariant === "I5")) this.#diverged++;
    return result.ok ? undefined : this.#fail({ seed, violations });
  }

  summary(): Summary {
    const faultsByType = Object.fromEntries([...this.#faultsByType].sort(byName));
    let faults = 0;
    for (const times of this.#faultsByType.values()) faults += times;
    return {
      ok: this.#failedSeeds.length === 0,
      seeds: this.#seeds,
      simulatedHours: Number((this.#simulatedMs / 3_600_000).toFixed(2)),
      ...{ faults, faultsByType, ...this.#sum },
      diverged: this.#diverged,
      failedSeeds: this.#failedSeeds.toSorted((a, b) => a.seed - b.seed),
    };
  }

  #fail(failed: FailedSeed): FailedSeed {
    this.#failedSeeds.push(failed);
    return failed;
  }
}

function byName([a]: [string, number], [b]: [string, number]): number {
  return a < b ? -1 : 1;
}
