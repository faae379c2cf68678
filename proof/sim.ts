/**
 * `npm run sim`: whole clusters in simulated worlds, one per seed (src/sim/). See --help, below.
 */

import { availableParallelism } from "node:os";
import { killHosts } from "../src/sim/sqlite/scratch-hosts.ts";
import { type Parameters, shrinkLimits } from "../src/sim/story/parameters.ts";
import { runSeed, type SeedOptions } from "../src/sim/story/run.ts";
import { CommandLine } from "../tools/command-line.ts";
import { playSeeds } from "./sim/fleet.ts";
import { Progress } from "./sim/progress.ts";
import { type Failing, shrink } from "./sim/shrink.ts";
import { type FailedSeed, Tally } from "./sim/tally.ts";

const help = `npm run sim: whole clusters in simulated worlds, one per seed: crashes, lost power, torn and rotten disks,
broken networks, clocks that run apart. After every event the invariants of docs/invariants.md are checked.

  npm run sim -- [--seeds N] [--start S] [--sqlite] [--jobs N] [--json]
  npm run sim -- --seed X [--sqlite] [--shrink] [--change JSON] [--json]

  --seeds N      so many worlds (default 1000)
  --start S      the seed of the first one (default 1)
  --jobs N       worker processes (default: as many as there are cores)
  --seed X       only this one, and its story is printed, one line per event
  --shrink       with --seed: looks for a smaller story that breaks the same invariant, with fewer kinds of faults,
                 fewer nodes and clients, a shorter storm
  --change JSON  parameters that have other values than the seed draws, as --shrink prints them
  --sqlite       real SQLite under every node, instead of the model database
  --json         the result as one line of JSON (docs/proof.md describes it)
  --help

Example: npm run sim -- --seeds 200 --start 5000 --sqlite

Progress goes to standard error. Exit status: 0 when all is well, 1 on any violation, 2 for wrong options.
`;

const line = new CommandLine("sim", help, {
  seeds: { type: "string", default: "1000" },
  start: { type: "string", default: "1" },
  jobs: { type: "string", default: String(availableParallelism()) },
  seed: { type: "string" },
  shrink: { type: "boolean", default: false },
  change: { type: "string", default: "{}" },
  sqlite: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
});
const { values } = line;
if (values.shrink && values.seed === undefined)
  line.refuse("--shrink needs the --seed to begin with");
const many = {
  start: line.number("start", { min: 1 }),
  count: line.number("seeds", { min: 1 }),
  jobs: line.number("jobs", { min: 1 }),
};

const options: SeedOptions = {
  database: values.sqlite ? "sqlite" : "model",
  changes: changed(values.change),
};
const flag = values.sqlite ? " --sqlite" : "";
const seed = values.seed === undefined ? undefined : line.number("seed", { min: 1 });
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
  const tally = new Tally();
  const progress = new Progress(many.count);
  await playSeeds({
    ...many,
    story: options,
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

function changed(text: string): Partial<Parameters> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Below.
  }
  return line.refuse(`--change takes an object as JSON, such as '{"nodes":3}', not '${text}'`);
}
