/** Every type of fault there is, and which of them come next. */

import type { Prng } from "../../src/base/prng.ts";
import { damageFaults } from "./damage.ts";
import { diskFaults } from "./disks.ts";
import type { Fault, Need } from "./fault.ts";
import { membershipFaults } from "./membership.ts";
import { networkFaults } from "./network.ts";
import { processFaults } from "./processes.ts";

export const allFaults: Readonly<Record<string, Fault>> = {
  ...processFaults,
  ...networkFaults,
  ...diskFaults,
  ...damageFaults,
  ...membershipFaults,
};

/** The faults whose needs are met, shuffled anew whenever each has had its turn: every type comes equally often. */
export function* shuffled(
  names: readonly string[],
  has: ReadonlySet<Need>,
  prng: Prng,
): Generator<string, never> {
  const possible = names.filter((name) => allFaults[name]!.needs.every((need) => has.has(need)));
  if (possible.length === 0) throw new Error("none of these faults is possible on this machine");
  for (;;) {
    const left = [...possible];
    while (left.length > 0) yield left.splice(prng.integer(0, left.length), 1)[0]!;
  }
}
