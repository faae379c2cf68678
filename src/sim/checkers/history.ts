/**
 * The history of a run: what clients asked and what they were told, one JSON object a line, in the order in which one
 * recorder saw it. Every checker in this folder reads nothing else.
 *
 *   process  a client that does one thing at a time; also the session of sessions.ts
 *   op       read, write, append, add, cas, transfer, txn
 *   key      what it is about; absent for operations over several keys
 *   value    invoke: the arguments; ok: the answer. By op:
 *              read      -            the value, null for none; a list for append, a set for add
 *              write     value        -
 *              append    element      -
 *              add       element, or for a counter a number
 *              cas       [from, to]   false when the comparison failed, else true
 *              transfer  {from, to, amount}
 *              txn       [["r", key, null], ["append", key, element], ["w", key, value]], reads filled in when ok
 *   type     invoke; then ok (it happened), fail (it did not and never will), info (nobody knows)
 *   atNs     time of the recorder's own monotonic clock. `atMs` is read as well, for simulated clocks
 *   node, term, lsn   of the answer, as far as it said
 *
 * The place of an event in the history, not its time, says what came before what: a simulation does much in one
 * millisecond. Histories of several recorders with one clock become one by `mergeHistories`.
 *
 * Not here: what belongs together (operations.ts), and any opinion on what is right.
 */

/** What JSON can say. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [name: string]: Json };

/** One line of a history. */
export type HistoryEvent = {
  readonly process: number | string;
  readonly op: string;
  readonly key: string | undefined;
  readonly value: Json | undefined;
  readonly type: "invoke" | "ok" | "fail" | "info";
  readonly atNs: number;
  readonly node: string | undefined;
  readonly term: number | undefined;
  readonly lsn: number | undefined;
};

/** The history itself is wrong: the recorder or the workload has a bug, and nothing is said about the database. */
export class HistoryError extends Error {
  override readonly name = "HistoryError";
}

/** The history as JSON lines, each ended by a newline. */
export function encodeHistory(events: readonly HistoryEvent[]): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join("");
}

/**
 * Reads JSON lines. A last line without newline that does not parse was cut by the end of the recorder and is left
 * out: its operation has no completion then. Throws HistoryError for anything else that is not an event.
 */
export function decodeHistory(text: string): HistoryEvent[] {
  const lines = text.split("\n");
  const cut = lines.pop() ?? "";
  const events = lines.flatMap((line, i) => (line === "" ? [] : [decodeEvent(parse(line, i), i)]));
  try {
    if (cut !== "") events.push(decodeEvent(JSON.parse(cut), lines.length));
  } catch (error) {
    if (error instanceof HistoryError) throw error;
  }
  return events;
}

/**
 * One history of several, by time. Events of equal time: invocations first, so that what may have been concurrent
 * counts as concurrent. Each history keeps its own order.
 */
export function mergeHistories(histories: readonly (readonly HistoryEvent[])[]): HistoryEvent[] {
  for (const events of histories) assertOrdered(events);
  const rank = (event: HistoryEvent): number => (event.type === "invoke" ? 0 : 1);
  return histories.flat().sort((a, b) => a.atNs - b.atNs || rank(a) - rank(b));
}

/** Throws HistoryError when time runs backwards. */
export function assertOrdered(events: readonly HistoryEvent[]): void {
  for (let i = 1; i < events.length; i++) {
    if (events[i]!.atNs < events[i - 1]!.atNs) throw wrong(i, "time runs backwards");
  }
}

function parse(line: string, i: number): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw wrong(i, "not JSON");
  }
}

function decodeEvent(value: unknown, i: number): HistoryEvent {
  const of = value as Partial<HistoryEvent> & { readonly atMs?: number };
  if (typeof value !== "object" || value === null) throw wrong(i, "not an object");
  if (typeof of.process !== "number" && typeof of.process !== "string")
    throw wrong(i, "no process");
  if (typeof of.op !== "string") throw wrong(i, "no op");
  if (of.key !== undefined && typeof of.key !== "string") throw wrong(i, "key is no string");
  if (!["invoke", "ok", "fail", "info"].includes(String(of.type))) throw wrong(i, "no such type");
  const atNs = of.atNs ?? (of.atMs === undefined ? undefined : of.atMs * 1e6);
  if (typeof atNs !== "number" || !Number.isFinite(atNs)) throw wrong(i, "no time");
  for (const name of ["term", "lsn"] as const) {
    if (of[name] !== undefined && !Number.isSafeInteger(of[name])) throw wrong(i, `bad ${name}`);
  }
  return {
    process: of.process,
    op: of.op,
    key: of.key,
    value: of.value,
    type: of.type!,
    atNs,
    node: of.node,
    term: of.term,
    lsn: of.lsn,
  };
}

/** The error for what is wrong at one place of a history. */
export function wrong(at: number, what: string): HistoryError {
  return new HistoryError(`event ${at}: ${what}`);
}
