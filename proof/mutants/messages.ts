/** What a run of mutants and the processes that hunt for it say to each other. */

import type { Kill } from "../../src/sim/mutants/hunt.ts";

/** To a worker: a mutant, or a clean run of the ground of a mutant; seeds from `from` to `seedsMax`. */
export type Order = {
  readonly name: string;
  readonly clean: boolean;
  readonly from: number;
  readonly seedsMax: number;
};

export type FromWorker =
  /** It begins to play this seed. */
  { readonly type: "seed"; readonly seed: number } | { readonly type: "kill"; readonly kill: Kill };
