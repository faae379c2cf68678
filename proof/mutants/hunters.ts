/**
 * The processes of a run of mutants: one per hunt, because something of a mutant may stay behind.
 *
 * What makes a kill count:
 *   1. A check noticed it, and is named. That a seed hangs, or that the process ends, is such a name.
 *   2. The program as it is plays the same seed clean: all grounds play their first seeds, and a kill at a later seed,
 *      by a hang or by an end is played again without the mutant.
 *   3. The mutant did nothing wrong by itself (src/sim/mutants/own-faults.ts).
 *   4. Where a unit test noticed it, the same files pass without it.
 */

import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Kill } from "../../src/sim/mutants/hunt.ts";
import { faultMark } from "../../src/sim/mutants/own-faults.ts";
import type { FromWorker, Order } from "./messages.ts";

const main = fileURLToPath(new URL("worker.ts", import.meta.url));
/** A seed that takes longer hangs: the slowest takes a tenth of it on a machine that has other things to do. */
const seedMs = 180_000;

export const hangs = "it hangs";
export const ends = "the process ends";

/** Carries out one order in a process of its own. */
export async function hunted(order: Order): Promise<Kill> {
  const child = fork(main, { stdio: ["ignore", "ignore", "pipe", "ipc"] });
  const fault = watchFaults(child);
  try {
    const kill = await answerOf(child, order);
    const broken = fault() ?? kill.broken;
    return broken === undefined ? kill : { ...kill, killedBy: undefined, broken };
  } finally {
    child.kill("SIGKILL");
  }
}

/** What the process, or one of its own, says a mutant did wrong. */
function watchFaults(child: ChildProcess): () => string | undefined {
  let text = "";
  child.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
    text = (text + chunk).slice(-100_000);
  });
  return () => faultIn(text);
}

/** The first line about a broken mutant. */
export function faultIn(text: string): string | undefined {
  const at = text.indexOf(faultMark);
  return at < 0 ? undefined : text.slice(at + faultMark.length).split("\n")[0];
}

function answerOf(child: ChildProcess, order: Order): Promise<Kill> {
  return new Promise((resolve) => {
    let seed = order.from;
    const end = (killedBy: string) => resolve({ mutant: order.name, killedBy, seeds: seed });
    let timer = setTimeout(end, seedMs, hangs);
    child.on("message", (message: FromWorker) => {
      clearTimeout(timer);
      if (message.type === "kill") return resolve(message.kill);
      seed = message.seed;
      timer = setTimeout(end, seedMs, hangs);
    });
    child.once("exit", () => {
      clearTimeout(timer);
      end(ends);
    });
    child.send(order);
  });
}
