import assert from "node:assert/strict";
import { test } from "node:test";
import { StorageError } from "../../base/errors.ts";
import { shrinkLimits } from "../story/parameters.ts";
import { firstWords, nameOf } from "./check-name.ts";
import { hunt, story, storyMutants } from "./hunt.ts";
import { replaced } from "./mutant.ts";

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

/** Something to break, and a scenario that says what it hears. */
class Subject {
  answer(): string | undefined {
    return undefined;
  }
}
const ask = async () => new Subject().answer();
const planted = (name: string, make: () => (this: unknown) => unknown) => ({
  name,
  plant: () => replaced(Subject.prototype, "answer", make),
});

test("a mutant that trips over itself is broken, and kills nothing, even if its error is swallowed", async () => {
  const clumsy = planted("clumsy", () => () => (undefined as unknown as { a: string }).a.length);
  // Errors count as the mutant's own by where they are made: this test stands in for a mutant's file.
  const loud = await hunt(clumsy, ask, 2);
  assert.deepEqual([loud.killedBy, loud.broken?.slice(0, 10)], [undefined, "TypeError:"]);
  const quiet = await hunt(clumsy, async () => void (await ask().catch(() => undefined)), 2);
  assert.deepEqual([quiet.killedBy, quiet.broken?.slice(0, 10)], [undefined, "TypeError:"]);
  const unplantable = {
    name: "none",
    plant: () => replaced(Subject.prototype, "none" as "answer", () => () => 0),
  };
  assert.match((await hunt(unplantable, ask, 2)).broken!, /^TypeError/);
});

test("what a mutant throws on purpose is a kill, and a mutant that nobody calls is told", async () => {
  const thrown = planted("throws", () => () => {
    throw new StorageError("page 17 of /tmp/x/main.sqlite is gone");
  });
  const kill = await hunt(thrown, ask, 2);
  assert.deepEqual(
    [kill.killedBy, kill.broken],
    ["StorageError: page … of main.sqlite is gone", undefined],
  );
  const idle = await hunt(
    planted("idle", () => () => 1),
    async () => undefined,
    2,
  );
  assert.deepEqual([idle.killedBy, idle.idle], [undefined, true]);
});

test("seeds are told, and a hunt can begin at any of them", async () => {
  const seeds: number[] = [];
  const onSeed = (seed: number) => seeds.push(seed);
  const later = async (seed: number) => (seed === 5 ? "five" : undefined);
  const kill = await hunt({ name: "none", plant: () => () => {} }, later, 9, { from: 3, onSeed });
  assert.deepEqual([kill.killedBy, kill.seeds, seeds], ["five", 5, [3, 4, 5]]);
});

test("a check is named by its first words, without numbers and paths", () => {
  assert.equal(
    firstWords("opened at 12 with checksum 00ff00ff00ff00ff"),
    "opened at … with checksum …",
  );
  assert.equal(
    nameOf(new assert.AssertionError({ message: "a" })).startsWith("AssertionError"),
    true,
  );
  assert.ok(nameOf(new Error("x".repeat(200))).length <= 56);
});
