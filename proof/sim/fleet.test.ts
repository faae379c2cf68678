/** Every seed is played once and counted, whatever becomes of the workers. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { playSeeds } from "./fleet.ts";
import { Tally } from "./tally.ts";

test("a worker that dies or throws fails its seed, and the others are played all the same", async () => {
  const tally = new Tally();
  const seeds: number[] = [];
  await playSeeds({
    ...{ start: 1, count: 12, jobs: 3, worker: new URL("test-worker.ts", import.meta.url) },
    onPlayed: (played) => {
      seeds.push(played.type === "played" ? played.result.seed : played.seed);
      tally.add(played);
    },
  });
  assert.deepEqual(
    seeds.toSorted((a, b) => a - b),
    Array.from({ length: 12 }, (_, i) => i + 1),
  );
  const { failedSeeds, ...sum } = tally.summary();
  assert.deepEqual(
    failedSeeds.map(({ seed, violations }) => [seed, violations[0]!.text]),
    [
      [3, "the worker ended: 7"],
      [5, "as told"],
      [6, "differs"],
    ],
  );
  assert.deepEqual(sum, {
    ...{ ok: false, seeds: 12, simulatedHours: 1, faults: 10, faultsByType: { kill: 10 } },
    ...{ acked: 20, reads: 10, lost: 0, discarded: 0, stale: 0, diverged: 1 },
  });
});
