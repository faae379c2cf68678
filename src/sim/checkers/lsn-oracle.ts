/**
 * The oracle: Paceline says in every answer at which position it is, so a history can be held against one single order
 * in almost linear time. It finds lies in the positions, and outputs that do not fit the positions.
 *
 *   no-position     an answer without term or LSN
 *   two-terms       two terms at one LSN
 *   term-falls      a lower term at a higher LSN
 *   stale-position  a linearizable read at an LSN below one that had been told to somebody before the read began
 *   reused-lsn      a write at an LSN that had been told to somebody before the write began
 *   shared-lsn      two writes at one LSN, where every entry is to hold one write
 *   old-value       the output is an earlier value of the key: a lost write, or a state older than its position
 *   future-value    the output is a value that was written at a higher LSN
 *   failed-value    the output is the value of a write that failed
 *   wrong-value     the output is none of these, or a comparison went wrong
 *   undecided       the budget ended; see linearizability.ts
 *
 * Model. An entry holds the writes of one group commit, in an order that clients do not see. So the writes of one LSN
 * may have happened in any order, and a read at that LSN saw the state after all of them. A write whose outcome is
 * unknown may be in any entry after those that were known when it began, or in none; when the log told later where it
 * is, its completion carries the LSN. The search for such an order is wing-gong.ts, with LSNs as time.
 *
 * Each key is searched alone. Reads over several keys are still checked as one cut, since the LSN pins it; but that the
 * writes of one entry happened in the same order on all keys is for transactions.ts.
 */

import { isWrite, keysOf, type Operation } from "./operations.ts";
import { classOf, culpritOf } from "./oracle-classes.ts";
import { type Model, tableModel } from "./search/models.ts";
import { type Outcome, WingGong } from "./search/wing-gong.ts";
import { describeOperation, Findings, type Verdict } from "./verdict.ts";

export type OracleAnomaly =
  | "no-position"
  | "two-terms"
  | "term-falls"
  | "stale-position"
  | "reused-lsn"
  | "shared-lsn"
  | "old-value"
  | "future-value"
  | "failed-value"
  | "wrong-value"
  | "undecided";

export type OracleOptions = {
  readonly nowMs: () => number;
  readonly budgetMs: number;
  /** Whether a read must see all that was told before it began. All reads, by default. */
  readonly isLinearizable?: ((read: Operation) => boolean) | undefined;
  /** Whether several writes may share an entry. True by default. */
  readonly groupCommit?: boolean | undefined;
  /** A table without rows by default. */
  readonly model?: Model | undefined;
};

type Positioned = Operation & { readonly term: number; readonly lsn: number };

/** Checks every answer of a history. Operations: read, write, append, cas, and txn of these. */
export function checkPositions(
  operations: readonly Operation[],
  options: OracleOptions,
): Verdict<OracleAnomaly> {
  const found = new Findings<OracleAnomaly>();
  const answered: Positioned[] = [];
  for (const operation of operations) {
    if (isPositioned(operation)) answered.push(operation);
    else if (operation.outcome === "ok")
      found.add("no-position", describeOperation(operation), [operation]);
  }
  checkTerms(answered, found);
  const toldAtStart = toldBefore(operations, answered);
  checkOrder(answered, { found, toldAtStart, options });
  if (options.groupCommit === false) checkShared(answered, found);
  replay(operations, { found, toldAtStart, options });
  return found.verdict(["undecided"]);
}

function isPositioned(operation: Operation): operation is Positioned {
  const { outcome, term, lsn } = operation;
  return outcome !== "fail" && term !== undefined && lsn !== undefined;
}

function checkTerms(answered: readonly Positioned[], found: Findings<OracleAnomaly>): void {
  const sorted = [...answered].sort((a, b) => a.lsn - b.lsn || a.term - b.term);
  for (let i = 1; i < sorted.length; i++) {
    const pair = [sorted[i - 1]!, sorted[i]!] as const;
    const text = pair.map(describeOperation).join(" and ");
    if (pair[0].lsn === pair[1].lsn) {
      if (pair[0].term !== pair[1].term) found.add("two-terms", text, pair);
    } else if (pair[0].term > pair[1].term) found.add("term-falls", text, pair);
  }
}

/** By rank of an operation: the answer with the highest LSN among those that had been given when it began. */
function toldBefore(
  operations: readonly Operation[],
  answered: readonly Positioned[],
): ReadonlyMap<Operation, Positioned> {
  const ended = answered
    .filter(({ outcome }) => outcome === "ok")
    .sort((a, b) => a.returnedAt - b.returnedAt);
  const told = new Map<Operation, Positioned>();
  let highest: Positioned | undefined;
  let next = 0;
  for (const operation of operations) {
    for (; next < ended.length && ended[next]!.returnedAt < operation.invokedAt; next++) {
      if (highest === undefined || ended[next]!.lsn > highest.lsn) highest = ended[next]!;
    }
    if (highest !== undefined) told.set(operation, highest);
  }
  return told;
}

type Scope = {
  readonly found: Findings<OracleAnomaly>;
  readonly toldAtStart: ReadonlyMap<Operation, Positioned>;
  readonly options: OracleOptions;
};

function checkOrder(answered: readonly Positioned[], { found, toldAtStart, options }: Scope): void {
  for (const operation of answered) {
    const told = toldAtStart.get(operation);
    if (told === undefined || operation.lsn > told.lsn) continue;
    const pair = [told, operation];
    const text = pair.map(describeOperation).join(", then ");
    if (isWrite(operation)) found.add("reused-lsn", text, pair);
    else if (operation.lsn < told.lsn && (options.isLinearizable?.(operation) ?? true)) {
      found.add("stale-position", text, pair);
    }
  }
}

function checkShared(answered: readonly Positioned[], found: Findings<OracleAnomaly>): void {
  const writeByLsn = new Map<number, Positioned>();
  for (const write of answered) {
    if (!isWrite(write)) continue;
    const other = writeByLsn.get(write.lsn);
    if (other === undefined) writeByLsn.set(write.lsn, write);
    else
      found.add("shared-lsn", [other, write].map(describeOperation).join(" and "), [other, write]);
  }
}

/** Searches each key for an order of its operations along the LSNs. */
function replay(operations: readonly Operation[], { found, toldAtStart, options }: Scope): void {
  const { nowMs, budgetMs, model = tableModel() } = options;
  const byKey = new Map<string, Operation[]>();
  const failed: Operation[] = [];
  for (const operation of operations) {
    if (operation.outcome === "fail") failed.push(operation);
    else if (operation.outcome === "info" || isPositioned(operation)) {
      for (const key of keysOf(operation)) {
        const list = byKey.get(key);
        if (list === undefined) byKey.set(key, [operation]);
        else list.push(operation);
      }
    }
  }
  const untilMs = nowMs() + budgetMs;
  for (const [key, list] of byKey) {
    const intervals = list.map((operation) => intervalOf(operation, toldAtStart));
    const machine = model(list, key);
    const budget = { nowMs, untilMs, memoryMax: 1_000_000 };
    const outcome = new WingGong(intervals, machine, budget).run();
    if (outcome.result !== "possible") {
      reportKey(found, key, { list, failed, outcome });
    }
  }
}

/** A write of entry n happens in [3n, 3n + 1], a read of it at 3n + 2; what wrote nothing may have seen any of it. */
function intervalOf(
  operation: Operation,
  toldAtStart: ReadonlyMap<Operation, Positioned>,
): { from: number; to: number; required: boolean } {
  if (!isPositioned(operation)) {
    const told = toldAtStart.get(operation)?.lsn ?? -1;
    return { from: 3 * told + 3, to: Number.POSITIVE_INFINITY, required: false };
  }
  const from = 3 * operation.lsn;
  if (isWrite(operation)) return { from, to: from + 1, required: true };
  const isPlainRead = operation.op === "read" || operation.op === "txn";
  return { from: isPlainRead ? from + 2 : from, to: from + 2, required: true };
}

/** Names what is wrong with a key for which there is no order. */
function reportKey(
  found: Findings<OracleAnomaly>,
  key: string,
  { list, failed, outcome }: { list: Operation[]; failed: Operation[]; outcome: Outcome },
): void {
  const stuck = outcome.stuck.map((i) => list[i]!);
  const text = `key ${key}: does not fit: ${stuck.slice(0, 4).map(describeOperation).join("; ")}`;
  if (outcome.result === "unknown") {
    found.add("undecided", text, stuck);
    return;
  }
  const culprit = culpritOf(stuck, { key, list });
  const name = culprit === undefined ? "wrong-value" : classOf(culprit, { key, list, failed });
  const also = culprit === undefined || stuck.includes(culprit) ? [] : [culprit];
  const proof = also.map((read) => `; see ${describeOperation(read)}`).join("");
  found.add(name, text + proof, [...also, ...stuck]);
}
