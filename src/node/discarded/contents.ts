/**
 * What an entry says in words that people and programs can use again: SQL with its arguments, and rows before and
 * after. Entries carry both where the settings ask for it (`record`), as they do by the commit rules one and leader.
 * Values are written as in Hrana (db/sql/request.ts), so that they can be sent again as they are.
 *
 * Not here: the formats in the entry (payload/, changes/).
 */

import type { SparseRow } from "../../changes/changeset.ts";
import { namedSteps } from "../../changes/named-steps.ts";
import { type RowValue, TextBytes } from "../../changes/row-values.ts";
import type { NamedChange, NamedStep, RecordedStatement } from "../../changes/steps.ts";
import { decodeTransactions } from "../../changes/steps-codec.ts";
import { toValue, type Value } from "../../db/sql/request.ts";
import { sectionsOf } from "../../payload/sections.ts";
import { type Entry, formatPosition } from "../../vocabulary.ts";

/** Where in the lost history a line stands. */
type Place = {
  readonly position: string;
  /** Client transaction in the entry, from 0. */
  readonly transaction: number;
};

/** One line of statements.jsonl. */
export type DiscardedStatement = Place & {
  readonly sql: string;
  readonly args: readonly Value[];
  readonly namedArgs: readonly { readonly name: string; readonly value: Value }[];
  /** What the clock and chance said when it ran. */
  readonly captured: readonly Value[];
  /** Why it stands among rows: the schema, or what rows cannot carry. Absent in a record of statements. */
  readonly why?: string | undefined;
};

/** One line of changes.jsonl: a row, or a statement that rows cannot tell. */
export type DiscardedChange =
  | (Place & {
      readonly table: string;
      readonly operation: "insert" | "update" | "delete";
      /** Made by a trigger or a foreign key action, not by the statement itself. */
      readonly indirect: boolean;
      /** Names of the columns of the primary key. */
      readonly key: readonly string[];
      /** Values by column. Of an update, the key and the columns that changed. */
      readonly before: Readonly<Record<string, Value>> | undefined;
      readonly after: Readonly<Record<string, Value>> | undefined;
    })
  | DiscardedStatement;

export type EntryContents = {
  readonly statements: readonly DiscardedStatement[];
  readonly changes: readonly DiscardedChange[];
};

/** Undefined for an entry that says only which pages it changed. */
export function contentsOf(entry: Entry): EntryContents | undefined {
  const { changes, statements } = sectionsOf(entry.body);
  if (changes === undefined && statements === undefined) return undefined;
  return {
    statements: linesOf(entry, statements).filter(isStatement),
    changes: linesOf(entry, changes),
  };
}

function linesOf(entry: Entry, section: Uint8Array | undefined): DiscardedChange[] {
  if (section === undefined) return [];
  const position = formatPosition(entry);
  return namedSteps(decodeTransactions(section)).flatMap((steps, transaction) =>
    steps.flatMap((step) => lineOf({ position, transaction }, step)),
  );
}

function lineOf(place: Place, step: NamedStep): DiscardedChange[] {
  switch (step.type) {
    case "row":
      return [rowLine(place, step)];
    case "statement":
      return [statementLine(place, step.statement, step.why)];
    case "sequence":
      // The next number of an AUTOINCREMENT table follows from its rows.
      return [];
  }
}

function rowLine(place: Place, change: NamedChange): DiscardedChange {
  const { table, operation, indirect, primaryKey } = change;
  const names = Array.from(primaryKey, (_, i) => change.columns?.[i] ?? `column ${i + 1}`);
  const key = names.filter((_, i) => primaryKey[i]! > 0);
  const before = named(names, change.before);
  return { ...place, table, operation, indirect, key, before, after: named(names, change.after) };
}

function statementLine(
  place: Place,
  statement: RecordedStatement,
  why: string,
): DiscardedStatement {
  const { sql, args, namedArgs, captured } = statement;
  return {
    ...{ ...place, sql, args: args.map(toValue) },
    namedArgs: namedArgs.map(({ name, value }) => ({ name, value: toValue(value) })),
    captured: captured.map(toValue),
    ...(why === "" ? {} : { why }),
  };
}

function isStatement(line: DiscardedChange): line is DiscardedStatement {
  return "sql" in line;
}

function named(
  names: readonly string[],
  row: SparseRow | undefined,
): Record<string, Value> | undefined {
  if (row === undefined) return undefined;
  const pairs = row.flatMap((value, i): [string, Value][] =>
    value === undefined ? [] : [[names[i]!, shown(value)]],
  );
  return Object.fromEntries(pairs);
}

/** Hrana has no form for text that is no UTF-8: it is as clients read it, with U+FFFD. */
function shown(value: RowValue): Value {
  return toValue(value instanceof TextBytes ? String(value) : value);
}
