/** The mutants that stories on a model database hunt, and what a hunt is. */

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

export const storyMutants: readonly Mutant[] = [
  ...consensusMutants,
  ...durabilityMutants,
  ...servingMutants,
];

/** Plays one seed; says what it noticed. */
export type Scenario = (seed: number) => Promise<string | undefined>;

/** Plays seeds from 1 on until one notices the mutant. */
export async function hunt(mutant: Mutant, scenario: Scenario, seedsMax: number): Promise<Kill> {
  const repair = mutant.plant();
  try {
    for (let seed = 1; seed <= seedsMax; seed++) {
      const killedBy = await noticedBy(scenario, seed);
      if (killedBy !== undefined) return { mutant: mutant.name, killedBy, seeds: seed };
    }
  } finally {
    repair();
  }
  return { mutant: mutant.name, killedBy: undefined, seeds: seedsMax };
}

/** A story: the number of the invariant that it violates. */
export async function story(seed: number): Promise<string | undefined> {
  return invariantOf(await runSeed(seed));
}

/** The same on real SQLite. */
export async function sqliteStory(seed: number): Promise<string | undefined> {
  return invariantOf(await runSeed(seed, { database: "sqlite" }));
}

function invariantOf({ violations }: Awaited<ReturnType<typeof runSeed>>): string | undefined {
  const [first] = violations;
  if (first === undefined) return undefined;
  return first.text.includes("AssertionError") ? "assertion" : first.invariant;
}

async function noticedBy(scenario: Scenario, seed: number): Promise<string | undefined> {
  try {
    return await scenario(seed);
  } catch (error) {
    return error instanceof Error ? error.name : String(error);
  }
}
