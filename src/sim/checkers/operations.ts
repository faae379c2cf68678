/**
 * Operations: invocations of a history paired with their completions. All checkers work on these.
 *
 * An operation without completion, or with info, may have happened at any time after its start: it returns at infinity.
 *
 * Not here: the format of histories (history.ts).
 */

import { assertOrdered, HistoryError, type HistoryEvent, type Json, wrong } from "./history.ts";

/** An invocation with its completion. */
export type Operation = {
  /** Rank among the operations, by invocation. */
  readonly index: number;
  readonly process: number | string;
  readonly op: string;
  readonly key: string | undefined;
  /** Value of the invocation; null when it had none. */
  readonly input: Json;
  /** Value of the completion; null unless ok and given. */
  readonly output: Json;
  readonly outcome: "ok" | "fail" | "info";
  /** Place of the invocation in the history. */
  readonly invokedAt: number;
  /** Place of the completion in the history; Infinity when the outcome is info. */
  readonly returnedAt: number;
  readonly invokedNs: number;
  readonly returnedNs: number;
  /** Of the completion. An info may carry them too, when the log told later where it went. */
  readonly node: string | undefined;
  readonly term: number | undefined;
  readonly lsn: number | undefined;
};

/**
 * Pairs invocations with completions, in order of invocation. Throws HistoryError when a process does two things at a
 * time, when a completion has no invocation, or when time runs backwards.
 */
export function pairHistory(events: readonly HistoryEvent[]): Operation[] {
  assertOrdered(events);
  const open = new Map<number | string, { event: HistoryEvent; at: number; index: number }>();
  const operations: Operation[] = [];
  let count = 0;
  for (const [at, event] of events.entries()) {
    const started = open.get(event.process);
    if (event.type === "invoke") {
      if (started !== undefined) throw wrong(at, `process ${event.process} is busy`);
      open.set(event.process, { event, at, index: count++ });
      continue;
    }
    if (started === undefined) throw wrong(at, `process ${event.process} has started nothing`);
    if (started.event.op !== event.op) throw wrong(at, `${event.op} ends ${started.event.op}`);
    open.delete(event.process);
    operations[started.index] = pair(started, event, at);
  }
  for (const started of open.values()) {
    operations[started.index] = pair(started, { ...started.event, type: "info" }, events.length);
  }
  return operations;
}

/** Whether an operation that was ok changed something. Of a comparison that failed, it is known that it did not. */
export function isWrite(operation: Operation): boolean {
  const { op, input, output } = operation;
  if (op === "read") return false;
  if (op === "cas") return output !== false;
  if (op !== "txn" || !Array.isArray(input)) return true;
  return input.some((part: Json) => Array.isArray(part) && part[0] !== "r");
}

/** The keys that an operation touches. */
export function keysOf(operation: Operation): string[] {
  if (operation.op !== "txn") return [operation.key ?? ""];
  return [...new Set(microOpsOf(operation).map(([, key]) => key))];
}

/** The parts of a txn as `[f, key, value]`, with what it read if that is known. Throws HistoryError. */
export function microOpsOf(operation: Operation): (readonly [string, string, Json])[] {
  const { outcome, input, output } = operation;
  const list = outcome === "ok" && output !== null ? output : input;
  if (!Array.isArray(list))
    throw new HistoryError(`operation ${operation.index}: no list of parts`);
  return list.map((part: Json) => {
    const [f, key, value] = Array.isArray(part) ? part : [];
    if (typeof f !== "string" || (typeof key !== "string" && typeof key !== "number")) {
      throw new HistoryError(`operation ${operation.index}: ${JSON.stringify(part)} is no part`);
    }
    return [f, String(key), value ?? null];
  });
}

function pair(
  started: { readonly event: HistoryEvent; readonly at: number; readonly index: number },
  completion: HistoryEvent,
  at: number,
): Operation {
  const { process, op, key, value, atNs } = started.event;
  const known = completion.type === "ok" || completion.type === "fail";
  return {
    index: started.index,
    process,
    op,
    key,
    input: value ?? null,
    output: completion.type === "ok" ? (completion.value ?? null) : null,
    outcome: known ? (completion.type as "ok" | "fail") : "info",
    invokedAt: started.at,
    returnedAt: known ? at : Number.POSITIVE_INFINITY,
    invokedNs: atNs,
    returnedNs: known ? completion.atNs : Number.POSITIVE_INFINITY,
    node: completion.node,
    term: completion.term,
    lsn: completion.lsn,
  };
}
