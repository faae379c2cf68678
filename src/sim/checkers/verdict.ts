/**
 * What a checker says: valid, not valid with the anomalies that prove it, or unknown because it ran out of its budget.
 * For a gate, unknown is a failure: nobody has shown that the history is right.
 *
 * Not here: what the anomalies mean; every checker lists its own.
 */

import type { Operation } from "./operations.ts";

/** One finding. `name` is its class; tests compare it, people read `text`. */
export type Anomaly<Name extends string> = {
  readonly name: Name;
  readonly text: string;
  readonly operations: readonly Operation[];
};

/** The answer of a checker. `counts` tells all findings, `anomalies` quotes the first of each class. */
export type Verdict<Name extends string> = {
  readonly valid: boolean | "unknown";
  readonly anomalies: readonly Anomaly<Name>[];
  readonly counts: Readonly<Partial<Record<Name, number>>>;
};

/** Quoted findings of one class: a broken database breaks thousands of reads, and nobody reads more than a few. */
const quotedMax = 10;

/** Collects findings while a checker runs. */
export class Findings<Name extends string> {
  readonly #anomalies: Anomaly<Name>[] = [];
  readonly #countByName = new Map<Name, number>();

  add(name: Name, text: string, operations: readonly Operation[]): void {
    const count = (this.#countByName.get(name) ?? 0) + 1;
    this.#countByName.set(name, count);
    if (count <= quotedMax) this.#anomalies.push({ name, text, operations });
  }

  /** `undecided` are classes that only say that the checker did not get to the end. */
  verdict(undecided: readonly Name[] = []): Verdict<Name> {
    const names = [...this.#countByName.keys()];
    const bad = names.some((name) => !undecided.includes(name));
    return {
      valid: bad ? false : names.length > 0 ? "unknown" : true,
      anomalies: this.#anomalies,
      counts: Object.fromEntries(this.#countByName) as Partial<Record<Name, number>>,
    };
  }
}

/** One operation for people: `#12 p3 append x 5 → ok 42@3`. */
export function describeOperation(operation: Operation): string {
  const { index, process, op, key, input, output, outcome, term, lsn } = operation;
  const value = outcome === "ok" && output !== null ? output : input;
  const position = lsn === undefined ? "" : ` ${lsn}@${term ?? "?"}`;
  return `#${index} p${process} ${op} ${key ?? ""} ${shorten(value)} → ${outcome}${position}`;
}

function shorten(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= 160 ? text : `${text.slice(0, 100)}…${text.slice(-50)}`;
}
