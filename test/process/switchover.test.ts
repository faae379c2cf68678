/** Planned switchovers under load. `npm run proof -- --only switchover` measures the pause. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { switchovers } from "./switchover.ts";

test("switchovers under load lose nothing and fail nothing", { timeout: 120_000 }, async () => {
  const { gapsMs, acked, unknown } = await switchovers({ clients: 16, times: 3 });
  assert.ok(acked > 100);
  assert.equal(unknown, 0, "a planned switchover leaves no outcome unknown");
  // Far from an election by timeout, on a machine as busy as it may be.
  assert.ok(Math.min(...gapsMs) < 600, `${gapsMs} ms`);
});
