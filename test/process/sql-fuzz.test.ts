/** Random SQL on a cluster and on stock SQLite: a fixed part of what `npm run fuzz -- --only sql` plays in numbers. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { findingText, fuzzSql } from "../../proof/fuzz/sql/run.ts";

test("through a follower of three nodes every answer and every row is that of stock SQLite", async () => {
  const plan = { kind: "pages", statements: 4_000, nodes: 3, seed: 3 } as const;
  const { byWay, findings } = await fuzzSql({ ...plan, clients: 8, findingsMax: 1 });
  for (const finding of findings) assert.fail(findingText(finding, plan.kind));
  for (const [way, count] of Object.entries(byWay)) assert.ok(count > 0, `nothing as ${way}`);
});
