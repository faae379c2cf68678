/**
 * `npm run mutants`: planted bugs, and how many simulated worlds it takes to notice each.
 *
 *   npm run mutants -- [--seeds N] [--only TEXT] [--jobs N] [--json]
 *
 * `--seeds` bounds the seeds per mutant; `--only` takes those whose name has the text. What no seed notices is given to
 * the unit tests of the code that it breaks. First the program as it is plays seeds, too, and must be clean. Exit
 * status 1 when a mutant survives, or the program is not clean.
 *
 * JSON: { ok, mutants, killed, survivors, seeds, clean, kills: [{ mutant, killedBy, seeds }] }
 */

import { type ChildProcess, execFile, fork } from "node:child_process";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import type { Kill } from "../src/sim/mutants/hunt.ts";
import { mutants, testsOf } from "./mutants/grounds.ts";
import type { Order } from "./mutants/worker.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "100" },
    only: { type: "string", default: "" },
    jobs: { type: "string", default: String(Math.min(4, availableParallelism())) },
    json: { type: "boolean", default: false },
  },
});
const main = new URL("mutants/worker.ts", import.meta.url).pathname;
/** A hunt that hangs has noticed something: the program as it is does not. */
const huntMs = 240_000;

const seedsMax = Number(values.seeds);
const wanted = mutants.filter(({ name }) => name.includes(values.only));
const grounds = [...new Map(wanted.map((mutant) => [mutant.ground, mutant])).values()];
const orders: Order[] = [
  ...grounds.map(({ name }) => ({ name, clean: true, seedsMax: Math.min(seedsMax, 20) })),
  ...wanted.map(({ name }) => ({ name, clean: false, seedsMax })),
];
const kills: Kill[] = [];
let clean = true;
let done = 0;
await Promise.all(Array.from({ length: Number(values.jobs) }, work));

const order = new Map(mutants.map(({ name }, i) => [name, i]));
kills.sort((a, b) => order.get(a.mutant)! - order.get(b.mutant)!);
const survivors = kills.filter((kill) => kill.killedBy === undefined).map((kill) => kill.mutant);
const seeds = kills.reduce((sum, kill) => sum + kill.seeds, 0);
const ok = clean && survivors.length === 0;
const killed = kills.length - survivors.length;
const result = { ok, mutants: kills.length, killed, survivors, seeds, clean, kills };
if (values.json) console.log(JSON.stringify(result));
else {
  for (const kill of kills) console.log(line(kill));
  console.log(`${kills.length} mutants, ${killed} killed, ${survivors.length} survive`);
}
process.exitCode = ok ? 0 : 1;

async function work(): Promise<void> {
  let child: ChildProcess | undefined;
  for (let next = orders.shift(); next !== undefined; next = orders.shift()) {
    child ??= fork(main, { stdio: ["ignore", "ignore", "ignore", "ipc"] });
    let kill = await hunted(child, next);
    // A process that had a mutant in it is not used again: something of it may have stayed.
    child.kill("SIGKILL");
    child = undefined;
    if (!next.clean && kill.killedBy === undefined) kill = await tested(kill);
    done += 1;
    if (next.clean) note(next, kill);
    else kills.push(kill);
    const left = orders.length === 0 ? "" : `, ${orders.length} to go`;
    console.error(
      next.clean ? `clean: ${kill.killedBy ?? "yes"}` : `${done}: ${line(kill)}${left}`,
    );
  }
}

/** The unit tests, with the mutant in them. */
async function tested(kill: Kill): Promise<Kill> {
  const mutant = mutants.find(({ name }) => name === kill.mutant)!;
  const files = globSync([...testsOf(mutant)]).sort();
  const plant = new URL("mutants/plant.ts", import.meta.url).pathname;
  const args = [
    "--import",
    plant,
    "--test",
    "--test-concurrency=1",
    "--test-timeout=60000",
    ...files,
  ];
  const env = { ...process.env, PACELINE_MUTANT: kill.mutant };
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, args, { env, maxBuffer: 2 ** 26 }, (error, stdout) =>
      resolve(error === null ? "" : stdout),
    );
  });
  const failed = /^\s*✖ (.+?)(?: \([\d.]+ms\))?$/m.exec(output)?.[1];
  return failed === undefined ? kill : { ...kill, killedBy: `test: ${failed.slice(0, 60)}` };
}

function note({ name }: Order, { killedBy, seeds }: Kill): void {
  if (killedBy === undefined) return;
  clean = false;
  const ground = mutants.find((mutant) => mutant.name === name)?.ground ?? "stories";
  console.error(`the program as it is fails seed ${seeds} of ${ground}: ${killedBy}`);
}

/** The answer of the process; one that ends or hangs has noticed it, too. */
function hunted(child: ChildProcess, order: Order): Promise<Kill> {
  return new Promise((resolve) => {
    const end = (killedBy: string) => resolve({ mutant: order.name, killedBy, seeds: 1 });
    const timer = setTimeout(() => end("it hangs"), huntMs);
    child.once("message", (kill: Kill) => {
      clearTimeout(timer);
      resolve(kill);
    });
    child.once("exit", () => {
      clearTimeout(timer);
      end("the process ends");
    });
    child.send(order);
  });
}

function line({ mutant, killedBy, seeds }: Kill): string {
  const by = killedBy ?? "SURVIVES";
  return `${mutant.padEnd(76)} ${by.padEnd(24)} ${String(seeds).padStart(5)}`;
}
