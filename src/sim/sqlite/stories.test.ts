/** Stories on real SQLite, and what a power cut does to its files. `npm run sim -- --sqlite` tells as many as wanted. */

import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { Prng } from "../../base/prng.ts";
import { shrinkLimits } from "../story/parameters.ts";
import { runSeed } from "../story/run.ts";
import { afterPowerCut } from "./crash-image.ts";
import { killHosts } from "./scratch-hosts.ts";

describe("simulation on SQLite", () => {
  before(shrinkLimits);
  after(killHosts);

  test("a few seeds keep every invariant and end well, each with the same story twice", async () => {
    let acked = 0;
    for (const seed of [1, 39, 97]) {
      const [first, second] = [
        await runSeed(seed, { database: "sqlite" }),
        await runSeed(seed, { database: "sqlite" }),
      ];
      const why = first.violations.map(({ invariant, text }) => `${invariant} ${text}`).join("\n");
      assert.ok(first.ok, `seed ${seed}: ${why}\n${first.story.slice(-40).join("\n")}`);
      assert.equal(hash("sha256", first.story.join("\n")), hash("sha256", second.story.join("\n")));
      acked += first.acked;
    }
    assert.ok(acked > 50, `${acked} writes`);
  });
});

test("a power cut keeps what was synced, and of every later sector the old or the new content", () => {
  const synced = new Uint8Array(2_000).fill(1);
  const written = new Uint8Array(5_000).fill(2);
  written.fill(1, 0, 1_024);
  const lengths = new Set<number>();
  let isMixed = false;
  for (let seed = 0; seed < 200; seed++) {
    const left = afterPowerCut(synced, written, new Prng(seed));
    lengths.add(left.byteLength);
    assert.ok(left.byteLength >= 2_000 && left.byteLength <= 5_000);
    assert.ok(left.subarray(0, 1_024).every((byte) => byte === 1));
    assert.ok(left.subarray(1_024, 2_000).every((byte) => byte !== 0));
    const later = new Set(left.subarray(1_024, 2_000));
    isMixed ||= later.size === 2;
  }
  assert.ok(lengths.size > 50 && isMixed);
});
