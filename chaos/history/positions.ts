/**
 * Positions in answers against one single order, as they come, in constant memory. It is the part of
 * src/sim/checkers/lsn-oracle.ts that needs no search, so it can look at every operation of a run of any length:
 *
 *   stale-position   a linearizable read below a position that somebody had been told before the read began
 *   below-asked      a read below the position that it asked for
 *   reused-lsn       a write at or below a position that somebody had been told before the write began
 *   two-terms        two terms at one LSN;  term-falls: a lower term at a higher LSN
 *   no-position      an answer without a position
 */

import type { HistoryEvent, Json } from "../../src/sim/checkers/history.ts";

export type PositionAnomaly =
  | "stale-position"
  | "below-asked"
  | "reused-lsn"
  | "two-terms"
  | "term-falls"
  | "no-position";

type Report = (name: PositionAnomaly, text: string) => void;
type Open = { readonly event: HistoryEvent; readonly told: number };
type Span = { readonly term: number; min: number; max: number };

export class PositionOracle {
  readonly #report: Report;
  /** By process. */
  readonly #open = new Map<number | string, Open>();
  /** Where each term was seen, ascending. */
  readonly #spans: Span[] = [];
  #told = 0;
  /** Reads that had to be as new as anything told before. */
  linearizable = 0;

  constructor(report: Report) {
    this.#report = report;
  }

  add(event: HistoryEvent): void {
    if (event.type === "invoke") {
      this.#open.set(event.process, { event, told: this.#told });
      return;
    }
    const open = this.#open.get(event.process);
    this.#open.delete(event.process);
    if (event.type !== "ok" || open === undefined || event.key === "fault") return;
    const { lsn, term } = event;
    const text = `${event.process} ${event.op} ${event.key} at ${lsn}@${term} of ${event.node}`;
    if (lsn === undefined || term === undefined) {
      this.#report("no-position", text);
      return;
    }
    this.#place({ lsn, term }, text);
    const asked = open.event.lsn ?? 0;
    if (lsn < asked) this.#report("below-asked", `${text}, asked for ${asked}`);
    if (didWrite(open.event, event)) {
      if (lsn <= open.told) this.#report("reused-lsn", `${text}, ${open.told} was told before`);
    } else if (isLinearizable(open.event)) {
      this.linearizable++;
      if (lsn < open.told) this.#report("stale-position", `${text}, ${open.told} was told before`);
    }
    this.#told = Math.max(this.#told, lsn);
  }

  /** Every term has a stretch of the log of its own, and later terms come later. */
  #place({ lsn, term }: { lsn: number; term: number }, text: string): void {
    const at = this.#spans.findLastIndex((span) => span.term <= term);
    let span = this.#spans[at];
    if (span?.term !== term) {
      span = { term, min: lsn, max: lsn };
      this.#spans.splice(at + 1, 0, span);
    } else if (lsn >= span.min && lsn <= span.max) return;
    span.min = Math.min(span.min, lsn);
    span.max = Math.max(span.max, lsn);
    const place = this.#spans.indexOf(span);
    for (const [before, after] of [
      [this.#spans[place - 1], span],
      [span, this.#spans[place + 1]],
    ] as const) {
      if (before === undefined || after === undefined || before.max < after.min) continue;
      this.#report(before.max === after.min ? "two-terms" : "term-falls", text);
    }
  }
}

function isLinearizable({ value }: HistoryEvent): boolean {
  return value !== "session" && value !== "stale";
}

/** Whether an operation that was ok changed the database. */
function didWrite(invoked: HistoryEvent, ended: HistoryEvent): boolean {
  const { op, value } = invoked;
  if (op === "read" || op === "look") return false;
  if (op === "cas") return ended.value !== false;
  if (op !== "txn" || !Array.isArray(value)) return true;
  return value.some((part: Json) => Array.isArray(part) && part[0] !== "r");
}
