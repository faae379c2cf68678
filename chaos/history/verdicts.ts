/**
 * Which checkers look at a window, and what their findings mean for a run. "Undecided" is a finding: nobody has shown
 * that the window is right.
 */

import { checkBank } from "../../src/sim/checkers/bank.ts";
import { HistoryError } from "../../src/sim/checkers/history.ts";
import { checkLinearizability } from "../../src/sim/checkers/linearizability.ts";
import { checkPositions } from "../../src/sim/checkers/lsn-oracle.ts";
import { type Operation, pairHistory } from "../../src/sim/checkers/operations.ts";
import { tableModel } from "../../src/sim/checkers/search/models.ts";
import { checkSessionPositions, checkSessions } from "../../src/sim/checkers/sessions.ts";
import { checkTransactions } from "../../src/sim/checkers/transactions.ts";
import type { Verdict } from "../../src/sim/checkers/verdict.ts";
import { bankOpening } from "../load/bank.ts";
import type { ViolationKind } from "../load/recorder.ts";
import type { Window } from "./windows.ts";

export type Finding = {
  readonly kind: ViolationKind;
  readonly text: string;
  readonly count: number;
};
export type WindowVerdict = { readonly operations: number; readonly findings: readonly Finding[] };

const budgetMs = 60_000;
const nowMs = (): number => performance.now();
const budget = { nowMs, budgetMs };

type Check = (operations: readonly Operation[]) => Verdict<string>;

const checksByFamily: Readonly<Record<string, readonly Check[]>> = {
  cell: [
    (operations) => checkLinearizability(operations, { ...budget, model: tableModel() }),
    (operations) => checkPositions(operations, budget),
  ],
  list: [(operations) => checkTransactions(operations)],
  bank: [
    (operations) =>
      checkBank(operations, {
        initial: bankOpening,
        mayBeNegative: true,
        isLinearizable: ({ input }) => input === "linearizable",
      }),
  ],
  session: [checkSessions, checkSessionPositions],
};

const kindByAnomaly: Readonly<Record<string, ViolationKind>> = {
  "stale-position": "stale",
  "below-asked": "stale",
  "old-value": "stale",
  "monotonic-reads": "stale",
  "read-your-writes": "stale",
  "wrong-total": "torn",
  "missing-account": "torn",
  "failed-value": "risen",
  G1a: "risen",
  undecided: "undecided",
};

/** What an anomaly of any checker counts as. */
export function kindOf(anomaly: string): ViolationKind {
  return kindByAnomaly[anomaly] ?? "anomaly";
}

export function checkWindow({ key, events }: Window): WindowVerdict {
  const family = key.replace(/[-/].*/, "");
  const findings: Finding[] = [];
  try {
    const operations = pairHistory(events);
    for (const check of checksByFamily[family] ?? []) {
      const { anomalies, counts } = check(operations);
      for (const [name, count = 0] of Object.entries(counts)) {
        const first = anomalies.find((anomaly) => anomaly.name === name);
        findings.push({ kind: kindOf(name), text: `${key}: ${name}: ${first?.text}`, count });
      }
    }
    return { operations: operations.length, findings };
  } catch (error) {
    if (!(error instanceof HistoryError)) throw error;
    // The recorder is wrong, and nobody knows about the database.
    const finding = { kind: "undecided", text: `${key}: ${error.message}`, count: 1 } as const;
    return { operations: 0, findings: [finding] };
  }
}
