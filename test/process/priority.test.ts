/** Election priorities on real processes: who would rather lead gets the lead, and whoever shall never lead does not. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { sleep, TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { Load } from "./load.ts";

test("the lead goes to the highest priority that is there, and never to never", {
  timeout: 120_000,
}, async () => {
  const cluster = await TestCluster.start();
  try {
    const first = await cluster.leader();
    const [wanted, never] = cluster.nodes.map((n) => n.id).filter((id) => id !== first) as [
      string,
      string,
    ];
    await Load.prepare(cluster.url(first));
    const up = () => cluster.nodes.filter((n) => cluster.isRunning(n.id));
    const load = new Load(() => up().map((n) => cluster.url(n.id)), 4);
    const change = async (id: string, text: string) => {
      const ran = await paceline("member", id, text, "--url", cluster.url(never));
      assert.equal(ran.code, 0, ran.stderr);
    };
    const leads = async (id: string) => {
      const until = Date.now() + 30_000;
      while ((await cluster.leader()) !== id) {
        assert.ok(Date.now() < until, `${id} does not get the lead\n${cluster.output(id)}`);
        await sleep(50);
      }
    };
    await change(never, "priority=never");
    await change(wanted, "priority=10");
    await leads(wanted);
    const shown = (await cluster.statusOf(first))?.nodes.map((n) => [n.id, n.priority]);
    assert.deepEqual(
      shown,
      [
        [first, 0],
        [wanted, 10],
        [never, "never"],
      ].sort(),
    );
    // It dies: the third node would do, and does not lead; the first one does until the wanted one is back.
    await cluster.kill(wanted);
    await leads(first);
    cluster.restart(wanted);
    await leads(wanted);
    const to = await paceline("switchover", "--to", never, "--url", cluster.url(first));
    assert.match(to.stderr, /has priority never/);
    const alone = await paceline("member", "nobody", "priority=3", "--url", cluster.url(first));
    assert.match(alone.stderr, /there is no member "nobody"/);
    await load.stop();
    await cluster.settled();
    for (const url of cluster.urls) await load.check(url);
    assert.doesNotMatch(cluster.output(never), new RegExp(`${never} \\(this node\\) leads`));
  } finally {
    await cluster.stop();
  }
});
