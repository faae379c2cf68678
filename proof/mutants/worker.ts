/** A process that hunts mutants, one after the other, as its parent names them. */

import { hunt } from "../../src/sim/mutants/hunt.ts";
import { killHosts } from "../../src/sim/sqlite/scratch-hosts.ts";
import { shrinkLimits } from "../../src/sim/story/parameters.ts";
import { groundOf, mutants } from "./grounds.ts";
import { rememberLocks } from "./paging.ts";

/** From the parent: a mutant, or a clean run of the ground of a mutant. */
export type Order = { readonly name: string; readonly clean: boolean; readonly seedsMax: number };

rememberLocks();
// A mutant may leave promises behind that nobody looks at; what counts is what the scenario saw.
process.on("unhandledRejection", () => {});
process.on("uncaughtException", () => {});

process.on("message", async ({ name, clean, seedsMax }: Order) => {
  const mutant = mutants.find((other) => other.name === name)!;
  const { scenario, seedsMax: most } = groundOf(mutant);
  // Stories have small limits of their own; the others want those of the product.
  if (mutant.ground === undefined) shrinkLimits();
  const planted = clean ? { ...mutant, plant: () => () => {} } : mutant;
  process.send!(await hunt(planted, scenario, Math.min(seedsMax, most)));
  killHosts();
});
process.on("disconnect", () => process.exit(0));
