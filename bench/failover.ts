/**
 * Time without a leader, as a client sees it: from the last acknowledged write before a SIGKILL of the leader to the
 * next acknowledged one after it.
 */

import { sleep, type TestCluster } from "../test/process/cluster.ts";
import { Load } from "../test/process/load.ts";
import { percentile } from "./http-load.ts";

export type FailoverTimes = {
  readonly timesMs: readonly number[];
  readonly p50Ms: number;
  readonly maxMs: number;
  readonly acked: number;
  readonly unknown: number;
};

/** Kills the leader `kills` times under load, restarting it each time, and holds every copy against what was acked. */
export async function failoverTimes(cluster: TestCluster, kills: number): Promise<FailoverTimes> {
  await Load.prepare(cluster.url(await cluster.leader()));
  const running = () =>
    cluster.nodes.filter((n) => cluster.isRunning(n.id)).map((n) => cluster.url(n.id));
  const load = new Load(running, 8);
  const timesMs: number[] = [];
  for (let kill = 0; kill < kills; kill++) {
    await sleep(1_500);
    const leader = await cluster.leader();
    const killedMs = performance.now();
    await cluster.kill(leader);
    await cluster.leader();
    while (!load.written.okTimesMs.some((at) => at > killedMs + 20)) await sleep(5);
    timesMs.push(gapAround(load.written.okTimesMs, killedMs));
    cluster.restart(leader);
    await sleep(1_000);
  }
  await load.stop();
  await cluster.settled();
  for (const url of running()) await load.check(url);
  const sorted = [...timesMs].sort((a, b) => a - b);
  return {
    timesMs: timesMs.map((ms) => Math.round(ms)),
    p50Ms: percentile(sorted, 0.5),
    maxMs: sorted.at(-1) ?? Number.NaN,
    acked: load.written.ok.size,
    unknown: load.written.unknown.size,
  };
}

/** The longest pause between acknowledgements that ends within a few seconds after the kill. */
export function gapAround(okTimesMs: readonly number[], killedMs: number): number {
  const times = okTimesMs.filter((at) => at > killedMs - 500).sort((a, b) => a - b);
  let longest = 0;
  for (let i = 1; i < times.length; i++) {
    if (times[i]! > killedMs) longest = Math.max(longest, times[i]! - times[i - 1]!);
  }
  return longest;
}
