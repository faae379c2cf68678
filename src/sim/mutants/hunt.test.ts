import assert from "node:assert/strict";
import { test } from "node:test";
import { shrinkLimits } from "../story/parameters.ts";
import { hunt, story, storyMutants } from "./hunt.ts";

const named = (text: string) => storyMutants.find(({ name }) => name.includes(text))!;

test("cheap mutants are killed, and are gone afterwards", async () => {
  shrinkLimits();
  for (const [text, killedBy] of [
    ["entries are acknowledged before they are written", "I14"],
    ["the leader counts itself before its own fsync", "I14"],
    ["a write is acknowledged when it is proposed", undefined],
  ] as const) {
    const kill = await hunt(named(text), story, 20);
    assert.notEqual(kill.killedBy, undefined, text);
    if (killedBy !== undefined) assert.equal(kill.killedBy, killedBy);
  }
  const clean = await hunt({ name: "nothing is broken", plant: () => () => {} }, story, 3);
  assert.equal(clean.killedBy, undefined);
});
