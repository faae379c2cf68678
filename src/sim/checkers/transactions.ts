/**
 * Serializability of transactions that append to lists and read them, in the manner of Elle: the lists tell who came
 * before whom, and a cycle proves that no serial order exists. Works on histories of any size, in linear time.
 *
 *   G0, G1c, G-single, G2   cycles, also with -process and -realtime (transactions/cycles.ts)
 *   G1a                     read an append of a transaction that failed
 *   G1b                     read an append that its transaction followed by another one to the same key
 *   lost-update             two transactions read the same version of a key and both appended to it
 *   internal                a transaction does not see its own appends, or its reads of one key differ
 *   incompatible-order      two reads of a key of which neither is a prefix of the other
 *   duplicate-element       an element twice in one list
 *   unwritten-element       an element that no transaction appended
 *
 * The workload appends every element at most once to a key, also when it repeats a transaction whose outcome is
 * unknown; anything else throws HistoryError. Operations other than txn are ignored.
 *
 * Not here: registers. Blind writes hide the order of versions; lsn-oracle.ts and linearizability.ts do those.
 */

import type { Operation } from "./operations.ts";
import { type CycleName, findCycles } from "./transactions/cycles.ts";
import { edgeKinds, GraphBuilder } from "./transactions/graph.ts";
import { addProcessOrder, addRealTime } from "./transactions/real-time.ts";
import { addVersions, type VersionAnomaly } from "./transactions/versions.ts";
import { describeOperation, Findings, type Verdict } from "./verdict.ts";

export type TransactionAnomaly = VersionAnomaly | CycleName;

/**
 * What was promised. Strict serializability keeps the order of the clock, sequential consistency that of each client,
 * and serializability none.
 */
export type TransactionModel = "strict-serializable" | "sequential" | "serializable";

/** Checks the transactions of a history, in order of invocation. */
export function checkTransactions(
  operations: readonly Operation[],
  model: TransactionModel = "strict-serializable",
): Verdict<TransactionAnomaly> {
  const found = new Findings<TransactionAnomaly>();
  const transactions = operations.filter((operation) => operation.op === "txn");
  const builder = new GraphBuilder(transactions.length);
  addVersions(transactions, builder, found as unknown as Findings<VersionAnomaly>);
  if (model !== "serializable") addProcessOrder(transactions, builder);
  if (model === "strict-serializable") addRealTime(transactions, builder);
  for (const { name, edges } of findCycles(builder.build())) {
    // Barriers of real time are no transactions; the edge into them tells the same.
    const own = edges.filter(({ from }) => from < transactions.length);
    const members = own.map(({ from }) => transactions[from]!);
    const steps = own.map(
      ({ from, kind }) => `${describeOperation(transactions[from]!)} -${nameOf(kind)}->`,
    );
    found.add(name, [...steps, `#${members[0]!.index}`].join(" "), members);
  }
  return found.verdict();
}

function nameOf(kind: number): string {
  return Object.entries(edgeKinds).find((entry) => entry[1] === kind)?.[0] ?? "?";
}
