/** Plants the mutant that PACELINE_MUTANT names, in a process of the test runner: `node --import …/plant.ts --test`. */

import { mutants } from "./grounds.ts";

const name = process.env["PACELINE_MUTANT"];
mutants.find((mutant) => mutant.name === name)?.plant();
