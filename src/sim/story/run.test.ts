/** A hundred worlds, and that a world is the same each time. `npm run sim` runs as many as wanted. */

import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { before, describe, test } from "node:test";
import { shrinkLimits } from "./parameters.ts";
import { runSeed } from "./run.ts";

describe("simulation", () => {
  before(shrinkLimits);

  test("a hundred seeds and some keep every invariant and end well", async () => {
    let acked = 0;
    for (let seed = 1; seed <= 120; seed++) {
      const { ok, violations, story, ...report } = await runSeed(seed);
      const why = violations.map(({ invariant, text }) => `${invariant} ${text}`).join("\n");
      assert.ok(ok, `seed ${seed}: ${why}\n${story.slice(-40).join("\n")}`);
      acked += report.acked;
    }
    // A simulation in which nothing happens proves nothing.
    assert.ok(acked > 5_000, `${acked} writes`);
  });

  test("equal seeds tell equal stories", async () => {
    for (const seed of [3, 17, 42]) {
      const [first, second] = [await runSeed(seed), await runSeed(seed)];
      assert.equal(hash("sha256", first.story.join("\n")), hash("sha256", second.story.join("\n")));
      assert.equal(first.events, second.events);
    }
  });
});
