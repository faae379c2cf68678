/** Stories of a copy beside stock SQLite, with fixed seeds. More of them: `npm run proof -- --only pages`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { applierStory } from "../../../test/db/applier-story.ts";

test("whatever SQLite does, a copy is the same, through checkpoints, kills and power cuts", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    assert.equal(await applierStory(seed, { transactions: 40 }), undefined, `seed ${seed}`);
  }
});
