/** A process that hunts one mutant, or plays a ground clean, as its parent says. */

import { hunt } from "../../src/sim/mutants/hunt.ts";
import { noteFault } from "../../src/sim/mutants/own-faults.ts";
import { killHosts } from "../../src/sim/sqlite/scratch-hosts.ts";
import { shrinkLimits } from "../../src/sim/story/parameters.ts";
import { groundOf, mutants } from "./grounds.ts";
import type { FromWorker, Order } from "./messages.ts";
import { rememberLocks } from "./paging.ts";

rememberLocks();
// A mutant may leave promises behind that nobody looks at; what counts is what the scenario saw.
process.on("unhandledRejection", noteFault);
process.on("uncaughtException", noteFault);

process.on("message", async ({ name, clean, from, seedsMax }: Order) => {
  const mutant = mutants.find((other) => other.name === name)!;
  const { scenario, seedsMax: most } = groundOf(mutant);
  // Stories have small limits of their own; the others want those of the product.
  if (mutant.ground === undefined) shrinkLimits();
  if (!clean) process.env["PACELINE_MUTANT"] = name;
  const planted = clean ? { ...mutant, plant: () => () => {} } : mutant;
  const onSeed = (seed: number) => send({ type: "seed", seed });
  const kill = await hunt(planted, scenario, Math.min(seedsMax, most), { from, onSeed });
  send({ type: "kill", kill });
  killHosts();
});
process.on("disconnect", () => process.exit(0));

function send(message: FromWorker): void {
  process.send!(message);
}
