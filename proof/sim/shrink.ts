/**
 * Makes a failing story smaller: takes away one thing after the other, and keeps what still breaks the same invariant.
 *
 * Whatever is taken away changes what happens afterwards, so a smaller story is another story. Each attempt is made
 * with the seed itself and with a few more; the one that fails first is kept.
 */

import type { Parameters } from "../../src/sim/story/parameters.ts";
import type { SeedOptions, SeedReport } from "../../src/sim/story/run.ts";

/** A failing story: what to give `runSeed` to hear it. */
export type Failing = {
  readonly seed: number;
  readonly changes: Partial<Parameters>;
  readonly report: SeedReport;
};

export type ShrinkPorts = {
  run(seed: number, options: SeedOptions): Promise<SeedReport>;
  onStep(line: string): void;
  /** Seeds that each attempt is made with, besides the first one. */
  readonly moreSeeds: number;
};

/** Undefined when the seed does not fail. */
export async function shrink(
  seed: number,
  options: SeedOptions,
  ports: ShrinkPorts,
): Promise<Failing | undefined> {
  const report = await ports.run(seed, options);
  const [violation] = report.violations;
  if (violation === undefined) return undefined;
  const { invariant } = violation;
  let best: Failing = { seed, changes: options.changes ?? {}, report };
  ports.onStep(`seed ${seed} breaks ${invariant}`);
  for (let isSmaller = true; isSmaller; ) {
    isSmaller = false;
    for (const less of attempts(best.report.parameters)) {
      const changes = { ...best.changes, ...less };
      const found = await fails(best.seed, { ...options, changes }, { ...ports, invariant });
      if (found === undefined) continue;
      best = { ...found, changes };
      isSmaller = true;
      ports.onStep(`still with ${JSON.stringify(less)}, seed ${found.seed}`);
      break;
    }
  }
  return best;
}

async function fails(
  seed: number,
  options: SeedOptions,
  ports: ShrinkPorts & { readonly invariant: string },
): Promise<{ readonly seed: number; readonly report: SeedReport } | undefined> {
  for (let other = seed; other <= seed + ports.moreSeeds; other++) {
    const report = await ports.run(other, options);
    if (report.violations[0]?.invariant === ports.invariant) return { seed: other, report };
  }
  return undefined;
}

/** One thing less each, the most telling first. */
function* attempts(now: Parameters): Iterable<Partial<Parameters>> {
  for (const fault of now.faults) {
    if (now.faults.length > 1) yield { faults: now.faults.filter((other) => other !== fault) };
  }
  if (now.voters > 1) yield { voters: now.voters - 2 };
  if (now.clients > 1) yield { clients: Math.floor(now.clients / 2) };
  if (now.faultMs > 1_000) yield { faultMs: Math.floor(now.faultMs / 2) };
  const { loss, duplicate, detour } = now.network;
  if (loss + duplicate + detour > 0) {
    yield { network: { ...now.network, loss: 0, duplicate: 0, detour: 0 } };
  }
  if (now.lists > 2) yield { lists: 2 };
  for (const trait of ["drift", "timersLateMs", "slowness"] as const) {
    if (now[trait] > 0) yield { [trait]: 0 };
  }
}
