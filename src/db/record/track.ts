/**
 * One record of a run: the steps of client transactions, as they become certain. It follows transactions and
 * savepoints, so that nothing stays that was rolled back.
 *
 *   steps of the open client transaction   grow; cut back by ROLLBACK TO; dropped by ROLLBACK
 *   transactions done                      grow by `seal`; cut back by `rewind` when the outer transaction was lost
 *
 * Rows come from a session of SQLite's that is open as long as rows are wanted. What a session says is the net effect
 * since it was opened, taken from the database when it is asked: so a rolled-back statement leaves nothing in it. It
 * is asked ("cut") wherever the order matters: before a step of another type, at a savepoint, at the end.
 */

import type { RecordedTransaction, Step } from "../../changes/steps.ts";
import { type TableFacts, travellingColumns } from "./schema-facts.ts";

/** Who sees the rows of a table change: SQLite's sessions, or triggers of ours. */
export type Watcher = "session" | "triggers";

/** Gives what was changed since it was made, as a changeset. */
export interface RowCollector {
  /** Rows of this table may change from now on. Until the end by the watcher that was named first. */
  watch(facts: TableFacts, by: Watcher): void;
  collect(): Uint8Array;
  close(): void;
}

type Rows = {
  readonly type: "rows";
  readonly bytes: Uint8Array;
  readonly tables: readonly TableFacts[];
};

type Piece = Exclude<Step, { type: "table" | "changeset" }> | Rows;

export class Track {
  readonly #collector: () => RowCollector;
  #pieces: Piece[] = [];
  #done: Piece[][] = [];
  /** Lengths of `#pieces` at the client's open savepoints, outermost first. */
  #marks: number[] = [];
  #rows: RowCollector | undefined;
  /** Tables that may have changed since the collector was made. */
  readonly #tables = new Map<string, { readonly facts: TableFacts; readonly by: Watcher }>();

  constructor(collector: () => RowCollector) {
    this.#collector = collector;
  }

  /** Rows of these tables travel as rows. */
  watch(tables: readonly TableFacts[], watcherOf: (facts: TableFacts) => Watcher): void {
    const wanted = tables.map((facts) => ({ facts, by: watcherOf(facts) }));
    // What a session sees cannot be seen by triggers; the other way round a session sees enough.
    const isBlind = wanted.some(
      ({ facts, by }) => by === "session" && this.#tables.get(facts.name)?.by === "triggers",
    );
    if (isBlind) this.cut();
    this.#rows ??= this.#collector();
    for (const { facts, by } of wanted) {
      const known = this.#tables.get(facts.name);
      if (known?.facts === facts) continue;
      this.#tables.set(facts.name, { facts, by });
      this.#rows.watch(facts, by);
    }
  }

  /** What follows does not travel as rows. */
  cut(): void {
    const rows = this.#rows;
    if (rows === undefined) return;
    const bytes = rows.collect();
    this.#endRows();
    if (bytes.byteLength > 0) {
      const tables = [...this.#tables.values()].map(({ facts }) => facts);
      this.#pieces.push({ type: "rows", bytes, tables });
    }
    this.#tables.clear();
  }

  add(step: Exclude<Step, { type: "table" | "changeset" }>): void {
    this.cut();
    this.#pieces.push(step);
  }

  /** Rows that the collector does not see. */
  addRows(facts: TableFacts, bytes: Uint8Array): void {
    this.cut();
    this.#pieces.push({ type: "rows", bytes, tables: [facts] });
  }

  savepoint(): void {
    this.cut();
    this.#marks.push(this.#pieces.length);
  }

  /** The savepoint with this number, from the outermost, stays. */
  rollbackTo(at: number): void {
    this.#forgetRows();
    this.#pieces.length = this.#marks[at] ?? 0;
    this.#marks.length = at + 1;
  }

  release(at: number): void {
    this.#marks.length = at;
  }

  /** The client transaction is done. */
  seal(): void {
    this.cut();
    if (this.#pieces.length > 0) this.#done.push(this.#pieces);
    this.#pieces = [];
    this.#marks = [];
  }

  drop(): void {
    this.#forgetRows();
    this.#pieces = [];
    this.#marks = [];
  }

  /** The open client transaction has travelled as rows, in part at least. */
  get hasRows(): boolean {
    return this.#rows !== undefined || this.#pieces.some(({ type }) => type === "rows");
  }

  /** Transactions done so far. */
  get length(): number {
    return this.#done.length;
  }

  rewind(length: number): void {
    this.drop();
    this.#done.length = length;
  }

  /** Gives what was recorded since the last call, with columns named where they are new. */
  take(): RecordedTransaction[] {
    const named = new Map<string, TableFacts>();
    const transactions = this.#done.map((pieces) => ({
      steps: pieces.flatMap((piece) => (piece.type === "rows" ? withNames(piece, named) : [piece])),
    }));
    this.#done = [];
    return transactions;
  }

  #forgetRows(): void {
    this.#endRows();
    this.#tables.clear();
  }

  #endRows(): void {
    this.#rows?.close();
    this.#rows = undefined;
  }
}

function withNames({ bytes, tables }: Rows, named: Map<string, TableFacts>): Step[] {
  const steps: Step[] = [];
  for (const facts of tables) {
    const known = named.get(facts.name);
    if (known?.columns.join("\0") === facts.columns.join("\0")) continue;
    named.set(facts.name, facts);
    // Rows of a table without key are keyed by their rowid, which stands first.
    steps.push({ type: "table", table: facts.name, columns: travellingColumns(facts) });
  }
  steps.push({ type: "changeset", bytes });
  return steps;
}
