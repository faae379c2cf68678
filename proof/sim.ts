/**
 * `npm run sim`: whole clusters in simulated worlds, one per seed (src/sim/).
 *
 *   npm run sim -- [--seeds N] [--start S] [--seed X] [--json]
 *
 * `--seed X` runs that one and prints its story, one line per event. Exit status 1 on any violation.
 */

import { parseArgs } from "node:util";
import { shrinkLimits } from "../src/sim/story/parameters.ts";
import { runSeed, type SeedReport } from "../src/sim/story/run.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    start: { type: "string", default: "1" },
    seed: { type: "string" },
    json: { type: "boolean", default: false },
  },
});

shrinkLimits();
let current = 0;
process.on("unhandledRejection", (error) => {
  console.error(`seed ${current}: a promise failed and nobody looked`, error);
  process.exit(1);
});

if (values.seed !== undefined) await tellStory(Number(values.seed));
else await runSeeds(Number(values.start), Number(values.seeds));

async function tellStory(seed: number): Promise<void> {
  const report = await run(seed);
  console.log(JSON.stringify(report.parameters, undefined, 2));
  for (const line of report.story) console.log(line);
  const { story: _, parameters: __, ...rest } = report;
  console.log(JSON.stringify(rest, undefined, 2));
  process.exitCode = report.ok ? 0 : 1;
}

async function runSeeds(start: number, count: number): Promise<void> {
  const sum = { simulatedMs: 0, faults: 0, acked: 0, reads: 0, lost: 0, stale: 0, diverged: 0 };
  const faultsByType: Record<string, number> = {};
  const failedSeeds: { seed: number; violations: SeedReport["violations"] }[] = [];
  const startedMs = performance.now();
  for (let seed = start; seed < start + count; seed++) {
    const report = await run(seed);
    sum.simulatedMs += report.simulatedMs;
    for (const key of ["acked", "reads", "lost", "stale"] as const) sum[key] += report[key];
    if (report.violations.some((v) => v.invariant === "I5")) sum.diverged++;
    for (const [name, times] of Object.entries(report.faults)) {
      faultsByType[name] = (faultsByType[name] ?? 0) + times;
      sum.faults += times;
    }
    if (report.ok) continue;
    const { violations } = report;
    failedSeeds.push({ seed, violations });
    if (!values.json) {
      for (const { invariant, text } of violations) {
        console.log(`seed ${seed}: ${invariant} ${text.split("\n").slice(0, 6).join("\n    ")}`);
      }
    }
  }
  const { simulatedMs, faults, acked, reads, lost, stale, diverged } = sum;
  const ok = failedSeeds.length === 0;
  const seconds = (performance.now() - startedMs) / 1000;
  const simulatedHours = Number((simulatedMs / 3_600_000).toFixed(2));
  const result = {
    ...{ ok, seeds: count, simulatedHours, faults, faultsByType },
    ...{ acked, reads, lost, stale, diverged, failedSeeds },
  };
  if (values.json) console.log(JSON.stringify(result));
  else {
    console.log(JSON.stringify(result, undefined, 2));
    console.log(`${count} seeds in ${seconds.toFixed(1)} s`);
  }
  process.exitCode = ok ? 0 : 1;
}

function run(seed: number): Promise<SeedReport> {
  current = seed;
  return runSeed(seed);
}
