/** The result of a run, as JSON that other tools read: fields are added, never renamed or removed (docs/proof.md). */

import { execFileSync } from "node:child_process";
import type { Checked } from "./history/checks.ts";
import type { Recorder } from "./load/recorder.ts";

/** Times without an acknowledgement. */
export type Failover = {
  readonly count: number;
  readonly medianMs: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Half-open: each count is of times above the bound before and at most `upToMs`; the last has no bound. */
  readonly histogram: readonly { readonly upToMs: number | null; readonly count: number }[];
};

export type Summary = {
  readonly ok: boolean;
  readonly seed: number;
  /** Of the tree; "+" behind it: with changes that are not committed. */
  readonly commit: string;
  readonly plant: string | undefined;
  /** That faults were to go on. */
  readonly minutes: number;
  /** That all took. */
  readonly seconds: number;
  readonly faults: number;
  readonly faultTypes: number;
  readonly faultsByType: Readonly<Record<string, number>>;
  /** Faults whose needs this machine does not meet. */
  readonly leftOut: readonly string[];
  readonly acked: number;
  readonly failed: number;
  readonly unknown: number;
  readonly reads: number;
  readonly readsByKind: Readonly<Record<string, number>>;
  readonly lost: number;
  readonly risen: number;
  readonly stale: number;
  readonly torn: number;
  readonly diverged: number;
  readonly anomalies: number;
  readonly undecided: number;
  readonly stuck: number;
  readonly crashes: number;
  /** What the checkers of the history looked at; undefined when they did not come to an end. */
  readonly checked: Checked | undefined;
  readonly failover: Failover;
  readonly failoverByType: Readonly<Record<string, Failover>>;
  readonly codes: Readonly<Record<string, number>>;
  /** The first message of each code. */
  readonly samples: Readonly<Record<string, string>>;
  /** Of the process that runs the load and keeps the records. */
  readonly memoryPeakMb: number;
  readonly violations: readonly string[];
};

export type Story = Pick<
  Summary,
  "seed" | "plant" | "minutes" | "faultsByType" | "leftOut" | "checked" | "memoryPeakMb"
> & {
  /** Of faults that take the leader away, by type. */
  readonly gapsMsByType: Readonly<Record<string, readonly number[]>>;
  /** Types that are no failure: somebody asked for another leader. */
  readonly planned: readonly string[];
};

export function summaryOf(recorder: Recorder, { gapsMsByType, planned, ...story }: Story): Summary {
  const { acked, failed, unknown, reads, codes, samples, violations } = recorder;
  const failures = Object.entries(gapsMsByType).filter(([type]) => !planned.includes(type));
  return {
    ok: violations.length === 0,
    ...story,
    commit: commitOf(),
    seconds: Math.round(recorder.nowMs / 1000),
    faults: Object.values(story.faultsByType).reduce((a, b) => a + b, 0),
    faultTypes: Object.keys(story.faultsByType).length,
    ...{ acked, failed, unknown },
    reads: Object.values(reads).reduce((a, b) => a + b, 0),
    readsByKind: reads,
    lost: recorder.count("lost"),
    risen: recorder.count("risen"),
    stale: recorder.count("stale"),
    torn: recorder.count("torn"),
    diverged: recorder.count("diverged"),
    anomalies: recorder.count("anomaly"),
    undecided: recorder.count("undecided"),
    stuck: recorder.count("stuck"),
    crashes: recorder.count("crash"),
    failover: failoverOf(failures.flatMap(([, gaps]) => gaps)),
    failoverByType: Object.fromEntries(
      Object.entries(gapsMsByType).map(([type, gaps]) => [type, failoverOf(gaps)]),
    ),
    ...{ codes, samples },
    violations: violations.map(
      (v) => `${(v.atMs / 1000).toFixed(1)} s ${v.kind}: ${v.text.slice(0, 2_000)}`,
    ),
  };
}

/** Of the tree that was run. */
export function commitOf(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync("git", args, {
        cwd: import.meta.dirname,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }).trim();
    return git("rev-parse", "HEAD") + (git("status", "--porcelain") === "" ? "" : "+");
  } catch {
    return "unknown";
  }
}

const bounds = [100, 200, 300, 400, 500, 700, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 60_000];

export function failoverOf(gapsMs: readonly number[]): Failover {
  const sorted = gapsMs.map(Math.round).sort((a, b) => a - b);
  // The smallest that at least a share p of all do not exceed.
  const at = (p: number): number => sorted[Math.max(0, Math.ceil(sorted.length * p) - 1)] ?? 0;
  const histogram = [...bounds, null].map((upToMs, i) => {
    const above = bounds[i - 1] ?? -1;
    const isIn = (ms: number): boolean => ms > above && ms <= (upToMs ?? Number.POSITIVE_INFINITY);
    return { upToMs, count: sorted.filter(isIn).length };
  });
  return {
    count: sorted.length,
    medianMs: at(0.5),
    p90Ms: at(0.9),
    p99Ms: at(0.99),
    maxMs: sorted.at(-1) ?? 0,
    histogram: histogram.filter(({ count }) => count > 0),
  };
}
