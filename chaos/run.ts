/**
 * One run: the stage, the load, one fault after the other, the audit, the checks of the history.
 *
 * It comes to an end: whatever hangs is given up after a bounded time, and counts as a violation.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Prng } from "../src/base/prng.ts";
import type { HistoryEvent } from "../src/sim/checkers/history.ts";
import { audit } from "./audit.ts";
import { clock, within } from "./clock.ts";
import { allFaults, shuffled } from "./faults/all.ts";
import type { World } from "./faults/fault.ts";
import { type Checked, HistoryChecks } from "./history/checks.ts";
import { History, HistoryFile, type Sink } from "./history/history.ts";
import { Bank } from "./load/bank.ts";
import { Cells } from "./load/cells.ts";
import { Ground } from "./load/ground.ts";
import { Inserts } from "./load/inserts.ts";
import { Lists } from "./load/lists.ts";
import { Recorder } from "./load/recorder.ts";
import { Registers } from "./load/registers.ts";
import { Sessions } from "./load/sessions.ts";
import type { ChaosOptions } from "./options.ts";
import { Rounds } from "./rounds.ts";
import { registerCount, Stage } from "./stage.ts";
import { type Story, summaryOf } from "./summary.ts";

const bankClients = 2;
const listClients = 4;
const cellGroups = 2;
const sessionClients = 3;
const progressMs = 10_000;
/** A minute of faults may take this much longer than a minute, and the end of the run this long. */
const slowness = 1.2;
const endsWithinMs = 900_000;
const loadEndsWithinMs = 120_000;

export type Ran = { readonly summary: { readonly ok: boolean }; readonly dir: string };

export async function runChaos(
  options: ChaosOptions,
  machine: { readonly mountable: boolean },
  signal: AbortSignal,
): Promise<Ran> {
  const tell = (line: string): void => console.log(`${clock(recorder.nowMs)} ${line}`);
  const recorder = new Recorder(({ kind, text }) => tell(`VIOLATION ${kind}: ${text}`));
  const onCrash = (id: string, how: string): void => {
    const tail = stage?.machines.find((node) => node.id === id)?.tail(1_500) ?? "";
    recorder.violate("crash", `${id} ended by itself (${how}):\n${tail}`);
  };
  const stage = await Stage.set({ ...options, mountable: machine.mountable, onCrash });
  if (options.plant === "no-fsync") {
    for (const node of stage.machines) node.control({ syncLies: true });
  }
  const run = new Run({ options, stage, recorder, tell });
  const limitMs = options.minutes * 60_000 * slowness + endsWithinMs;
  try {
    await within(limitMs, "the run", run.play(signal));
  } catch (error) {
    recorder.violate("stuck", `the run broke off: ${(error as Error).stack}`);
  } finally {
    await run.close();
    await stage.close();
  }
  return { summary: summaryOf(recorder, run.story()), dir: stage.dir };
}

type Parts = {
  readonly options: ChaosOptions;
  readonly stage: Stage;
  readonly recorder: Recorder;
  tell(line: string): void;
};

class Run {
  readonly #parts: Parts;
  readonly #prng: Prng;
  readonly #checks: HistoryChecks;
  readonly #file: HistoryFile | undefined;
  readonly #ground: Ground;
  readonly #rounds: Rounds;
  readonly #progress: NodeJS.Timeout;
  readonly #registers: Registers;
  readonly #inserts: Inserts;
  readonly #bank: Bank;
  #checked: Checked | undefined;
  #peakBytes = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { options, stage, recorder, tell } = parts;
    const { cluster, spare, links, native } = stage;
    const prng = new Prng(options.seed);
    this.#prng = prng;
    this.#checks = new HistoryChecks(({ kind, text, count }) =>
      recorder.violate(kind, text, count),
    );
    const sinks: Sink[] = [(event: HistoryEvent) => this.#checks.add(event)];
    if (options.history !== undefined) {
      const file = new HistoryFile(options.history);
      this.#file = file;
      sinks.push((event) => file.add(event));
    }
    const history = new History(sinks);
    const plant = options.plant === "no-fsync" ? undefined : options.plant;
    const ground = new Ground({ recorder, history, prng: prng.child() }, cluster.nodes, plant);
    this.#ground = ground;
    this.#inserts = new Inserts(ground, options.clients);
    this.#registers = new Registers(ground, registerCount);
    this.#bank = new Bank(ground, bankClients);
    new Lists(ground, listClients);
    new Cells(ground, cellGroups);
    new Sessions(ground, sessionClients);
    const registers = this.#registers;
    const world: World = { cluster, spare, links, ground, registers, prng, native, tell };
    this.#rounds = new Rounds(world);
    this.#progress = setInterval(() => this.#tellProgress(), progressMs);
  }

  async play(signal: AbortSignal): Promise<void> {
    const { options, stage, recorder, tell } = this.#parts;
    const types = shuffled(options.only, stage.has, this.#prng.child());
    await sleep(1_000);
    try {
      // Setting the stage took as long as it took; and no run is without a fault.
      const untilMs = recorder.nowMs + options.minutes * 60_000;
      do await this.#rounds.next(types.next().value);
      while (recorder.nowMs < untilMs && !signal.aborted);
    } catch (error) {
      // What was acknowledged is looked at all the same.
      recorder.violate("stuck", `no more faults: ${(error as Error).stack}`);
    }
    await within(loadEndsWithinMs, "the last requests", this.#ground.stop());
    tell("all is healed; checking every copy …");
    await audit(stage.cluster, { recorder, inserts: this.#inserts, bank: this.#bank });
    tell("checking the end of the history …");
    this.#checked = await this.#checks.finish();
  }

  story(): Story {
    const { options, stage } = this.#parts;
    const { faultsByType, gapsMsByType } = this.#rounds;
    const leftOut = Object.keys(allFaults).filter(
      (name) => !allFaults[name]!.needs.every((need) => stage.has.has(need)),
    );
    const planned = Object.keys(gapsMsByType).filter((name) => allFaults[name]!.isPlanned);
    return {
      ...{ seed: options.seed, minutes: options.minutes, plant: options.plant },
      ...{ faultsByType, gapsMsByType, planned, leftOut },
      checked: this.#checked,
      memoryPeakMb: Math.round(this.#peakBytes / 1e6),
    };
  }

  async close(): Promise<void> {
    clearInterval(this.#progress);
    await this.#checks.close();
    await this.#ground.close();
    this.#file?.close();
  }

  #tellProgress(): void {
    const { recorder, tell } = this.#parts;
    const { acked, failed, unknown, violations } = recorder;
    const memory = process.memoryUsage.rss();
    this.#peakBytes = Math.max(this.#peakBytes, memory);
    tell(
      `${this.#rounds.count} faults, ${acked} acked, ${failed} failed, ${unknown} unknown, ` +
        `${violations.length} violations, ${Math.round(memory / 1e6)} MB, ` +
        `${this.#checks.pending} windows to check`,
    );
  }
}
