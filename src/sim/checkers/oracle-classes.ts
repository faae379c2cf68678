/**
 * What kind of lie an output is that does not fit its position: whose value is it? For people and for tests; that the
 * output is wrong has been shown before.
 *
 * Not here: the search (wing-gong.ts), and the names as they are listed (lsn-oracle.ts).
 */

import type { Json } from "./history.ts";
import { isWrite, microOpsOf, type Operation } from "./operations.ts";

/** A key, the operations on it that may have happened, and all that failed. */
type Scene = {
  readonly key: string;
  readonly list: readonly Operation[];
  readonly failed: readonly Operation[];
};

/**
 * The answer to blame among those that could not be placed. When only writes could not, it is the first answer behind
 * them: they were not placed because it does not know them.
 */
export function culpritOf(
  stuck: readonly Operation[],
  { key, list }: Pick<Scene, "key" | "list">,
): Operation | undefined {
  const reads = (operation: Operation): boolean => readBy(operation, key) !== undefined;
  const read = stuck.find(reads);
  const from = Math.min(...stuck.map(({ lsn }) => lsn ?? Number.POSITIVE_INFINITY));
  if (read !== undefined || stuck.some(({ op }) => op === "cas")) return read;
  return list
    .filter((operation) => operation.lsn !== undefined && operation.lsn >= from && reads(operation))
    .sort((a, b) => a.lsn! - b.lsn!)[0];
}

/** Names the wrong output of `culprit`. */
export function classOf(
  culprit: Operation,
  { key, list, failed }: Scene,
): "old-value" | "future-value" | "failed-value" | "wrong-value" {
  const read = readBy(culprit, key) ?? null;
  const seen = (Array.isArray(read) ? (read as readonly Json[]) : [read]).map(textOf);
  const at = culprit.lsn ?? 0;
  if (new Set(seen).size < seen.length) return "wrong-value";
  const wrote = (operation: Operation, text: string): boolean =>
    writtenBy(operation, key).some((value) => textOf(value) === text);
  for (const text of seen) {
    if (text === "null") continue;
    const writers = list.filter((operation) => wrote(operation, text));
    if (writers.length > 0) {
      if (writers.every(({ lsn }) => lsn !== undefined && lsn > at)) return "future-value";
    } else if (failed.some((operation) => wrote(operation, text))) return "failed-value";
    else return "wrong-value";
  }
  if (!Array.isArray(read)) return "old-value";
  const isComplete = list
    .filter(({ lsn, outcome }) => outcome === "ok" && lsn !== undefined && lsn <= at)
    .flatMap((operation) => writtenBy(operation, key))
    .every((value) => seen.includes(textOf(value)));
  return isComplete ? "wrong-value" : "old-value";
}

/** What an operation that was ok says it read of the key; undefined when it says nothing. */
function readBy(operation: Operation, key: string): Json | undefined {
  const { op, outcome, output } = operation;
  if (outcome !== "ok") return undefined;
  if (op === "read") return output;
  if (op !== "txn") return undefined;
  return microOpsOf(operation).find(([f, name]) => f === "r" && name === key)?.[2];
}

function writtenBy(operation: Operation, key: string): readonly Json[] {
  const { op, input } = operation;
  if (op === "txn") {
    return microOpsOf(operation).flatMap(([f, name, value]) =>
      f !== "r" && name === key ? [value] : [],
    );
  }
  if ((operation.key ?? "") !== key || !isWrite(operation)) return [];
  return op === "cas" && Array.isArray(input) ? [input[1] as Json] : [input];
}

function textOf(value: Json): string {
  return JSON.stringify(value);
}
