/** Plants the mutant that PACELINE_MUTANT names, in a process of the test runner: `node --import …/plant.ts --test`. */

import { noteFault } from "../../src/sim/mutants/own-faults.ts";
import { mutants } from "./grounds.ts";
import { rememberLocks } from "./paging.ts";

const name = process.env["PACELINE_MUTANT"];
const mutant = mutants.find((other) => other.name === name);
if (mutant !== undefined) rememberLocks();
try {
  mutant?.plant();
  mutant?.plantInWriter?.();
} catch (error) {
  noteFault(error);
  throw error;
}
