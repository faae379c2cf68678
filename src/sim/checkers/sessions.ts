/**
 * What one client may rely on, whatever node it talks to. A process of the history is a session.
 *
 *   monotonic-reads       a read shows less than an earlier read of the session did
 *   read-your-writes      a read does not show an acknowledged write of the session
 *   monotonic-writes      somebody sees a write of the session without, or before, an earlier one of it
 *   writes-follow-reads   somebody sees a write of the session without, or before, what the session had read by then
 *
 * Two witnesses, one function each. `checkSessions` looks at values: `append` of unique elements and `read` of lists,
 * by key. `checkSessionPositions` believes the LSNs of the answers, and so covers all operations over all keys.
 *
 * Not here: promises between sessions.
 */

import { HistoryError, type Json } from "./history.ts";
import { isWrite, type Operation } from "./operations.ts";
import { describeOperation, Findings, type Verdict } from "./verdict.ts";

export type SessionAnomaly =
  | "monotonic-reads"
  | "read-your-writes"
  | "monotonic-writes"
  | "writes-follow-reads";

/** What an append of a session promises to everybody who sees it. */
type Promised = {
  readonly append: Operation;
  /** Acknowledged appends that the session made before, to the same key. */
  readonly earlier: number;
  /** The last element of the session's last read before. */
  readonly follows: Json | undefined;
};

/** A session on one key. */
type Session = { readonly appended: Json[]; read: Operation | undefined };

/** Checks lists. Elements must be unique within a key; throws HistoryError otherwise. */
export function checkSessions(operations: readonly Operation[]): Verdict<SessionAnomaly> {
  const found = new Findings<SessionAnomaly>();
  const sessions = new Map<string, Session>();
  const promisedByElement = new Map<string, Map<Json, Promised>>();
  for (const operation of operations) {
    const { process, op, key = "", outcome, input } = operation;
    const name = JSON.stringify([process, key]);
    let session = sessions.get(name);
    if (session === undefined) {
      session = { appended: [], read: undefined };
      sessions.set(name, session);
    }
    if (op === "append" && outcome !== "fail") {
      const promised = promisedByElement.get(key) ?? new Map<Json, Promised>();
      promisedByElement.set(key, promised);
      if (promised.has(input))
        throw new HistoryError(`operation ${operation.index}: appended before`);
      const follows = session.read === undefined ? undefined : listOf(session.read).at(-1);
      promised.set(input, { append: operation, earlier: session.appended.length, follows });
      if (outcome === "ok") session.appended.push(input);
    } else if (op === "read" && outcome === "ok") {
      checkOwnView(session, operation, found);
      session.read = operation;
    }
  }
  for (const read of operations) {
    if (read.op !== "read" || read.outcome !== "ok") continue;
    checkOrder(read, promisedByElement.get(read.key ?? "") ?? new Map(), found);
  }
  return found.verdict();
}

/** Checks positions: answers without LSN are passed over. */
export function checkSessionPositions(operations: readonly Operation[]): Verdict<SessionAnomaly> {
  const found = new Findings<SessionAnomaly>();
  const sessions = new Map<number | string, { read?: Operation; write?: Operation }>();
  for (const operation of operations) {
    const { process, outcome, lsn } = operation;
    if (outcome !== "ok" || lsn === undefined) continue;
    const session = sessions.get(process) ?? {};
    sessions.set(process, session);
    const { read, write } = session;
    const report = (name: SessionAnomaly, earlier: Operation): void => {
      const pair = [earlier, operation];
      found.add(name, pair.map(describeOperation).join(", then "), pair);
    };
    if (isWrite(operation)) {
      if (write !== undefined && lsn <= write.lsn!) report("monotonic-writes", write);
      if (read !== undefined && lsn <= read.lsn!) report("writes-follow-reads", read);
      if (write === undefined || lsn > write.lsn!) session.write = operation;
    } else {
      if (read !== undefined && lsn < read.lsn!) report("monotonic-reads", read);
      if (write !== undefined && lsn < write.lsn!) report("read-your-writes", write);
      if (read === undefined || lsn > read.lsn!) session.read = operation;
    }
  }
  return found.verdict();
}

/** A read of a session against what the session read and wrote before. */
function checkOwnView(session: Session, read: Operation, found: Findings<SessionAnomaly>): void {
  const list = listOf(read);
  const before = session.read === undefined ? [] : listOf(session.read);
  if (before.some((element, i) => element !== list[i])) {
    const pair = [session.read!, read];
    found.add("monotonic-reads", pair.map(describeOperation).join(", then "), pair);
  }
  const seen = new Set(list);
  const missing = session.appended.find((element) => !seen.has(element));
  if (missing === undefined) return;
  found.add("read-your-writes", `no ${JSON.stringify(missing)} in ${describeOperation(read)}`, [
    read,
  ]);
}

/** A read of anybody against what the writers of its elements had done and seen before they wrote. */
function checkOrder(
  read: Operation,
  promisedByElement: ReadonlyMap<Json, Promised>,
  found: Findings<SessionAnomaly>,
): void {
  const seen = new Set<Json>();
  /** By process: acknowledged appends seen so far. */
  const acknowledged = new Map<number | string, number>();
  for (const element of listOf(read)) {
    const promised = promisedByElement.get(element);
    if (promised !== undefined) {
      const { append, earlier, follows } = promised;
      const count = acknowledged.get(append.process) ?? 0;
      const pair = [append, read];
      const text = pair.map(describeOperation).join(", seen by ");
      if (count !== earlier) found.add("monotonic-writes", text, pair);
      if (follows !== undefined && !seen.has(follows)) found.add("writes-follow-reads", text, pair);
      if (append.outcome === "ok") acknowledged.set(append.process, count + 1);
    }
    seen.add(element);
  }
}

function listOf({ output }: Operation): readonly Json[] {
  return Array.isArray(output) ? (output as readonly Json[]) : [];
}
