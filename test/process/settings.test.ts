/**
 * What a cluster has agreed on: given at its birth, changed while it runs through any node, known after a restart and
 * on a node that starts from copied pages.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { newClusterSettings, type Settings } from "../../src/vocabulary.ts";
import { TestCluster } from "./cluster.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

function configure(url: string, ...pairs: string[]): { status: number | null; text: string } {
  const args = [main, "configure", "--url", url, "--json", ...pairs];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  return { status, text: stdout + stderr };
}

async function settingsOf(cluster: TestCluster, id: string): Promise<Settings | undefined> {
  return (await cluster.statusOf(id))?.settings;
}

test("settings of a cluster", async () => {
  const cluster = await TestCluster.start({ args: ["--settings", "copiesTimeoutMs=300"] });
  try {
    const leader = await cluster.leader();
    const follower = cluster.nodes.find((node) => node.id !== leader)!.id;
    const born = { ...newClusterSettings, copiesTimeoutMs: 300 };
    assert.deepEqual(await settingsOf(cluster, leader), born);

    const changed = configure(cluster.url(follower), "whenCopiesMissing=fail");
    assert.equal(changed.status, 0, changed.text);
    const wanted = { ...born, whenCopiesMissing: "fail" };
    assert.deepEqual(JSON.parse(changed.text), wanted);
    assert.deepEqual(await settingsOf(cluster, leader), wanted);

    // What is written wrongly is 2; what the cluster refuses is 1.
    for (const [pair, status, text] of [
      ["commitRule=most", 2, /commitRule must be one of/],
      ["colour=red", 2, /colour/],
      ["whenCopiesMissing=degrade", 1, /SETTINGS_REFUSED/],
    ] as const) {
      const refused = configure(cluster.url(leader), pair);
      assert.equal(refused.status, status, refused.text);
      assert.match(refused.text, text);
    }

    for (const { id } of cluster.nodes) await cluster.kill(id);
    for (const { id } of cluster.nodes) cluster.restart(id);
    assert.deepEqual(await settingsOf(cluster, await cluster.leader()), wanted);
    await cluster.settled();
  } finally {
    await cluster.stop();
  }
});
