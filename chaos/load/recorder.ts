/**
 * What happened, on one monotonic clock: every client and every fault is in this process, so that "before" and "after"
 * mean something.
 */

/** What a run must never find; the counters of the summary come from these. */
export type ViolationKind =
  | "lost"
  | "risen"
  | "stale"
  | "diverged"
  | "torn"
  | "anomaly"
  | "undecided"
  | "stuck"
  | "crash";

export type Violation = {
  readonly kind: ViolationKind;
  readonly text: string;
  readonly atMs: number;
  /** How many of the same kind this one stands for, such as missing rows. */
  readonly count: number;
};

/** Of one kind; all are counted. */
const violationsKept = 50;

export class Recorder {
  readonly startMs: number = performance.now();
  acked = 0;
  failed = 0;
  unknown = 0;
  /** Checked reads, by kind. */
  readonly reads: Record<string, number> = {};
  readonly codes: Record<string, number> = {};
  /** The first message of each code. */
  readonly samples: Record<string, string> = {};
  /** The first of each kind. */
  readonly violations: Violation[] = [];
  readonly #countByKind = new Map<ViolationKind, number>();
  readonly #onViolation: (violation: Violation) => void;
  /** Times of acknowledgements since `forget`, ascending. */
  #ackMs: number[] = [];

  constructor(onViolation: (violation: Violation) => void) {
    this.#onViolation = onViolation;
  }

  get nowMs(): number {
    return performance.now() - this.startMs;
  }

  /** One write, as the client knows it. */
  write(outcome: {
    readonly type: "ok" | "failed" | "unknown";
    readonly code?: string;
    readonly message?: string;
  }): void {
    if (outcome.type === "ok") {
      this.acked++;
      this.#ackMs.push(this.nowMs);
      return;
    }
    this[outcome.type]++;
    const code = `${outcome.type} ${outcome.code}`;
    this.codes[code] = (this.codes[code] ?? 0) + 1;
    this.samples[code] ??= `${(this.nowMs / 1000).toFixed(1)} s: ${outcome.message}`;
  }

  read(kind: string): void {
    this.reads[kind] = (this.reads[kind] ?? 0) + 1;
  }

  violate(kind: ViolationKind, text: string, count = 1): void {
    this.#countByKind.set(kind, this.count(kind) + count);
    if (this.violations.filter((v) => v.kind === kind).length >= violationsKept) return;
    const violation = { kind, text, atMs: this.nowMs, count };
    this.violations.push(violation);
    this.#onViolation(violation);
  }

  /** How many of a kind were found, those not kept included. */
  count(kind: ViolationKind): number {
    return this.#countByKind.get(kind) ?? 0;
  }

  /** The longest time without an acknowledgement that ended after `fromMs`, as clients saw it: last ok to next ok. */
  longestGapSince(fromMs: number): number {
    let longest = 0;
    for (let i = 1; i < this.#ackMs.length; i++) {
      if (this.#ackMs[i]! <= fromMs) continue;
      longest = Math.max(longest, this.#ackMs[i]! - this.#ackMs[i - 1]!);
    }
    return longest;
  }

  /** Before a fault: all but the last moment. */
  forget(): void {
    const keepFrom = this.nowMs - 1_000;
    this.#ackMs = this.#ackMs.filter((ms) => ms >= keepFrom);
  }
}
