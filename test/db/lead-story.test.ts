import { test } from "node:test";
import { leadStory } from "./lead-story.ts";

for (const seed of [1, 2, 3]) {
  test(`what a writer process commits is served when it is committed, and never else: seed ${seed}`, () =>
    leadStory(seed));
}
