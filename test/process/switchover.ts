/**
 * Planned switchovers under load: how long clients are without an acknowledgement, and that none is lost.
 */

import { gapAround } from "../../bench/failover.ts";
import { type ClusterOptions, sleep, TestCluster } from "./cluster.ts";
import { audit } from "./faults.ts";
import { Load } from "./load.ts";

export type SwitchoverReport = {
  /** The longest pause between two acknowledgements around each switchover, whichever clients got them; ms. */
  readonly gapsMs: readonly number[];
  /** What the same load shows without a switchover: the noise of the machine. */
  readonly quietMs: readonly number[];
  readonly acked: number;
  readonly unknown: number;
};

/** Switches over `times` times while `clients` write through all nodes, then audits. Throws on any violation. */
export async function switchovers(options: {
  readonly clients: number;
  readonly times: number;
  readonly cluster?: ClusterOptions;
  readonly tell?: (line: string) => void;
}): Promise<SwitchoverReport> {
  const cluster = await TestCluster.start(options.cluster);
  try {
    await Load.prepare(cluster.url(await cluster.leader()));
    const load = new Load(() => cluster.urls, options.clients);
    const gapsMs: number[] = [];
    const quietMs: number[] = [];
    for (let i = 0; i < options.times; i++) {
      await sleep(1_000);
      await cluster.recovered();
      const quietFromMs = performance.now();
      await sleep(500);
      quietMs.push(Math.round(gapAround(load.written.okTimesMs, quietFromMs)));
      const from = await cluster.leader();
      const atMs = performance.now();
      const response = await fetch(`${cluster.url(from)}/admin/switchover`, { method: "POST" });
      const answer = await response.text();
      if (!response.ok) throw new Error(`switchover away from ${from}: ${answer}`);
      await sleep(500);
      const gapMs = Math.round(gapAround(load.written.okTimesMs, atMs));
      gapsMs.push(gapMs);
      options.tell?.(`switchover ${i + 1}: ${gapMs} ms without an acknowledgement; ${answer}`);
    }
    await load.stop();
    await audit(cluster, load);
    const { ok, unknown } = load.written;
    return { gapsMs, quietMs, acked: ok.size, unknown: unknown.size };
  } catch (error) {
    const tails = cluster.nodes.map((n) => `--- ${n.id}\n${cluster.output(n.id).slice(-3_000)}`);
    throw new Error(`${(error as Error).message}\n${tails.join("\n")}`, { cause: error });
  } finally {
    await cluster.stop();
  }
}
