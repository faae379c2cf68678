/** Faults of processes and of the people who run them: kills, pauses, restarts, clients that go away. */

import { setTimeout as sleep } from "node:timers/promises";
import { Hrana } from "../load/hrana.ts";
import type { ChaosNode } from "../nodes/chaos-node.ts";
import { type Fault, ofAll, ofFollower, ofLeader, type World } from "./fault.ts";

export const processFaults: Record<string, Fault> = {
  "kill-leader": ofLeader(killAndRestart),
  "kill-follower": ofFollower(killAndRestart),
  "kill-all": ofAll(async ({ cluster }) => {
    await Promise.all(cluster.nodes.map((node) => node.kill()));
    await cluster.startAll();
  }),
  "kill-while-catching-up": ofFollower(async (world, node) => {
    await node.kill(true);
    await sleep(2_000);
    for (let n = 0; n < 3; n++) {
      await world.cluster.start(node);
      await sleep(world.prng.integer(150, 1_500));
      await node.kill();
    }
    await world.cluster.start(node);
  }),
  "stop-leader": ofLeader(freezeAndThaw),
  "stop-follower": ofFollower(freezeAndThaw),
  "restart-leader": ofLeader(restart),
  "restart-follower": ofFollower(restart),
  "client-vanishes": ofFollower(vanish),
};

async function killAndRestart({ cluster, prng }: World, node: ChaosNode): Promise<void> {
  await node.kill(prng.chance(0.5));
  await sleep(prng.chance(0.5) ? prng.integer(0, 200) : prng.integer(500, 4_000));
  await cluster.start(node);
}

/** Wakes with requests in its sockets that were sent while it stood still. */
async function freezeAndThaw(world: World, node: ChaosNode): Promise<void> {
  node.freeze();
  const ms = world.prng.chance(0.3) ? world.prng.integer(200, 700) : world.prng.integer(700, 6_000);
  await sleep(ms - 100);
  const queued = world.registers.readEverywhere(world.cluster.nodes.length);
  await sleep(100);
  node.thaw();
  await Promise.all([queued, world.registers.readEverywhere(world.cluster.nodes.length)]);
}

async function restart({ cluster, ground }: World, node: ChaosNode): Promise<void> {
  const how = await node.stop();
  if (!node.endedWell(how)) {
    ground.recorder.violate("stuck", `${node.id} was asked to stop and ended with ${how}`);
  }
  await cluster.start(node);
}

/** Begins transactions through every node, writes in them, and is gone without a word. */
async function vanish({ cluster, prng }: World): Promise<void> {
  const begun = cluster.nodes.map(async (node) => {
    const client = new Hrana(node.url);
    const opened = await client.ask({ statements: [{ sql: "BEGIN IMMEDIATE" }], stream: "open" });
    if (opened.type === "ok") {
      const statements = [{ sql: "INSERT INTO vanished VALUES (1)" }];
      await client.ask({ statements, stream: opened.stream });
      // In the middle of a statement, every other time.
      if (prng.chance(0.5)) void client.ask({ statements, stream: opened.stream });
    }
    await client.close();
  });
  await Promise.all(begun);
}
