/**
 * Plays cases in numbers. A case is named by its target, the seed and its number, so that it can be played alone:
 * every case has a generator of its own.
 */

import { Prng } from "../../src/base/prng.ts";
import type { Outcome, Target } from "./target.ts";
import { changeTargets } from "./targets/changes.ts";
import { logTargets } from "./targets/log.ts";
import { peerTargets } from "./targets/peers.ts";
import { recordTargets } from "./targets/records.ts";
import { requestTargets } from "./targets/requests.ts";
import { endTalks, talkTargets } from "./targets/talks.ts";
import { walTargets } from "./targets/wal.ts";

export type Found = {
  readonly target: string;
  readonly seed: number;
  readonly number: number;
  readonly what: string;
};

export type FuzzReport = {
  readonly ok: boolean;
  readonly cases: number;
  /** By target: how often spoiled input was taken for good, and how often it was refused. */
  readonly targets: Readonly<Record<string, { cases: number; accepted: number; refused: number }>>;
  /** The first of each target. */
  readonly found: readonly Found[];
};

export const targets: readonly Target[] = [
  ...logTargets,
  ...walTargets,
  ...peerTargets,
  ...recordTargets,
  ...changeTargets,
  ...requestTargets,
  ...talkTargets,
];

/** `only`: targets whose name has this text. */
export async function fuzz(plan: {
  readonly cases: number;
  readonly seed: number;
  readonly only: string;
}): Promise<FuzzReport> {
  const chosen = targets.filter((target) => target.name.includes(plan.only));
  const weights = chosen.reduce((sum, target) => sum + target.weight, 0);
  const found: Found[] = [];
  const byTarget: Record<string, { cases: number; accepted: number; refused: number }> = {};
  let cases = 0;
  for (const target of chosen) {
    const count = Math.max(1, Math.round((plan.cases * target.weight) / weights));
    const outcomes = { cases: 0, accepted: 0, refused: 0 };
    byTarget[target.name] = outcomes;
    for (let number = 0; number < count; number++) {
      outcomes.cases++;
      try {
        const outcome = await playCase(target, plan.seed, number);
        if (outcome !== "whole") outcomes[outcome]++;
      } catch (error) {
        const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
        found.push({ target: target.name, seed: plan.seed, number, what });
        break;
      }
    }
    cases += outcomes.cases;
  }
  await endTalks();
  return { ok: found.length === 0, cases, targets: byTarget, found };
}

/** One case, alone. */
export async function playCase(target: Target, seed: number, number: number): Promise<Outcome> {
  return target.play(new Prng(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b)));
}
