/**
 * `npm run mutants`: planted bugs, and how many simulated worlds it takes to notice each. What no seed notices is given
 * to the unit tests of the code that it breaks. What counts as noticed is written in mutants/hunters.ts.
 *
 * JSON: { ok, mutants, killed, survivors, broken, seeds, clean, unclean, kills: [{ mutant, killedBy, seeds, broken }] }
 */

import { availableParallelism } from "node:os";
import type { Kill } from "../src/sim/mutants/hunt.ts";
import type { Mutant } from "../src/sim/mutants/mutant.ts";
import { CommandLine } from "../tools/command-line.ts";
import { mutants, testsOf } from "./mutants/grounds.ts";
import { ends, hangs, hunted } from "./mutants/hunters.ts";
import type { Order } from "./mutants/messages.ts";
import { control, tested } from "./mutants/unit-tests.ts";

const help = `npm run mutants: breaks the program on purpose, one bug at a time, and looks what notices it

  npm run mutants -- [options]

  --only TEXT   only mutants whose name has this text
  --ground G,…  only mutants that are hunted there: stories, sqlite, pages, lead, foreign
  --seeds N     at most so many seeds for each mutant (400; some grounds have fewer)
  --jobs N      so many processes hunt at the same time (one per core, at most 4)
  --list        the names of the mutants and where they are hunted, and nothing else
  --json        the result as one line of JSON on standard output
  --help        this text

Example: npm run mutants -- --ground lead,foreign

The table goes to standard output, one line per mutant: what is broken, which check noticed it, and the seed. Progress
goes to standard error. The program as it is must play the same seeds and pass the same unit tests, else nothing counts.

Exit status: 0 when every mutant was noticed, 1 when one was not, or was broken itself, or the program as it is is not
clean, 2 for wrong options.
`;

const grounds = ["stories", "sqlite", "pages", "lead", "foreign"];
const line = new CommandLine("mutants", help, {
  seeds: { type: "string", default: "400" },
  only: { type: "string", default: "" },
  ground: { type: "string", default: grounds.join(",") },
  jobs: { type: "string", default: String(Math.min(4, availableParallelism())) },
  list: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
});
const { values } = line;
const seedsMax = line.number("seeds", { min: 1 });
const jobs = line.number("jobs", { min: 1, max: 64 });
const meant = line.names("ground", grounds);
const wanted = mutants.filter(
  (mutant) => mutant.name.includes(values.only) && meant.includes(groundName(mutant)),
);
if (wanted.length === 0) line.refuse(`--only: no mutant has "${values.only}" in its name`);
if (values.list) {
  for (const mutant of wanted) console.log(`${groundName(mutant).padEnd(8)} ${mutant.name}`);
  process.exit(0);
}

/** Seeds that every ground plays without a mutant, once. */
const cleanSeeds = Math.min(seedsMax, 20);
const firstOfEach = [...new Map(wanted.map((mutant) => [mutant.ground, mutant])).values()];
const orders: Order[] = [
  ...firstOfEach.map(({ name }) => ({ name, clean: true, from: 1, seedsMax: cleanSeeds })),
  ...wanted.map(({ name }) => ({ name, clean: false, from: 1, seedsMax })),
];
const kills: Kill[] = [];
const unclean: string[] = [];
await Promise.all(Array.from({ length: jobs }, work));
report();

async function work(): Promise<void> {
  for (let next = orders.shift(); next !== undefined; next = orders.shift()) {
    const mutant = mutants.find(({ name }) => name === next.name)!;
    if (next.clean) {
      const found = await cleanly(mutant, next);
      console.error(`clean, ${groundName(mutant)}: ${found ?? "yes"}`);
      continue;
    }
    let kill = await hunted(next);
    if (kill.broken === undefined && kill.killedBy === undefined)
      kill = await byTests(mutant, kill);
    else if (needsControl(kill)) {
      const { name } = mutant;
      await cleanly(mutant, { name, clean: true, from: kill.seeds, seedsMax: kill.seeds });
    }
    kills.push(kill);
    const left = wanted.length - kills.length;
    console.error(`${kills.length}: ${row(kill)}${left === 0 ? "" : `, ${left} to go`}`);
  }
}

/** Whether the clean run of the ground has not shown already that this seed is clean. */
function needsControl({ killedBy, seeds }: Kill): boolean {
  return killedBy === hangs || killedBy === ends || (killedBy !== undefined && seeds > cleanSeeds);
}

/** Plays seeds without the mutant; what went wrong, if anything. */
async function cleanly(mutant: Mutant, order: Order): Promise<string | undefined> {
  const { killedBy, broken, seeds } = await hunted(order);
  const found = broken ?? killedBy;
  if (found !== undefined) {
    const ground = groundName(mutant);
    unclean.push(`${ground}, seed ${seeds}: ${found}`);
    console.error(`the program as it is fails seed ${seeds} of ${ground}: ${found}`);
  }
  return found;
}

/** The last resort. */
async function byTests(mutant: Mutant, kill: Kill): Promise<Kill> {
  const files = testsOf(mutant);
  const { failed, broken } = await tested(files, mutant.name);
  if (broken !== undefined) return { ...kill, broken };
  if (failed === undefined) return kill;
  const clean = await control(files);
  if (clean.failed !== undefined) {
    const text = `${files.join(" ")}: ${clean.failed}`;
    if (!unclean.includes(text)) unclean.push(text);
    console.error(`the program as it is fails ${text}`);
  }
  return { ...kill, killedBy: `test: ${failed.slice(0, 60)}` };
}

function report(): void {
  const order = new Map(mutants.map(({ name }, i) => [name, i]));
  kills.sort((a, b) => order.get(a.mutant)! - order.get(b.mutant)!);
  const namesOf = (which: (kill: Kill) => boolean) => kills.filter(which).map((k) => k.mutant);
  const broken = namesOf((kill) => kill.broken !== undefined);
  const killed = namesOf((kill) => kill.broken === undefined && kill.killedBy !== undefined).length;
  const survivors = namesOf((kill) => kill.broken === undefined && kill.killedBy === undefined);
  const seeds = kills.reduce((sum, kill) => sum + kill.seeds, 0);
  const clean = unclean.length === 0;
  const ok = clean && killed === kills.length;
  const result = { ok, mutants: kills.length, killed, survivors, broken, seeds, clean, unclean };
  if (values.json) console.log(JSON.stringify({ ...result, kills }));
  else {
    for (const kill of kills) console.log(row(kill));
    for (const text of unclean) console.log(`not clean without a mutant: ${text}`);
    console.log(`${kills.length} mutants, ${killed} killed, ${survivors.length} survive`);
    if (broken.length > 0) console.log(`${broken.length} are broken themselves`);
  }
  process.exitCode = ok ? 0 : 1;
}

function row({ mutant, killedBy, seeds, broken, idle }: Kill): string {
  const survives = idle ? "SURVIVES, and no seed ever called it" : "SURVIVES";
  const by = broken === undefined ? (killedBy ?? survives) : `BROKEN ITSELF: ${broken}`;
  return `${mutant.padEnd(80)} ${by.padEnd(58)} ${String(seeds).padStart(4)}`;
}

function groundName({ ground }: Mutant): string {
  return ground ?? "stories";
}
