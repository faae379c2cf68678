/**
 * A batch of reads as the entries of a cursor, one line each, made as they are asked for: between two of them a
 * statement may be in the middle of its rows. Whoever stops asking says `return`. Pieces of text, so that nobody parses
 * them on the way.
 *
 * Not here: what a statement does (sql/executor.ts), who asks for how much (process/reader-child.ts).
 */

import type { SQLOutputValue } from "node:sqlite";
import { errorJson, rowJson, type StatementAnswer } from "../sql/answer-text.ts";
import type { BatchStep, Condition, Stmt } from "../sql/request.ts";
import { SqlError } from "../sql/sql-error.ts";

/** A statement that was begun. */
export type Begun = StatementAnswer & {
  /** Rows that are still to be read; of any other statement there are none. */
  readonly unread?: Iterable<unknown> | undefined;
};

export type CursorPorts = {
  /** Throws. */
  begin(stmt: Stmt): Begun;
  isMet(condition: Condition, results: readonly unknown[]): boolean;
  /** What was thrown, as the client is told; called once. Rethrows what is our own fault. */
  failure(error: unknown): SqlError;
};

export function* cursorEntries(
  steps: readonly BatchStep[],
  ports: CursorPorts,
): Generator<string, void> {
  const results: (StatementAnswer | SqlError | undefined)[] = [];
  for (const [step, { stmt, condition }] of steps.entries()) {
    if (condition !== undefined && !ports.isMet(condition, results)) {
      results.push(undefined);
      continue;
    }
    try {
      const begun = ports.begin(stmt);
      yield `{"type":"step_begin","step":${step},"cols":${begun.cols}}\n`;
      for (const row of begun.unread ?? []) {
        yield `{"type":"row","row":${rowJson(row as SQLOutputValue[])}}\n`;
      }
      results.push(begun);
      yield stepEnd(begun);
    } catch (error) {
      const failure = error instanceof SqlError ? error : ports.failure(error);
      results.push(failure);
      yield `{"type":"step_error","step":${step},"error":${errorJson(failure)}}\n`;
    }
  }
}

function stepEnd({ affected, rowid }: StatementAnswer): string {
  const rowidJson = rowid === undefined ? "null" : `"${rowid}"`;
  return `{"type":"step_end","affected_row_count":${affected},"last_insert_rowid":${rowidJson}}\n`;
}
