/** Large requests through a follower: what was written is read back, and no node's event loop is held up for long. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { createClient } from "@libsql/client";
import { limits } from "../../src/limits.ts";
import { TestCluster } from "./cluster.ts";
import { rowsOf } from "./sql.ts";

const MiB = 1024 * 1024;
const watch = fileURLToPath(new URL("./stall-watch.ts", import.meta.url));

async function startWatched(): Promise<TestCluster> {
  const { NODE_OPTIONS: before } = process.env;
  process.env["NODE_OPTIONS"] = `--import ${watch}`;
  try {
    return await TestCluster.start();
  } finally {
    if (before === undefined) delete process.env["NODE_OPTIONS"];
    else process.env["NODE_OPTIONS"] = before;
  }
}

/** The longest that a node's event loop was held up since `from` characters of its output. */
const heldUpMs = (output: string, from: number) =>
  Math.max(
    0,
    ...[...output.slice(from).matchAll(/held up for (\d+) ms/g)].map(([, ms]) => Number(ms)),
  );

test("50 MB in one value and 50,000 INSERTs in one batch, through a follower", {
  timeout: 120_000,
}, async () => {
  const cluster = await startWatched();
  try {
    const leader = await cluster.leader();
    const url = cluster.url(cluster.nodes.find(({ id }) => id !== leader)!.id);
    await rowsOf(url, "CREATE TABLE t (i INTEGER PRIMARY KEY, x)");
    const from = cluster.nodes.map(({ id }) => cluster.output(id).length);
    const client = createClient({ url });
    const blob = new Uint8Array(50 * MiB).fill(7);
    await client.execute({ sql: "INSERT INTO t VALUES (0, ?)", args: [blob] });
    const { rows } = await client.execute("SELECT x FROM t WHERE i = 0");
    assert.deepEqual(new Uint8Array(rows[0]!["x"] as ArrayBuffer), blob);
    const inserts = Array.from({ length: 50_000 }, (_, i) => ({
      sql: "INSERT INTO t VALUES (?, ?)",
      args: [i + 1, `row ${i} ${"x".repeat(100)}`],
    }));
    await client.batch(inserts, "write");
    client.close();
    assert.deepEqual(await rowsOf(url, "SELECT count(*) FROM t"), [[50_001]]);
    assert.equal(await cluster.leader(), leader, "the lead has not changed");
    for (const [at, { id }] of cluster.nodes.entries()) {
      const ms = heldUpMs(cluster.output(id), from[at]!);
      assert.ok(ms < limits.electionTimeoutMinMs, `${id} was held up for ${ms} ms`);
    }
  } finally {
    await cluster.stop();
  }
});
