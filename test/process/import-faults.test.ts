/** An import through a follower, with a short statement limit, and the leader killed in the middle of it. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { differences, makeSource } from "./import-story.ts";
import { rowsOf } from "./sql.ts";

test("nothing is lost or doubled when the leader dies during an import", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await TestCluster.start({ args: ["--statement-timeout", "0.5"] });
  t.after(() => cluster.stop());
  const source = join(cluster.dir, "source.sqlite");
  makeSource(source, { textBytes: 2_000_000, blobs: 1, blobBytes: 13_000_000 });
  const leader = await cluster.leader();
  const follower = cluster.nodes.find(({ id }) => id !== leader)!;
  const running = paceline("import", "--url", cluster.url(follower.id), source);
  let isOver = false;
  void running.then(() => {
    isOver = true;
  });
  await untilSome(cluster.url(follower.id), "SELECT count(*) > 300 FROM article");
  await cluster.kill(leader);
  assert.equal(isOver, false, "the import was over before the leader died");
  await cluster.leader();
  cluster.restart(leader);
  const ran = await running;
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /foreign keys: 1 row without the parent that it names/);
  await cluster.settled();
  for (const node of cluster.nodes) {
    assert.deepEqual(differences(source, join(node.dir, "db", "main.sqlite")), [], node.id);
  }
});

async function untilSome(url: string, sql: string): Promise<void> {
  for (;;) {
    const found = await rowsOf(url, sql).catch(() => []);
    if (found[0]?.[0] === 1) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
