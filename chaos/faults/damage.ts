/** Faults that take from one node what it had kept: flipped bits, damaged log, a lost disk. */

import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ChaosNode } from "../nodes/chaos-node.ts";
import { type Fault, ofFollower, ofLeader, type World } from "./fault.ts";

const damages = { damages: true } as const;
const pageSize = 4096;
/** A node that must refuse to start does so within this time. */
const refusesWithinMs = 60_000;

export const damageFaults: Record<string, Fault> = {
  "bit-flips-in-database": ofFollower(flipPages, damages),
  "bit-flip-in-log": ofFollower(flipLog, damages),
  "lost-disk-of-leader": ofLeader(loseDisk, damages),
  "lost-disk-of-follower": ofFollower(loseDisk, damages),
};

/** Repairs itself from another node: it must come back without our help. */
async function flipPages(world: World, node: ChaosNode): Promise<void> {
  // Half of the time with the changes in the database file itself, not in its WAL.
  if (world.prng.chance(0.5)) await node.stop();
  else await node.kill(true);
  const path = join(node.disk.dataDir, "db", "main.sqlite");
  const flips = world.prng.integer(1, 6);
  for (let n = 0; n < flips; n++) {
    flipBit(path, (size) => world.prng.integer(0, Math.max(1, size / pageSize)) * pageSize, world);
  }
  world.tell(`${flips} pages of ${node.id} damaged`);
  await world.cluster.start(node);
}

/** A log that is damaged before its end cannot be believed: the node refuses, and gets an empty directory. */
async function flipLog(world: World, node: ChaosNode): Promise<void> {
  await node.kill(true);
  const folder = join(node.disk.dataDir, "log");
  const segments = existsSync(folder)
    ? readdirSync(folder).filter((name) => name.endsWith(".segment"))
    : [];
  // Well before the end of the last segment: that is no torn tail.
  const path = join(folder, segments.sort()[world.prng.integer(0, segments.length)]!);
  flipBit(path, (size) => Math.floor(size / 4), world);
  const logged = node.logged;
  node.mayExit = true;
  await world.cluster.start(node);
  const refused = await Promise.race([node.gone, sleep(refusesWithinMs, undefined)]);
  const said = node.loggedSince(logged);
  if (refused === undefined || !/damaged|corrupt|checksum|wrong|lost/i.test(said)) {
    const how = refused ?? `still ran after ${refusesWithinMs} ms`;
    world.ground.recorder.violate(
      "diverged",
      `${node.id} had a bit flipped in ${path} and ${how}, saying ${said.slice(0, 600)}`,
    );
  } else {
    world.tell(
      `${node.id} refused: ${said.trim().split("\n").slice(1, 3).join(" ").slice(0, 160)}`,
    );
  }
  await node.kill(true);
  node.mayExit = false;
  node.disk.wipe();
  await world.cluster.start(node);
}

/** The same id with nothing on its disk: it must not endanger what it had acknowledged before. */
async function loseDisk(world: World, node: ChaosNode): Promise<void> {
  await node.kill(true);
  // Its last processes may still write.
  await sleep(700);
  node.disk.wipe();
  if (world.prng.chance(0.5)) await sleep(world.prng.integer(0, 2_000));
  await world.cluster.start(node);
}

/** Flips one bit in the `pageSize` bytes at an offset. */
function flipBit(path: string, offsetIn: (size: number) => number, { prng }: World): void {
  const fd = openSync(path, "r+");
  const { size } = fstatSync(fd);
  const at = Math.min(size - 1, Math.max(0, offsetIn(size) + prng.integer(0, pageSize)));
  const byte = new Uint8Array(1);
  readSync(fd, byte, 0, 1, at);
  byte[0]! ^= 1 << prng.integer(0, 8);
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
}
