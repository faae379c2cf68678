/** A failing story loses everything that the failure does not need, and nothing that it needs. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../src/base/prng.ts";
import { drawParameters } from "../../src/sim/story/parameters.ts";
import type { SeedOptions, SeedReport } from "../../src/sim/story/run.ts";
import { shrink } from "./shrink.ts";

const drawn = drawParameters(new Prng(4));

/** Breaks I6 when a node is killed while two clients write; I5 when nothing happens for too short a time. */
async function run(seed: number, { changes }: SeedOptions): Promise<SeedReport> {
  const parameters = {
    ...{ ...drawn, faults: ["deaf", "kill", "mute"], voters: 5, clients: 6 },
    ...{ faultMs: 10_000, ...changes },
  };
  const isBroken = parameters.faults.includes("kill") && parameters.clients >= 2;
  const invariant = parameters.faultMs < 2_000 ? "I5" : "I6";
  const violations = isBroken ? [{ invariant, text: "" }] : [];
  return { seed, parameters, violations } as never;
}

test("what is left is what the failure needs", async () => {
  const found = await shrink(7, {}, { run, onStep() {}, moreSeeds: 0 });
  const { faults, voters, clients, faultMs, network, drift } = found!.report.parameters;
  assert.deepEqual(faults, ["kill"]);
  assert.deepEqual([voters, clients, faultMs, drift, network.loss], [1, 3, 2_500, 0, 0]);
});

test("a seed that does not fail cannot be made smaller", async () => {
  const changes = { clients: 1 };
  assert.equal(await shrink(7, { changes }, { run, onStep() {}, moreSeeds: 0 }), undefined);
});
