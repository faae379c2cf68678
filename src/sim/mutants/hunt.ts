/** Looks for a seed that notices a mutant. */

import { runSeed } from "../story/run.ts";
import { consensusMutants } from "./consensus.ts";
import { durabilityMutants } from "./durability.ts";
import type { Mutant } from "./mutant.ts";
import { servingMutants } from "./serving.ts";

export type Kill = {
  readonly mutant: string;
  /** What noticed it; undefined when nothing did. */
  readonly killedBy: string | undefined;
  /** Seeds that were needed. */
  readonly seeds: number;
};

export const mutants: readonly Mutant[] = [
  ...consensusMutants,
  ...durabilityMutants,
  ...servingMutants,
];

/** Runs seeds from 1 on until one fails. */
export async function hunt(mutant: Mutant, seedsMax: number): Promise<Kill> {
  const repair = mutant.plant();
  try {
    for (let seed = 1; seed <= seedsMax; seed++) {
      const killedBy = await noticedBy(seed);
      if (killedBy !== undefined) return { mutant: mutant.name, killedBy, seeds: seed };
    }
  } finally {
    repair();
  }
  return { mutant: mutant.name, killedBy: undefined, seeds: seedsMax };
}

async function noticedBy(seed: number): Promise<string | undefined> {
  try {
    const { violations } = await runSeed(seed);
    const [first] = violations;
    if (first === undefined) return undefined;
    return first.text.includes("AssertionError") ? "assertion" : first.invariant;
  } catch (error) {
    return error instanceof Error ? error.name : String(error);
  }
}
