/** Statements that never end are cut at their deadline; nobody else notices more than the respawn of a process. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { TestCluster } from "./cluster.ts";
import { Load } from "./load.ts";
import { execute, rowsOf } from "./sql.ts";

const endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)";

test("an endless query and an endless write are cut without an election", {
  timeout: 90_000,
}, async (t) => {
  const cluster = await TestCluster.start({ args: ["--statement-timeout", "2"] });
  t.after(() => cluster.stop());
  const leader = await cluster.leader();
  const url = cluster.url(cluster.nodes.find(({ id }) => id !== leader)!.id);
  await Load.prepare(url);
  await rowsOf(url, "CREATE TABLE sink (x)");
  const before = (await cluster.statusOf(leader))!.term;
  const load = new Load(() => cluster.urls, 4);
  const reads = readSteadily(url);
  const cases = [
    `${endless} SELECT count(*) FROM n`,
    `INSERT INTO sink ${endless} SELECT x FROM n WHERE x < 0`,
  ];
  for (const sql of cases) {
    const startMs = performance.now();
    const outcome = await execute(url, sql, [], { timeoutMs: 30_000 });
    const tookMs = performance.now() - startMs;
    assert.equal(outcome.type === "ok" ? "ok" : outcome.code, "STATEMENT_TIMEOUT", sql);
    // It is this node's bound that counts, for reads as for writes, not the default of 5 s.
    assert.match(outcome.type === "failed" ? outcome.message : "", /longer than 2000 ms/, sql);
    assert.ok(tookMs >= 1_900, `cut after ${tookMs} ms`);
  }
  await load.stop();
  const seen = await reads.stop();
  assert.equal(seen.errors, 0, "other readers saw errors");
  assert.equal((await cluster.statusOf(leader))!.term, before, "there was an election");
  assert.deepEqual([...load.codes.keys()], [], "other writers saw errors");
  assert.deepEqual(await rowsOf(url, "SELECT count(*) FROM sink"), [[0]]);
  await cluster.settled();
  for (const node of cluster.urls) await load.check(node);
});

/** A reader that asks small questions all the time. */
function readSteadily(url: string): { stop(): Promise<{ errors: number; reads: number }> } {
  let running = true;
  const seen = { errors: 0, reads: 0 };
  const loop = (async () => {
    while (running) {
      const outcome = await execute(url, "SELECT count(*) FROM sink");
      seen.reads++;
      if (outcome.type !== "ok") seen.errors++;
    }
  })();
  return {
    stop: async () => {
      running = false;
      await loop;
      return seen;
    },
  };
}
