/** The result of a run, as JSON that other tools read: fields are added, never renamed or removed. */

import type { Recorder, ViolationKind } from "./load/recorder.ts";

export type Failovers = {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
  /** Half-open: each count is of times above the bound before and at most `upToMs`. */
  readonly histogram: readonly { readonly upToMs: number; readonly count: number }[];
};

export type Summary = {
  readonly ok: boolean;
  readonly seed: number;
  readonly seconds: number;
  readonly faults: number;
  readonly faultsByType: Readonly<Record<string, number>>;
  /** Needs that this machine does not meet. */
  readonly leftOut: readonly string[];
  readonly acked: number;
  readonly failed: number;
  readonly unknown: number;
  readonly reads: Readonly<Record<string, number>>;
  readonly codes: Readonly<Record<string, number>>;
  /** The first message of each code. */
  readonly samples: Readonly<Record<string, string>>;
  readonly lost: number;
  readonly risen: number;
  readonly stale: number;
  readonly torn: number;
  readonly diverged: number;
  readonly anomalies: number;
  readonly stuck: number;
  readonly crashes: number;
  readonly failoverMs: Failovers;
  /** The same for single types of faults. */
  readonly failoverMsByType: Readonly<Record<string, Failovers>>;
  readonly violations: readonly string[];
};

export type Story = {
  readonly seed: number;
  readonly faultsByType: Readonly<Record<string, number>>;
  readonly leftOut: readonly string[];
  /** Of faults that take the leader away, by type. */
  readonly gapsMsByType: Readonly<Record<string, readonly number[]>>;
};

export function summaryOf(recorder: Recorder, story: Story): Summary {
  const count = (kind: ViolationKind) =>
    recorder.violations.filter((v) => v.kind === kind).reduce((sum, v) => sum + v.count, 0);
  const { acked, failed, unknown, reads, codes, samples, violations } = recorder;
  return {
    ok: violations.length === 0,
    seed: story.seed,
    seconds: Math.round(recorder.nowMs / 1000),
    faults: Object.values(story.faultsByType).reduce((a, b) => a + b, 0),
    faultsByType: story.faultsByType,
    leftOut: story.leftOut,
    ...{ acked, failed, unknown, reads, codes, samples },
    lost: count("lost"),
    risen: count("risen"),
    stale: count("stale"),
    torn: count("torn"),
    diverged: count("diverged"),
    anomalies: count("anomaly"),
    stuck: count("stuck"),
    crashes: count("crash"),
    failoverMs: failoversOf(Object.values(story.gapsMsByType).flat()),
    failoverMsByType: Object.fromEntries(
      Object.entries(story.gapsMsByType).map(([type, gaps]) => [type, failoversOf(gaps)]),
    ),
    violations: violations.map(
      (v) => `${(v.atMs / 1000).toFixed(1)} s ${v.kind}: ${v.text.slice(0, 2_000)}`,
    ),
  };
}

const bounds = [100, 200, 300, 400, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 60_000];

export function failoversOf(gapsMs: readonly number[]): Failovers {
  const sorted = gapsMs.map(Math.round).sort((a, b) => a - b);
  const at = (p: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? 0;
  const histogram = bounds.map((upToMs, i) => {
    const above = bounds[i - 1] ?? -1;
    return { upToMs, count: sorted.filter((ms) => ms > above && ms <= upToMs).length };
  });
  return {
    count: sorted.length,
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    max: sorted.at(-1) ?? 0,
    histogram: histogram.filter(({ count }) => count > 0),
  };
}
