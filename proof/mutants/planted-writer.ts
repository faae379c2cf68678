/** Main module of a writer process that has the mutant in it that PACELINE_MUTANT names. */

import { noteFault } from "../../src/sim/mutants/own-faults.ts";
import { leadMutants } from "./leading.ts";

const name = process.env["PACELINE_MUTANT"];
try {
  leadMutants.find((mutant) => mutant.name === name)?.plantInWriter?.();
} catch (error) {
  noteFault(error);
  throw error;
}
process.on("uncaughtExceptionMonitor", noteFault);
await import("../../src/node/children/writer-main.ts");
