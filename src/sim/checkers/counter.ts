/**
 * A counter: every read lies between what must have been added by then and what may have been.
 *
 *   counter-too-low    an acknowledged addition is missing
 *   counter-too-high   more than anyone asked for: an addition counted twice, or one that failed
 *   counter-went-back  less than an earlier read gave, though nothing was ever taken away
 *   counter-no-number  the answer is no number
 *
 * Operations: `add` with an amount, `read` that gives the number; each key is a counter that starts at 0. All reads
 * must be linearizable.
 */

import { SumBounds } from "./bounds.ts";
import { HistoryError } from "./history.ts";
import type { Operation } from "./operations.ts";
import { describeOperation, Findings, type Verdict } from "./verdict.ts";

export type CounterAnomaly =
  | "counter-too-low"
  | "counter-too-high"
  | "counter-went-back"
  | "counter-no-number";

type Counter = {
  readonly bounds: SumBounds;
  readonly reads: Operation[];
  /** Whether nothing was ever taken away. */
  onlyUp: boolean;
};

/** Checks every counter of the history. */
export function checkCounter(operations: readonly Operation[]): Verdict<CounterAnomaly> {
  const found = new Findings<CounterAnomaly>();
  const counters = new Map<string, Counter>();
  for (const operation of operations) {
    const key = operation.key ?? "";
    let counter = counters.get(key);
    if (counter === undefined) {
      counter = { bounds: new SumBounds(0), reads: [], onlyUp: true };
      counters.set(key, counter);
    }
    if (operation.op === "add" && operation.outcome !== "fail") {
      const amount = operation.input;
      if (typeof amount !== "number")
        throw new HistoryError(`operation ${operation.index}: no amount`);
      counter.bounds.add(operation, amount);
      if (amount < 0) counter.onlyUp = false;
    } else if (operation.op === "read" && operation.outcome === "ok") {
      counter.reads.push(operation);
    }
  }
  for (const counter of counters.values()) checkReads(counter, found);
  return found.verdict();
}

function checkReads({ bounds, reads, onlyUp }: Counter, found: Findings<CounterAnomaly>): void {
  const numbers = reads.filter((read) => {
    if (typeof read.output === "number") return true;
    found.add("counter-no-number", describeOperation(read), [read]);
    return false;
  });
  const ended = [...numbers].sort((a, b) => a.returnedAt - b.returnedAt);
  let next = 0;
  let highest: Operation | undefined;
  for (const read of numbers) {
    const value = read.output as number;
    const { least, most } = bounds.at(read);
    const text = `outside ${least}…${most}: ${describeOperation(read)}`;
    if (value < least) found.add("counter-too-low", text, [read]);
    if (value > most) found.add("counter-too-high", text, [read]);
    for (; next < ended.length && ended[next]!.returnedAt < read.invokedAt; next++) {
      if (highest === undefined || (ended[next]!.output as number) > (highest.output as number)) {
        highest = ended[next];
      }
    }
    if (!onlyUp || highest === undefined || value >= (highest.output as number)) continue;
    const pair = [highest, read];
    found.add("counter-went-back", pair.map(describeOperation).join(" before "), pair);
  }
}
