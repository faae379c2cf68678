/** A worker process: plays one seed after the other, as it is told. It ends when the channel does. */

import { retireHosts } from "../../src/sim/sqlite/scratch-hosts.ts";
import { shrinkLimits } from "../../src/sim/story/parameters.ts";
import { runSeed } from "../../src/sim/story/run.ts";
import type { Order, Reply } from "./messages.ts";

shrinkLimits();
let current = 0;

process.on("unhandledRejection", (error) => {
  tell({
    type: "thrown",
    seed: current,
    text: `a promise failed and nobody looked: ${textOf(error)}`,
  });
});
process.on("message", (order: Order) => {
  current = order.seed;
  void play(order);
});
process.on("disconnect", () => process.exit(0));
tell({ type: "ready" });

async function play({ seed, options }: Order): Promise<void> {
  try {
    const { story: _, ...result } = await runSeed(seed, options);
    retireHosts();
    tell({ type: "played", result });
  } catch (error) {
    tell({ type: "thrown", seed, text: textOf(error) });
  }
}

function tell(reply: Reply): void {
  process.send!(reply);
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
