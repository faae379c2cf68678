/**
 * What came before what by the clock and by client, with as few edges as say it all: not one for each pair, and not
 * even one for each pair with nothing between them, which grows with the number of clients.
 *
 * Instead there are barriers: nodes that stand for a moment between the end of some operations and the start of the
 * next. Ended operations point at the next barrier, each barrier at the next one, and a barrier at what starts behind
 * it. A path from A to B over barriers exists exactly when A had ended before B started.
 */

import type { Operation } from "../operations.ts";
import { edgeKinds, type GraphBuilder } from "./graph.ts";

/**
 * Adds edges of kind realtime. Nodes are ranks in `operations`, by invocation; barriers are nodes behind them. Failed
 * operations take no part.
 */
export function addRealTime(operations: readonly Operation[], graph: GraphBuilder): void {
  const started = ranksOf(operations, (operation) => operation.outcome !== "fail");
  const ended = ranksOf(operations, (operation) => operation.outcome === "ok").sort(
    (a, b) => operations[a]!.returnedAt - operations[b]!.returnedAt,
  );
  let barrier: number | undefined;
  let next = 0;
  const hasEnded = (start: Operation): boolean =>
    next < ended.length && operations[ended[next]!]!.returnedAt < start.invokedAt;
  for (const rank of started) {
    const start = operations[rank]!;
    if (hasEnded(start)) {
      const before = barrier;
      barrier = graph.addNode();
      if (before !== undefined) graph.add(before, barrier, edgeKinds.realtime);
      for (; hasEnded(start); next++) graph.add(ended[next]!, barrier, edgeKinds.realtime);
    }
    if (barrier !== undefined) graph.add(barrier, rank, edgeKinds.realtime);
  }
}

/** Adds edges of kind process: from each operation that was ok to the next one of its client. */
export function addProcessOrder(operations: readonly Operation[], graph: GraphBuilder): void {
  const lastByProcess = new Map<number | string, number>();
  for (const [rank, { process, outcome }] of operations.entries()) {
    if (outcome === "fail") continue;
    const last = lastByProcess.get(process);
    if (last !== undefined) graph.add(last, rank, edgeKinds.process);
    if (outcome === "ok") lastByProcess.set(process, rank);
  }
}

function ranksOf(
  operations: readonly Operation[],
  wanted: (operation: Operation) => boolean,
): number[] {
  return operations.flatMap((operation, rank) => (wanted(operation) ? [rank] : []));
}
