/**
 * One run: the stage, the load, one fault after the other, the audit.
 *
 * A fault is mended before the next begins, and the cluster must then acknowledge writes again within a bounded time:
 * a run checks that Paceline recovers, not only that it does nothing wrong.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Prng } from "../src/base/prng.ts";
import { audit } from "./audit.ts";
import { allFaults, shuffled } from "./faults/all.ts";
import type { World } from "./faults/fault.ts";
import { Bank } from "./load/bank.ts";
import { Ground } from "./load/ground.ts";
import { Inserts } from "./load/inserts.ts";
import { Lists } from "./load/lists.ts";
import { Recorder } from "./load/recorder.ts";
import { Registers } from "./load/registers.ts";
import type { ChaosOptions } from "./options.ts";
import { registerCount, Stage } from "./stage.ts";
import { summaryOf } from "./summary.ts";

const bankClients = 2;
const listClients = 4;
const progressMs = 5_000;
/** After a fault is mended, writes are acknowledged again within this time. */
const recoversWithinMs = 30_000;
/** And a node that lost something has it back within this time. */
const wholeWithinMs = 90_000;
/** Most faults begin when all nodes are whole; the others come on top of the one before, and count for no failover. */
const calmShare = 0.8;
/** Acknowledgements that count as "again". */
const acksAgain = 20;

export type Ran = { readonly summary: { readonly ok: boolean }; readonly dir: string };

export async function runChaos(
  options: ChaosOptions,
  machine: { readonly mountable: boolean },
  signal: AbortSignal,
): Promise<Ran> {
  const prng = new Prng(options.seed);
  const tell = (line: string): void => console.log(`${clock(recorder.nowMs)} ${line}`);
  const recorder = new Recorder(({ kind, text }) => tell(`VIOLATION ${kind}: ${text}`));
  const onCrash = (id: string, how: string): void => {
    const tail = stage?.cluster.node(id).tail(1_500) ?? "";
    recorder.violate("crash", `${id} ended by itself (${how}):\n${tail}`);
  };
  const stage = await Stage.set({ ...options, mountable: machine.mountable, onCrash });
  const { cluster, links, native, has } = stage;
  const ground = new Ground(
    recorder,
    prng.child(),
    cluster.nodes.map((n) => n.url),
  );
  const inserts = new Inserts(ground, options.clients);
  const registers = new Registers(ground, registerCount);
  const bank = new Bank(ground, bankClients);
  const lists = new Lists(ground, listClients);
  const world: World = { cluster, links, ground, registers, prng, native, tell };
  const faults = new Faults(world, recorder);
  const types = shuffled(options.only, has, prng.child());
  const progress = setInterval(() => {
    const { acked, failed, unknown, violations } = recorder;
    tell(
      `${faults.count} faults, ${acked} acked, ${failed} failed, ${unknown} unknown, ` +
        `${violations.length} violations`,
    );
  }, progressMs);
  try {
    await sleep(1_000);
    while (recorder.nowMs < options.minutes * 60_000 && !signal.aborted) {
      await faults.next(types.next().value);
    }
    await ground.stop();
    tell("all is healed; checking every copy …");
    await audit(cluster, { recorder, inserts, bank });
    tell(`${lists.check()} list transactions checked`);
    await ground.close();
  } finally {
    clearInterval(progress);
    await stage.close();
  }
  const leftOut = Object.keys(allFaults).filter(
    (name) => !allFaults[name]!.needs.every((need) => has.has(need)),
  );
  const { faultsByType, gapsMsByType } = faults;
  const summary = summaryOf(recorder, { seed: options.seed, faultsByType, gapsMsByType, leftOut });
  return { summary, dir: stage.dir };
}

class Faults {
  readonly #world: World;
  readonly #recorder: Recorder;
  readonly faultsByType: Record<string, number> = {};
  readonly gapsMsByType: Record<string, number[]> = {};
  count = 0;

  constructor(world: World, recorder: Recorder) {
    this.#world = world;
    this.#recorder = recorder;
  }

  /** Breaks, waits, mends, and sees to it that all goes on. */
  async next(type: string): Promise<void> {
    const { cluster, prng, links, tell } = this.#world;
    const fault = allFaults[type]!;
    const calm = fault.damages || prng.chance(calmShare);
    if (calm) await this.#whole(`before ${type}`);
    const leader = await this.#leader();
    if (leader === undefined) return;
    const followers = cluster.nodes.filter((node) => node !== leader);
    const target = fault.hitsLeader ? leader : followers[prng.integer(0, followers.length)]!;
    this.#recorder.forget();
    const fromMs = this.#recorder.nowMs;
    try {
      await fault.run(this.#world, target);
    } catch (error) {
      throw new Error(`${type} of ${target.id}: ${(error as Error).message}`, { cause: error });
    }
    await links.heal();
    for (const node of cluster.nodes) {
      node.thaw();
      await cluster.start(node);
    }
    await this.#recovered(type);
    const gapMs = this.#recorder.longestGapSince(fromMs);
    this.count++;
    this.faultsByType[type] = (this.faultsByType[type] ?? 0) + 1;
    if (fault.isFailover && calm) {
      this.gapsMsByType[type] ??= [];
      this.gapsMsByType[type].push(gapMs);
    }
    tell(
      `${type} of ${target.id}${calm ? "" : ", others not whole"}: ${Math.round(gapMs)} ms without an acknowledgement`,
    );
    if (fault.damages) await this.#whole(`after ${type}`);
    await sleep(prng.integer(300, 1_500));
  }

  async #leader() {
    try {
      return await this.#world.cluster.leader(recoversWithinMs);
    } catch (error) {
      this.#recorder.violate("stuck", (error as Error).message);
      return undefined;
    }
  }

  async #recovered(type: string): Promise<void> {
    const wanted = this.#recorder.acked + acksAgain;
    const untilMs = this.#recorder.nowMs + recoversWithinMs;
    while (this.#recorder.acked < wanted) {
      if (this.#recorder.nowMs > untilMs) {
        this.#recorder.violate("stuck", `no writes for ${recoversWithinMs} ms after ${type}`);
        return;
      }
      await sleep(10);
    }
  }

  async #whole(when: string): Promise<void> {
    try {
      await this.#world.cluster.whole(wholeWithinMs);
    } catch (error) {
      const why = (error as Error).message;
      this.#recorder.violate("stuck", `${when}: ${why}`);
    }
  }
}

/** Seconds since the start, for a line of the story. */
export function clock(ms: number): string {
  return `${(ms / 1000).toFixed(1).padStart(7)} s`;
}
