/**
 * Linearizability, for whoever does not trust our LSNs: every key of the history must have an order of its operations
 * that respects time and that the model accepts. Linearizability is local, so each key is searched alone.
 *
 *   not-linearizable   there is no such order; the operations are those that could not be placed
 *   undecided          the budget ended before the search did
 *
 * Costs almost nothing when values written are unique. With few distinct values, keep to 5 clients and about 2,000
 * operations a key. Operations over several keys are for transactions.ts.
 */

import { HistoryError } from "./history.ts";
import type { Operation } from "./operations.ts";
import type { Model } from "./search/models.ts";
import { type Outcome, WingGong } from "./search/wing-gong.ts";
import { describeOperation, Findings, type Verdict } from "./verdict.ts";

export type LinearizabilityAnomaly = "not-linearizable" | "undecided";

/** `budgetMs` is for the whole history; the clock is given because this room has none. */
export type LinearizabilityOptions = {
  readonly model: Model;
  readonly nowMs: () => number;
  readonly budgetMs: number;
  /** Configurations remembered at most for one key; 4,000,000 by default. */
  readonly memoryMax?: number | undefined;
};

/** Checks every key. Reads that were not meant to be linearizable must have been left out by the caller. */
export function checkLinearizability(
  operations: readonly Operation[],
  options: LinearizabilityOptions,
): Verdict<LinearizabilityAnomaly> {
  const found = new Findings<LinearizabilityAnomaly>();
  const byKey = new Map<string, Operation[]>();
  for (const operation of operations) {
    if (operation.op === "txn") throw new HistoryError("transactions are for another checker");
    if (operation.outcome === "fail") continue;
    const key = operation.key ?? "";
    const list = byKey.get(key);
    if (list === undefined) byKey.set(key, [operation]);
    else list.push(operation);
  }
  const untilMs = options.nowMs() + options.budgetMs;
  // Twice around: one hard key must not eat the time of the easy ones.
  for (const round of [1, 2]) {
    let left = byKey.size;
    for (const [key, list] of byKey) {
      const share = (untilMs - options.nowMs()) / (left-- * (round === 1 ? 2 : 1));
      const outcome = searchKey({ list, key, options, share });
      if (outcome.result === "unknown" && round === 1) continue;
      byKey.delete(key);
      if (outcome.result === "possible") continue;
      const stuck = outcome.stuck.map((i) => list[i]!);
      const name = outcome.result === "impossible" ? "not-linearizable" : "undecided";
      const text = stuck.slice(0, 8).map(describeOperation).join("; ");
      found.add(name, `key ${key}: none of these can come next: ${text}`, stuck);
    }
  }
  return found.verdict(["undecided"]);
}

function searchKey(of: {
  readonly list: readonly Operation[];
  readonly key: string;
  readonly options: LinearizabilityOptions;
  readonly share: number;
}): Outcome {
  const { nowMs, model, memoryMax = 4_000_000 } = of.options;
  const intervals = of.list.map(({ invokedAt, returnedAt, outcome }) => ({
    from: invokedAt,
    to: returnedAt,
    required: outcome === "ok",
  }));
  const budget = { nowMs, untilMs: nowMs() + of.share, memoryMax };
  return new WingGong(intervals, model(of.list, of.key), budget).run();
}
