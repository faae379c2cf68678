/** The mutants that stories on a model database hunt, and what a hunt is. */

import { runSeed } from "../story/run.ts";
import { nameOf } from "./check-name.ts";
import { consensusMutants } from "./consensus.ts";
import { durabilityMutants } from "./durability.ts";
import { fileMutants } from "./files.ts";
import { type Mutant, reached } from "./mutant.ts";
import { noteFault, takeFaults } from "./own-faults.ts";
import { servingMutants } from "./serving.ts";

export type Kill = {
  readonly mutant: string;
  /** The check that noticed it; undefined when none did. */
  readonly killedBy: string | undefined;
  /** Seeds that were needed. */
  readonly seeds: number;
  /** Why this says nothing: the mutant went wrong by itself. */
  readonly broken?: string | undefined;
  /** Nothing of it was ever called. */
  readonly idle?: boolean | undefined;
};

export const storyMutants: readonly Mutant[] = [
  ...consensusMutants,
  ...durabilityMutants,
  ...fileMutants,
  ...servingMutants,
];

/** Plays one seed; says what it noticed. */
export type Scenario = (seed: number) => Promise<string | undefined>;

export type HuntOptions = {
  /** The first seed; 1 if not given. */
  readonly from?: number | undefined;
  /** Told before each. */
  readonly onSeed?: ((seed: number) => void) | undefined;
};

/** Plays seeds until one notices the mutant, up to `seedsMax`. */
export async function hunt(
  mutant: Mutant,
  scenario: Scenario,
  seedsMax: number,
  { from = 1, onSeed }: HuntOptions = {},
): Promise<Kill> {
  takeFaults();
  Object.assign(reached, { methods: 0, calls: 0 });
  const kill = await played(mutant, scenario, { from, to: seedsMax, onSeed });
  const [fault] = takeFaults();
  if (fault !== undefined) return { ...kill, killedBy: undefined, broken: fault };
  const isIdle = kill.killedBy === undefined && reached.methods > 0 && reached.calls === 0;
  return isIdle ? { ...kill, idle: true } : kill;
}

async function played(
  mutant: Mutant,
  scenario: Scenario,
  seeds: { readonly from: number; readonly to: number; readonly onSeed: HuntOptions["onSeed"] },
): Promise<Kill> {
  let repair: () => void;
  try {
    repair = mutant.plant();
  } catch (error) {
    noteFault(error);
    return { mutant: mutant.name, killedBy: undefined, seeds: 0, broken: nameOf(error) };
  }
  try {
    for (let seed = seeds.from; seed <= seeds.to; seed++) {
      seeds.onSeed?.(seed);
      const killedBy = await noticedBy(scenario, seed);
      if (killedBy !== undefined) return { mutant: mutant.name, killedBy, seeds: seed };
    }
  } finally {
    repair();
  }
  return { mutant: mutant.name, killedBy: undefined, seeds: seeds.to };
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
    noteFault(error);
    return nameOf(error);
  }
}
