/**
 * What a seed decides before its story begins. Printed first, so that a story can be understood.
 *
 * The ranges follow what the design claims to survive: clocks that drift less than the lease allows, disks that
 * lose what was not synced, a minority that loses everything.
 */

import type { Prng } from "../../base/prng.ts";
import { limits } from "../../limits.ts";
import type { CommitRule, Priority, Settings } from "../../vocabulary.ts";
import type { NetworkTraits } from "../links.ts";
import { type FaultName, faultNames } from "./fault-names.ts";

/** What the databases of a story are made of: the model of src/sim/model, or real SQLite. */
export type DatabaseKind = "model" | "sqlite";

export type Parameters = {
  readonly database: DatabaseKind;
  readonly pageSize: number;
  /** SQLite's auto_vacuum: 0 none, 1 full, 2 incremental. */
  readonly autoVacuum: number;
  /** Members at the beginning, all of whom count. */
  readonly voters: number;
  /** So many of them, the last ones, are witnesses. */
  readonly witnesses: number;
  /** An operator appoints leaders. */
  readonly isManual: boolean;
  readonly commitRule: CommitRule;
  readonly whenCopiesMissing: Settings["whenCopiesMissing"];
  /** Of the others, by position. */
  readonly priorities: readonly Priority[];
  readonly lists: number;
  readonly clients: number;
  /** Share of requests that read. */
  readonly reading: number;
  /** Mean pause of a client between two requests. */
  readonly thinkMs: number;
  /** At every node sits a client that stays, reads as fresh as can be, and pauses so long: undefined, none does. */
  readonly probeMs: number | undefined;
  /** How long faults rage. */
  readonly faultMs: number;
  /** Mean time between two faults. */
  readonly faultEveryMs: number;
  readonly faults: readonly FaultName[];
  readonly network: NetworkTraits;
  readonly timersLateMs: number;
  /** All clocks run at this, against the world. */
  readonly clockRate: number;
  /** Each runs at 1 ± this against the others. */
  readonly drift: number;
  readonly syncMeanMs: number;
  /** Share of writes, reads and applies that take their time. */
  readonly slowness: number;
  readonly logRetentionBytes: number;
};

/**
 * Sizes are smaller in a simulated world, so that segments end, logs are dropped, WALs are checkpointed and page
 * syncs take many messages within seconds. Times are those of the program.
 */
export function shrinkLimits(): void {
  const small: Partial<Record<keyof typeof limits, number>> = {
    pageSize: 512,
    segmentBytesMax: 16 * 1024,
    logCacheBytesMax: 32 * 1024,
    appendBytesMax: 4 * 1024,
    // So that a few pages are a large entry, on its way for a second, and make the writer wait.
    inFlightBytesMax: 16 * 1024,
    uncommittedBytesMax: 16 * 1024,
    slowBytesPerMs: 16,
    checkpointFrames: 64,
    scratchFramesMax: 256,
    applySliceFrames: 8,
    syncGroupPages: 4,
    syncMessagePages: 4,
    syncHashGroups: 2,
    syncFinalPagesMax: 8,
  };
  Object.assign(limits, small);
}

export function drawParameters(prng: Prng, database: DatabaseKind = "model"): Parameters {
  const parameters = drawModel(prng);
  if (database === "model") return parameters;
  return {
    ...parameters,
    database,
    pageSize: [512, 1_024, 4_096][prng.integer(0, 3)]!,
    autoVacuum: prng.integer(0, 3),
  };
}

function drawModel(prng: Prng): Parameters {
  const pick = <T>(...choices: readonly T[]): T => choices[prng.integer(0, choices.length)]!;
  const isBad = prng.chance(0.5);
  const kinds = prng.integer(2, 7);
  const faults = new Set<FaultName>();
  while (faults.size < kinds) faults.add(pick(...faultNames));
  const voters = pick(1, 3, 3, 3, 3, 3, 5, 5);
  const drawn = {
    ...({ database: "model", pageSize: 512, autoVacuum: 0 } as const),
    voters,
    lists: prng.integer(2, 9),
    clients: prng.integer(2, 7),
    reading: pick(0.2, 0.4, 0.9),
    thinkMs: pick(10, 30, 60, 120, 240),
    faultMs: pick(6_000, 10_000, 15_000),
    faultEveryMs: pick(500, 1_000, 2_000),
    faults: [...faults].sort(),
    network: {
      delayMinMs: pick(0.05, 0.2, 1, 5),
      delayMeanMs: pick(0.1, 0.5, 2, 8),
      loss: isBad ? pick(0, 0.01, 0.1) : 0,
      duplicate: isBad ? pick(0, 0.02, 0.2) : 0,
      detour: isBad ? pick(0, 0.02, 0.2) : 0,
    },
    timersLateMs: pick(0, 5, 15, 30),
    drift: pick(0, 0.001, 0.02, 0.07),
    syncMeanMs: pick(0.1, 1, 5, 20),
    slowness: pick(0, 0.1, 0.5),
    logRetentionBytes: pick(8 * 1024, 64 * 1024, 1024 * 1024),
    clockRate: pick(1, 1, 1, 1, 0.5, 2),
  };
  // Drawn last, so that the other seeds tell the stories that they told before.
  const witnesses = voters >= 3 && prng.chance(0.3) ? pick(1, 1, (voters - 1) / 2) : 0;
  const data = prng.chance(0.3) ? voters - witnesses : 0;
  // The first one can lead for good: somebody must.
  const priorities = Array.from({ length: data }, (_, i) =>
    i === 0 ? pick<Priority>(0, 50) : pick<Priority>(0, 1, 100, "never"),
  );
  const isManual = witnesses === 0 && prng.chance(0.2);
  const isByRule = !isManual && voters > 1 && prng.chance(0.35);
  const rules = isByRule ? drawRule(prng) : usualRule;
  const probeMs = prng.chance(0.3) ? pick(5, 20, 50) : undefined;
  const isRefused = witnesses > 0 && isWeak({ ...rules, voters });
  const allowed = isRefused ? usualRule : rules;
  // Two would-be leaders at a time is what probes are there for.
  if (probeMs !== undefined) faults.add("reset");
  // Copies that begin with nothing, and leaders whose logs do not reach back to it.
  const areCopied = prng.chance(0.25);
  const [drawnFirst] = faults;
  const copying = {
    ...{ faults: ["lose-disk", "power-cut", drawnFirst!] as const },
    ...{ faultEveryMs: 500, logRetentionBytes: 1024 },
  };
  const parameters = {
    ...{ ...drawn, faults: [...faults].sort() },
    ...(areCopied ? copying : {}),
    ...{ witnesses, priorities, isManual, ...allowed, probeMs },
  };
  const fitting = parameters.faults.filter((fault) => !hiding.includes(fault));
  if (rules.commitRule === "all" || !isByRule) return parameters;
  return { ...parameters, faults: fitting.length === 0 ? ["isolate", "kill"] : fitting };
}

/** With few copies these lose writes in ways that no node can tell of: with its only disk, or with who is sent away. */
const hiding: readonly FaultName[] = [
  ...(["lose-disk", "rot-log", "old-log", "add-member", "remove-member"] as const),
];

type Rule = Pick<Parameters, "commitRule" | "whenCopiesMissing">;
const usualRule: Rule = { commitRule: "quorum", whenCopiesMissing: "wait" };

function drawRule(prng: Prng): Rule {
  const draw = prng.integer(0, 6);
  if (draw < 3) return { commitRule: "leader", whenCopiesMissing: "wait" };
  if (draw < 4) return { commitRule: "one", whenCopiesMissing: "wait" };
  const missing = (["wait", "fail", "degrade"] as const)[prng.integer(0, 3)]!;
  return { commitRule: "all", whenCopiesMissing: missing };
}

/** Whether an election may lose what was acknowledged. */
export function isWeak({ commitRule, voters }: Pick<Parameters, "commitRule" | "voters">): boolean {
  return commitRule === "leader" || (commitRule === "one" && voters > 3);
}
