/**
 * The faults of a run, one after the other. Each is mended before the next begins, and the cluster must then
 * acknowledge writes again within a bounded time: a run checks that Paceline recovers, not only that it does nothing
 * wrong.
 *
 * The bounds are for a machine with much else to do: they tell a hang from a slow machine, not fast from slow.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { within } from "./clock.ts";
import { allFaults } from "./faults/all.ts";
import type { World } from "./faults/fault.ts";
import type { ChaosNode } from "./nodes/chaos-node.ts";

/** After a fault is mended, writes are acknowledged again within this time. */
const recoversWithinMs = 60_000;
/** And a node that lost something has it back within this time. */
const wholeWithinMs = 300_000;
/** A fault that is not mended by then hangs. */
const mendsWithinMs = 600_000;
/** Most faults begin when all nodes are whole; the others come on top of the one before, and count for no failover. */
const calmShare = 0.8;
/** Acknowledgements that count as "again". */
const acksAgain = 20;
const pauseMs = [500, 3_000] as const;

export class Rounds {
  readonly #world: World;
  readonly faultsByType: Record<string, number> = {};
  /** Of faults that take the leader away, by type. */
  readonly gapsMsByType: Record<string, number[]> = {};
  count = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Breaks, waits, mends, and sees to it that all goes on. Throws when the run cannot go on. */
  async next(type: string): Promise<void> {
    const { cluster, prng, tell, ground } = this.#world;
    const { recorder, history } = ground;
    const fault = allFaults[type]!;
    const calm = fault.damages || prng.chance(calmShare);
    if (calm) await this.#whole(`before ${type}`);
    const leader = await this.#leader();
    if (leader === undefined) return;
    const followers = cluster.nodes.filter((node) => node !== leader);
    const target = fault.hitsLeader ? leader : followers[prng.integer(0, followers.length)]!;
    recorder.forget();
    const fromMs = recorder.nowMs;
    const event = { process: "faults", op: type, key: "fault", node: target.memberId };
    history.tell({ ...event, type: "invoke" });
    try {
      await within(mendsWithinMs, type, fault.run(this.#world, target));
      await this.#mend();
    } catch (error) {
      throw new Error(`${type} of ${target.id}: ${(error as Error).message}`, { cause: error });
    }
    await this.#recovered(type);
    history.tell({ ...event, type: "ok" });
    const gapMs = recorder.longestGapSince(fromMs);
    this.count++;
    this.faultsByType[type] = (this.faultsByType[type] ?? 0) + 1;
    if (fault.isFailover && calm) {
      this.gapsMsByType[type] ??= [];
      this.gapsMsByType[type].push(gapMs);
    }
    const others = calm ? "" : ", others not whole";
    tell(`${type} of ${target.id}${others}: ${Math.round(gapMs)} ms without an acknowledgement`);
    if (fault.damages) await this.#whole(`after ${type}`);
    await sleep(prng.integer(...pauseMs));
  }

  async #mend(): Promise<void> {
    const { links, cluster } = this.#world;
    await links.heal();
    for (const node of cluster.nodes) {
      node.thaw();
      await cluster.start(node);
    }
  }

  async #leader(): Promise<ChaosNode | undefined> {
    try {
      return await this.#world.cluster.leader(recoversWithinMs);
    } catch (error) {
      this.#stuck((error as Error).message);
      return undefined;
    }
  }

  async #recovered(type: string): Promise<void> {
    const { recorder } = this.#world.ground;
    const wanted = recorder.acked + acksAgain;
    const untilMs = recorder.nowMs + recoversWithinMs;
    while (recorder.acked < wanted) {
      if (recorder.nowMs > untilMs) {
        this.#stuck(`no writes for ${recoversWithinMs} ms after ${type}`);
        return;
      }
      await sleep(10);
    }
  }

  async #whole(when: string): Promise<void> {
    try {
      await this.#world.cluster.whole(wholeWithinMs);
    } catch (error) {
      this.#stuck(`${when}: ${(error as Error).message}`);
    }
  }

  #stuck(text: string): void {
    this.#world.ground.recorder.violate("stuck", text);
  }
}
