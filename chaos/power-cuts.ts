/**
 * The durability rig: a node, alone, under write load on a disk whose power is cut again and again. Whatever was
 * acknowledged must be there afterwards; nobody else has a copy.
 *
 * The control is the same with fsync and fdatasync that do nothing and say that they did (native/preload.c). It must
 * lose acknowledged writes; if it did not, the rig could not see a loss. The product has no switch for this.
 */

import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Prng } from "../src/base/prng.ts";
import { clock } from "./clock.ts";
import { History } from "./history/history.ts";
import { Ground } from "./load/ground.ts";
import { Hrana } from "./load/hrana.ts";
import { Inserts } from "./load/inserts.ts";
import { Recorder } from "./load/recorder.ts";
import type { ChaosNode } from "./nodes/chaos-node.ts";
import type { ChaosOptions } from "./options.ts";
import type { Ran } from "./run.ts";
import { Stage } from "./stage.ts";
import { commitOf } from "./summary.ts";

const startsWithinMs = 120_000;
const tellEvery = 10;

export type PowerCutSummary = {
  readonly ok: boolean;
  readonly control: boolean;
  readonly seed: number;
  readonly commit: string;
  readonly seconds: number;
  readonly cuts: number;
  readonly acked: number;
  readonly failed: number;
  readonly unknown: number;
  readonly lost: number;
  readonly risen: number;
  /** The node did not start again; only the control may come to that. */
  readonly refusals: number;
  readonly violations: readonly string[];
};

/** The node waits much: for its disk, for an election. Several of them, each alone, wait at the same time. */
const lanes = 2;
const clientsMax = 16;

export async function runPowerCuts(
  options: ChaosOptions,
  { mountable }: { readonly mountable: boolean },
  signal: AbortSignal,
): Promise<Ran> {
  if (!mountable) throw new Error("power cuts need root on Linux, to mount disks");
  const control = options.noFsync;
  const recorder = new Recorder(({ kind, text }) =>
    tell(`${control ? "" : "VIOLATION "}${kind}: ${text}`),
  );
  const tell = (line: string): void => console.log(`${clock(recorder.nowMs)} ${line}`);
  const dir = mkdtempSync(join(options.dir, "paceline-power-cuts-"));
  const tally: Tally = { cuts: 0, refusals: 0 };
  const prng = new Prng(options.seed);
  const clients = Math.min(clientsMax, options.clients);
  const rig: Rig = { ...options, dir, clients, control, recorder, signal, tally, tell };
  await Promise.all(Array.from({ length: lanes }, () => runLane(rig, prng.child())));
  return { summary: summaryOf(recorder, { control, seed: options.seed, ...tally }), dir };
}

/** Cuts begun, by all nodes. */
type Tally = { cuts: number; refusals: number };

type Rig = ChaosOptions & {
  readonly control: boolean;
  readonly recorder: Recorder;
  readonly signal: AbortSignal;
  readonly tally: Tally;
  tell(line: string): void;
};

/** One node after one cut after the other, until there were enough. */
async function runLane(rig: Rig, prng: Prng): Promise<void> {
  const { recorder, tally, control, tell } = rig;
  const onCrash = (id: string, how: string) => recorder.violate("crash", `${id} ended: ${how}`);
  const stage = await Stage.set({ ...rig, nodes: 1, mountable: true, onCrash });
  const node = stage.cluster.nodes[0]!;
  if (stage.native === undefined) throw new Error("power cuts need a C compiler");
  if (control) node.control({ syncLies: true });
  const ground = new Ground({ recorder, history: new History([]), prng: prng.child() }, [node]);
  const inserts = new Inserts(ground, rig.clients);
  const client = new Hrana(node.url);
  let refused = false;
  try {
    while (tally.cuts < rig.powerCuts! && !rig.signal.aborted && tally.refusals === 0) {
      if (control && recorder.violations.length > 0) break;
      const cuts = ++tally.cuts;
      await sleep(prng.integer(50, 800));
      await cut(node, stage, prng);
      if (!(await leads(stage))) {
        refused = true;
        tally.refusals++;
        recorder.violate("stuck", `after cut ${cuts} the node does not lead: ${node.tail(600)}`);
        break;
      }
      await inserts.checkNew(`cut ${cuts}`, client);
      if (cuts % tellEvery === 0) tell(`${cuts} cuts, ${recorder.acked} acked`);
    }
    await ground.stop();
    if (!refused && !control) await inserts.check("the end", client);
  } finally {
    await client.close();
    await ground.close();
    await stage.close();
  }
}

async function cut(node: ChaosNode, { cluster, native }: Stage, prng: Prng): Promise<void> {
  node.mayExit = true;
  node.disk.cutPower(native!.fsShutdown);
  if (prng.chance(0.3)) await sleep(prng.integer(1, 30));
  await node.kill(true);
  await node.disk.remount();
  await cluster.start(node);
}

/** Whether the node leads again before it ends by itself or time is up. */
async function leads({ cluster }: Stage): Promise<boolean> {
  const node = cluster.nodes[0]!;
  const led = cluster.leader(startsWithinMs).then(
    () => true,
    () => false,
  );
  const is = await Promise.race([led, node.gone.then(() => false)]);
  if (is) node.mayExit = false;
  return is;
}

function summaryOf(
  recorder: Recorder,
  story: { control: boolean; seed: number; cuts: number; refusals: number },
): PowerCutSummary {
  const { acked, failed, unknown, violations } = recorder;
  return {
    ok: story.control ? recorder.count("lost") + story.refusals > 0 : violations.length === 0,
    ...story,
    commit: commitOf(),
    seconds: Math.round(recorder.nowMs / 1000),
    ...{ acked, failed, unknown },
    lost: recorder.count("lost"),
    risen: recorder.count("risen"),
    violations: violations.map((v) => `${(v.atMs / 1000).toFixed(1)} s ${v.kind}: ${v.text}`),
  };
}
