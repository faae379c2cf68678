/**
 * `npm run mutants`: planted bugs, and how many simulated worlds it takes to notice each (src/sim/mutants/).
 *
 *   npm run mutants -- [--seeds N] [--only TEXT] [--json]
 *
 * `--seeds` bounds the worlds per mutant; `--only` takes those whose name has the text. Exit status 1 when one of them
 * survives.
 */

import { parseArgs } from "node:util";
import { hunt, type Kill, mutants } from "../src/sim/mutants/hunt.ts";
import { shrinkLimits } from "../src/sim/story/parameters.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "300" },
    only: { type: "string", default: "" },
    json: { type: "boolean", default: false },
  },
});

shrinkLimits();
// A mutant may leave promises behind that nobody looks at; what counts is what the simulation saw.
process.on("unhandledRejection", () => {});

const kills: Kill[] = [];
for (const mutant of mutants.filter(({ name }) => name.includes(values.only))) {
  const kill = await hunt(mutant, Number(values.seeds));
  kills.push(kill);
  if (values.json) continue;
  const by = kill.killedBy ?? "SURVIVES";
  console.log(`${kill.mutant.padEnd(76)} ${by.padEnd(12)} ${String(kill.seeds).padStart(5)}`);
}
const survivors = kills.filter((kill) => kill.killedBy === undefined).map((kill) => kill.mutant);
const result = { ok: survivors.length === 0, mutants: kills.length, survivors, kills };
if (values.json) console.log(JSON.stringify(result));
else console.log(`${kills.length} mutants, ${survivors.length} survive`);
process.exitCode = result.ok ? 0 : 1;
