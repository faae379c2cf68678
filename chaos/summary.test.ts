/** The figures of a run. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Recorder } from "./load/recorder.ts";
import { failoverOf, summaryOf } from "./summary.ts";

const story = {
  ...{ seed: 1, minutes: 1, plant: undefined, leftOut: [], checked: undefined, memoryPeakMb: 1 },
  faultsByType: { "kill-leader": 2, switchover: 1 },
  gapsMsByType: { "kill-leader": [400, 600], switchover: [90] },
  planned: ["switchover"],
};

test("failovers: the histogram holds each once, the last bucket has no bound", () => {
  const { histogram, ...rest } = failoverOf([50, 100, 101, 480, 70_000]);
  assert.deepEqual(rest, { count: 5, medianMs: 101, p90Ms: 70_000, p99Ms: 70_000, maxMs: 70_000 });
  assert.deepEqual(histogram, [
    { upToMs: 100, count: 2 },
    { upToMs: 200, count: 1 },
    { upToMs: 500, count: 1 },
    { upToMs: null, count: 1 },
  ]);
  assert.equal(failoverOf([]).maxMs, 0);
});

test("a planned change of the leader counts by its type only", () => {
  const summary = summaryOf(new Recorder(() => {}), story);
  assert.deepEqual([summary.failover.count, summary.failoverByType["switchover"]?.count], [2, 1]);
  assert.deepEqual([summary.ok, summary.faults, summary.faultTypes], [true, 3, 2]);
});

test("every kind of violation makes a run fail, and all are counted", () => {
  const kinds = { lost: "lost", stale: "stale", undecided: "undecided", crash: "crashes" } as const;
  for (const kind of ["lost", "stale", "undecided", "crash"] as const) {
    const recorder = new Recorder(() => {});
    for (let n = 0; n < 200; n++) recorder.violate(kind, "x", 2);
    const summary = summaryOf(recorder, story);
    assert.equal(summary.ok, false);
    assert.equal(summary[kinds[kind]], 400);
    assert.ok(summary.violations.length < 100);
  }
});

test("the longest gap is between acknowledgements around the fault", async () => {
  const recorder = new Recorder(() => {});
  recorder.write({ type: "ok" });
  const fromMs = recorder.nowMs;
  await new Promise((resolve) => setTimeout(resolve, 40));
  recorder.write({ type: "ok" });
  recorder.write({ type: "ok" });
  const gap = recorder.longestGapSince(fromMs);
  assert.ok(gap >= 35, String(gap));
});
