/** Faults of the links between nodes. Clients reach every node all the time. */

import { setTimeout as sleep } from "node:timers/promises";
import type { ChaosNode } from "../nodes/chaos-node.ts";
import { type Fault, ofAll, ofFollower, ofLeader, type World } from "./fault.ts";

const silent = { held: true };

export const networkFaults: Record<string, Fault> = {
  "cut-leader": ofLeader((world, node) => cutAround(world, node)),
  "cut-follower": ofFollower((world, node) => cutAround(world, node)),
  "silence-leader": ofLeader((world, node) => ruleAround(world, node, silent)),
  "silence-follower": ofFollower((world, node) => ruleAround(world, node, silent)),
  "leader-cannot-hear": ofLeader((world, node) => oneWay(world, node, "in")),
  "leader-cannot-speak": ofLeader((world, node) => oneWay(world, node, "out")),
  "follower-cannot-hear": ofFollower((world, node) => oneWay(world, node, "in")),
  "follower-cannot-speak": ofFollower((world, node) => oneWay(world, node, "out")),
  "one-link-cut": ofAll(async (world, leader) => {
    const [other] = world.cluster.nodes.filter((node) => node !== leader);
    await world.links.cut(leader.id, other!.id);
    await aWhile(world);
    await world.links.heal();
  }),
  "links-reset": ofAll(async ({ links, prng }) => {
    for (let n = prng.integer(1, 5); n > 0; n--) {
      await links.resetAll();
      await sleep(prng.integer(0, 400));
    }
  }),
  delay: ofFollower((world, node) =>
    ruleAround(world, node, { delayMs: world.prng.integer(20, 400) }),
  ),
  "delay-leader": ofAll((world, node) =>
    ruleAround(world, node, { delayMs: world.prng.integer(20, 400) }),
  ),
  "slow-line": ofFollower((world, node) =>
    ruleAround(world, node, { bytesPerSecond: world.prng.integer(20_000, 500_000) }),
  ),
  flapping: ofAll(async (world, node) => {
    for (let n = world.prng.integer(3, 8); n > 0; n--) {
      await world.links.ruleAround(node.id, silent);
      await sleep(world.prng.integer(50, 600));
      await world.links.heal();
      await sleep(world.prng.integer(50, 600));
    }
  }),
  "all-silent": ofAll(async (world) => {
    for (const node of world.cluster.nodes) await world.links.ruleAround(node.id, silent);
    await aWhile(world);
    await world.links.heal();
  }),
};

type Rule = Parameters<World["links"]["ruleAround"]>[1];

async function cutAround(world: World, node: ChaosNode): Promise<void> {
  await world.links.cutAround(node.id);
  await aWhile(world);
  await world.links.heal();
}

async function ruleAround(world: World, node: ChaosNode, rule: Rule): Promise<void> {
  await world.links.ruleAround(node.id, rule);
  await aWhile(world);
  await world.links.heal();
}

async function oneWay(world: World, node: ChaosNode, way: "in" | "out"): Promise<void> {
  for (const other of world.cluster.nodes) {
    if (other === node) continue;
    const [from, to] = way === "in" ? [other.id, node.id] : [node.id, other.id];
    await world.links.rule(from, to, silent);
  }
  await aWhile(world);
  await world.links.heal();
}

/** Reads through every node go on meanwhile: the one that is cut off must not answer from the past. */
async function aWhile({ prng, registers, cluster }: World): Promise<void> {
  const ms = prng.integer(500, 5_000);
  await sleep(ms / 2);
  void registers.readEverywhere(cluster.nodes.length);
  await sleep(ms / 2);
}
