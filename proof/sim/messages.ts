/** What a run of seeds and its worker processes say to each other, over the channel that fork() makes. */

import type { SeedOptions, SeedReport } from "../../src/sim/story/run.ts";

/** What a seed came to, without its story: that is told again when somebody asks for it. */
export type SeedResult = Omit<SeedReport, "story">;

/** To a worker: play this one. */
export type Order = { readonly seed: number; readonly options: SeedOptions };

/** From a worker. A thrown error is a bug of the simulation or an assertion of the program; both fail the seed. */
export type Reply =
  | { readonly type: "ready" }
  | { readonly type: "played"; readonly result: SeedResult }
  | { readonly type: "thrown"; readonly seed: number; readonly text: string };
