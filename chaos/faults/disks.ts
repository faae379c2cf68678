/** Faults of disks that keep what was synced: power cuts, full, read-only, failing and slow syncs; and wall clocks. */

import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { ChaosNode } from "../nodes/chaos-node.ts";
import { type Fault, ofAll, ofFollower, ofLeader, type World } from "./fault.ts";

const jumpHours = [1, -1, 240, -8_760, 0.01];
/** A node that meets a failing sync, also on a busy machine, has ended by then. */
const endsWithinMs = 30_000;
/** A node that is about to stop has stopped by then. */
const stopsWithinMs = 3_000;

const mounts = { needs: ["mounts"] } as const;
const preload = { needs: ["preload"] } as const;
const powerCut = { needs: ["mounts", "preload"] } as const;

export const diskFaults: Record<string, Fault> = {
  "power-cut-leader": ofLeader((world, node) => cutPower(world, [node]), powerCut),
  "power-cut-follower": ofFollower((world, node) => cutPower(world, [node]), powerCut),
  "power-cut-all": ofAll((world) => cutPower(world, world.cluster.nodes), powerCut),
  "full-disk-leader": ofLeader(fillDisk, mounts),
  "full-disk-follower": ofFollower(fillDisk, mounts),
  "read-only-leader": ofLeader(readOnly, mounts),
  "read-only-follower": ofFollower(readOnly, mounts),
  "sync-error-leader": ofLeader(syncError, preload),
  "sync-error-follower": ofFollower(syncError, preload),
  "slow-sync-leader": ofAll(slowSync, preload),
  "slow-sync-follower": ofFollower(slowSync, preload),
  "wall-clock-jumps": ofAll((world, node) => jumpClocks(world, [node]), preload),
  "wall-clocks-jump-apart": ofAll((world) => jumpClocks(world, world.cluster.nodes), preload),
};

/** The disk first: what the node still says afterwards cannot have been synced afterwards. */
async function cutPower(world: World, nodes: readonly ChaosNode[]): Promise<void> {
  for (const node of nodes) {
    node.mayExit = true;
    node.disk.cutPower(world.native!.fsShutdown);
  }
  await sleep(world.prng.chance(0.5) ? 0 : world.prng.integer(1, 50));
  await Promise.all(nodes.map((node) => node.kill(true)));
  await sleep(world.prng.integer(0, 2_000));
  for (const node of nodes) {
    await node.disk.remount();
    node.mayExit = false;
  }
  await Promise.all(nodes.map((node) => world.cluster.start(node)));
}

async function fillDisk(world: World, node: ChaosNode): Promise<void> {
  node.mayExit = true;
  node.disk.fill(world.prng.chance(0.5) ? 0 : world.prng.integer(0, 400_000));
  await sleep(world.prng.integer(2_000, 6_000));
  node.disk.unfill();
  await revive(world, node);
}

async function readOnly(world: World, node: ChaosNode): Promise<void> {
  node.mayExit = true;
  node.disk.goReadOnly();
  await sleep(world.prng.integer(1_000, 4_000));
  await node.kill(true);
  await node.disk.remount();
  await revive(world, node);
}

async function syncError(world: World, node: ChaosNode): Promise<void> {
  node.mayExit = true;
  node.control({ syncErrno: constants.errno.EIO });
  // A node whose sync failed must not go on; it gets some time to meet one.
  const ended = await Promise.race([node.gone.then(() => true), sleep(endsWithinMs, false)]);
  node.control({});
  if (!ended) {
    world.ground.recorder.violate(
      "stuck",
      `${node.id} went on for ${endsWithinMs} ms although fsync failed`,
    );
    await node.kill(true);
  }
  await revive(world, node);
}

async function slowSync(world: World, node: ChaosNode): Promise<void> {
  node.control({ syncMs: world.prng.integer(100, 3_000) });
  await sleep(world.prng.integer(1_000, 5_000));
  node.control({});
}

/** Forward and back again, each node for itself, without touching anything that only goes forward. */
async function jumpClocks({ prng }: World, nodes: readonly ChaosNode[]): Promise<void> {
  for (let jumps = 0; jumps < 3; jumps++) {
    for (const node of nodes) {
      const hours = jumpHours[prng.integer(0, jumpHours.length)]!;
      node.control({ wallMs: hours * 3_600_000 });
    }
    await sleep(prng.integer(300, 1_200));
  }
  for (const node of nodes) node.control({});
}

/** The disk is well again: a node that has stopped itself is started, one that goes on goes on. */
async function revive(world: World, node: ChaosNode): Promise<void> {
  // It may be about to stop itself, and that takes as long as its stop does.
  await Promise.race([node.gone, sleep(stopsWithinMs)]);
  node.mayExit = false;
  await world.cluster.start(node);
}
