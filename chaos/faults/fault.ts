/**
 * What a fault is: something that breaks, stays broken for a while, and is mended before it ends.
 *
 * The atlas: one node's disk at a time may lose or damage what it has kept, and only when all others are whole; the
 * node must be whole again before the next one. What was synced survives everything else, so kills, power cuts and
 * partitions may hit any number of nodes. Every run is therefore supposed to lose nothing and to recover.
 */

import type { Prng } from "../../src/base/prng.ts";
import type { Ground } from "../load/ground.ts";
import type { Registers } from "../load/registers.ts";
import type { Native } from "../native/build.ts";
import type { Links } from "../network/links.ts";
import type { ChaosCluster } from "../nodes/chaos-cluster.ts";
import type { ChaosNode } from "../nodes/chaos-node.ts";

export type World = {
  readonly cluster: ChaosCluster;
  /** A machine that belongs to no cluster; a fault may use it and leaves it as it was. */
  readonly spare: ChaosNode;
  readonly links: Links;
  readonly ground: Ground;
  readonly registers: Registers;
  readonly prng: Prng;
  readonly native: Native | undefined;
  /** A line for the story of the run. */
  tell(line: string): void;
};

/** What a fault needs of the machine: mounted disks, the preloaded library. */
export type Need = "mounts" | "preload";

export type Fault = {
  readonly needs: readonly Need[];
  readonly hitsLeader: boolean;
  /** Takes the leader away and leaves a majority: the time until the next acknowledgement is a failover. */
  readonly isFailover: boolean;
  /** Somebody asked for it, so the time until the next acknowledgement is no failover after a failure. */
  readonly isPlanned: boolean;
  /** Damages what a disk keeps: the atlas allows it only when all nodes are whole, and waits for it afterwards. */
  readonly damages: boolean;
  /** Breaks, waits, mends. */
  run(world: World, target: ChaosNode): Promise<void>;
};

type Options = Partial<Pick<Fault, "needs" | "damages" | "isFailover" | "isPlanned">>;

const usual = { needs: [], damages: false, isFailover: false, isPlanned: false };

/** Of the leader, which another node must replace. */
export function ofLeader(run: Fault["run"], options: Options = {}): Fault {
  return { ...usual, isFailover: true, ...options, hitsLeader: true, run };
}

/** Of a follower. */
export function ofFollower(run: Fault["run"], options: Options = {}): Fault {
  return { ...usual, ...options, hitsLeader: false, run };
}

/** Of all nodes, or of the leader in a way that need not end its lead. */
export function ofAll(run: Fault["run"], options: Options = {}): Fault {
  return { ...usual, ...options, hitsLeader: true, run };
}
