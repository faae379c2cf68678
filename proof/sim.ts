/**
 * `npm run sim`: whole clusters in simulated worlds, one per seed (src/sim/).
 *
 *   npm run sim -- [--seeds N] [--start S] [--sqlite] [--jobs N] [--json]
 *   npm run sim -- --seed X [--sqlite] [--shrink] [--change JSON] [--json]
 *
 * `--sqlite` puts real SQLite under every node, instead of the model database (src/sim/sqlite). `--seed X` plays that
 * one and prints its story, one line per event. `--jobs` is the number of worker processes, as many as there are cores
 * unless said otherwise. Progress goes to standard error. Exit status 1 on any violation.
 *
 * `--shrink` looks for a smaller story that breaks the same invariant: fewer kinds of faults, fewer nodes and clients,
 * a shorter storm. `--change` gives parameters other values than the seed draws, as `--shrink` prints them.
 */

import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { killHosts } from "../src/sim/sqlite/scratch-hosts.ts";
import { type Parameters, shrinkLimits } from "../src/sim/story/parameters.ts";
import { runSeed, type SeedOptions } from "../src/sim/story/run.ts";
import { playSeeds } from "./sim/fleet.ts";
import { Progress } from "./sim/progress.ts";
import { type Failing, shrink } from "./sim/shrink.ts";
import { type FailedSeed, Tally } from "./sim/tally.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    start: { type: "string", default: "1" },
    jobs: { type: "string", default: String(availableParallelism()) },
    seed: { type: "string" },
    shrink: { type: "boolean", default: false },
    change: { type: "string", default: "{}" },
    sqlite: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});

const options: SeedOptions = {
  database: values.sqlite ? "sqlite" : "model",
  changes: JSON.parse(values.change) as Partial<Parameters>,
};
const flag = values.sqlite ? " --sqlite" : "";
const seed = values.seed === undefined ? undefined : wholeNumber("seed", values.seed);
const ok = seed === undefined ? await runMany() : await runOne(seed);
killHosts();
process.exitCode = ok ? 0 : 1;

async function runOne(seed: number): Promise<boolean> {
  shrinkLimits();
  process.on("unhandledRejection", (error) => {
    console.error(`seed ${seed}: a promise failed and nobody looked`, error);
    process.exit(1);
  });
  const failing = values.shrink ? await shrunk(seed) : undefined;
  const { story, parameters, ...rest } = failing?.report ?? (await runSeed(seed, options));
  if (values.json) {
    console.log(JSON.stringify({ ...rest, parameters, story }));
  } else {
    console.log(JSON.stringify(parameters, undefined, 2));
    for (const line of story) console.log(line);
    console.log(JSON.stringify(rest, undefined, 2));
    if (failing !== undefined) {
      const change = JSON.stringify(failing.changes);
      console.log(`\nagain: npm run sim -- --seed ${failing.seed}${flag} --change '${change}'`);
    }
  }
  return rest.ok;
}

function shrunk(seed: number): Promise<Failing | undefined> {
  return shrink(seed, options, {
    run: runSeed,
    onStep: (line) => console.error(line),
    moreSeeds: 8,
  });
}

async function runMany(): Promise<boolean> {
  const start = wholeNumber("start", values.start);
  const count = wholeNumber("seeds", values.seeds);
  const tally = new Tally();
  const progress = new Progress(count);
  await playSeeds({
    start,
    count,
    story: options,
    jobs: wholeNumber("jobs", values.jobs),
    onPlayed: (played) => {
      const failed = tally.add(played);
      if (failed !== undefined) for (const line of linesOf(failed)) progress.tell(line);
      progress.step(tally.failed);
    },
  });
  progress.end();
  const summary = tally.summary();
  console.log(JSON.stringify(summary, undefined, values.json ? undefined : 2));
  return summary.ok;
}

function linesOf({ seed, violations }: FailedSeed): readonly string[] {
  return [
    ...violations.map(
      ({ invariant, text }) =>
        `seed ${seed}: ${invariant} ${text.split("\n").slice(0, 6).join("\n    ")}`,
    ),
    `    its story: npm run sim -- --seed ${seed}${flag}`,
  ];
}

function wholeNumber(name: string, text: string): number {
  const n = Number(text);
  if (Number.isSafeInteger(n) && n > 0) return n;
  console.error(`--${name} takes a whole number from 1 on, not "${text}"`);
  process.exit(2);
}
