/**
 * A set that only grows: what is in it stays, what was never added is never in it.
 *
 *   lost       an element that was acknowledged or seen before a read began is missing in it, and in all later reads
 *   stale      the same, but a later read has it again: this one saw an old state
 *   phantom    an element that nobody tried to add
 *   failed     an element of an addition that failed
 *   early      an element that nobody had tried to add when the read ended
 *   duplicate  an element twice in one read
 *
 * Operations: `add` with an element, `read` that gives a list; each key is a set. Reads for which `isLinearizable` is
 * false may miss anything; but what they showed is known from then on. Each element is added at most once.
 */

import { HistoryError, type Json } from "./history.ts";
import type { Operation } from "./operations.ts";
import { describeOperation, Findings, type Verdict } from "./verdict.ts";

export type SetAnomaly = "lost" | "stale" | "phantom" | "failed" | "early" | "duplicate";

type GrowingSet = {
  readonly key: string;
  readonly addByElement: Map<Json, Operation>;
  /** In order of invocation. */
  readonly reads: { readonly read: Operation; readonly elements: ReadonlySet<Json> }[];
};

/** Checks every set of the history. */
export function checkSets(
  operations: readonly Operation[],
  isLinearizable: (read: Operation) => boolean = () => true,
): Verdict<SetAnomaly> {
  const found = new Findings<SetAnomaly>();
  const sets = new Map<string, GrowingSet>();
  for (const operation of operations) {
    const key = operation.key ?? "";
    let set = sets.get(key);
    if (set === undefined) {
      set = { key, addByElement: new Map(), reads: [] };
      sets.set(key, set);
    }
    if (operation.op === "add") {
      if (set.addByElement.has(operation.input)) {
        throw new HistoryError(`operation ${operation.index}: added before`);
      }
      set.addByElement.set(operation.input, operation);
    } else if (operation.op === "read" && operation.outcome === "ok") {
      const list = (Array.isArray(operation.output) ? operation.output : []) as readonly Json[];
      const elements = new Set(list);
      if (elements.size < list.length) {
        found.add("duplicate", describeOperation(operation), [operation]);
      }
      set.reads.push({ read: operation, elements });
    }
  }
  for (const set of sets.values()) {
    checkPresent(set, found);
    checkMissing(set, { found, isLinearizable });
  }
  return found.verdict();
}

/** Every element that was read must come from an addition that may have happened by then. */
function checkPresent({ addByElement, reads }: GrowingSet, found: Findings<SetAnomaly>): void {
  for (const { read, elements } of reads) {
    for (const element of elements) {
      const add = addByElement.get(element);
      const text = `${JSON.stringify(element)} in ${describeOperation(read)}`;
      if (add === undefined) found.add("phantom", text, [read]);
      else if (add.invokedAt > read.returnedAt) found.add("early", text, [add, read]);
      else if (add.outcome === "fail") found.add("failed", text, [add, read]);
    }
  }
}

/** Every element that was known before a read must be in it. */
function checkMissing(
  { key, addByElement, reads }: GrowingSet,
  options: {
    readonly found: Findings<SetAnomaly>;
    readonly isLinearizable: (read: Operation) => boolean;
  },
): void {
  /** By element: who knew first that it is there. */
  const knownBy = new Map<Json, Operation>();
  const lastSeenAt = new Map<Json, number>();
  const note = (element: Json, operation: Operation): void => {
    const known = knownBy.get(element);
    if (known === undefined || operation.returnedAt < known.returnedAt) {
      knownBy.set(element, operation);
    }
  };
  for (const [element, add] of addByElement) if (add.outcome === "ok") note(element, add);
  for (const { read, elements } of reads) {
    for (const element of elements) {
      note(element, read);
      lastSeenAt.set(element, read.invokedAt);
    }
  }
  for (const { read, elements } of reads) {
    if (!options.isLinearizable(read)) continue;
    for (const [element, known] of knownBy) {
      if (elements.has(element) || known.returnedAt >= read.invokedAt) continue;
      const isLost = (lastSeenAt.get(element) ?? -1) < read.invokedAt;
      const text = `${key} ${JSON.stringify(element)}, known by ${describeOperation(known)}`;
      const name = isLost ? "lost" : "stale";
      options.found.add(name, `${text}, is not in #${read.index}`, [known, read]);
    }
  }
}
