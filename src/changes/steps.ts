/**
 * What client transactions did to a database, in the order in which it happened: rows that changed, or statements with
 * all that is needed to run them again to the same end.
 *
 * Only what took effect is recorded: nothing of a transaction, savepoint or statement that was rolled back.
 */

import type { RowChange } from "./changeset.ts";
import type { SqlValue } from "./values.ts";

/** A statement, and what it learned from outside of the database when it ran. */
export type RecordedStatement = {
  readonly sql: string;
  readonly args: readonly SqlValue[];
  readonly namedArgs: readonly { readonly name: string; readonly value: SqlValue }[];
  /** PRAGMA foreign_keys, as it was. */
  readonly foreignKeys: boolean;
  /** It failed, and part of its work stayed: OR FAIL. It must fail again. */
  readonly failed: boolean;
  /** Rows could not say what it did, and yet it may do something else elsewhere: whoever runs it may go astray. */
  readonly isUnsure: boolean;
  /** Answers of clock and chance (now, CURRENT_TIMESTAMP, random), in the order in which they were asked for. */
  readonly captured: readonly SqlValue[];
  /** last_insert_rowid() before it, if it asks for that. */
  readonly lastRowid: bigint | undefined;
};

export type Step =
  /** Names of a table's columns, in the order of the changesets that follow. Holds until it is given again. */
  | { readonly type: "table"; readonly table: string; readonly columns: readonly string[] }
  /** Rows, as SQLite's changeset (changeset.ts). */
  | { readonly type: "changeset"; readonly bytes: Uint8Array }
  /**
   * A statement. `why` says why it is one: it is of the schema, or does what rows cannot carry; empty in a record of
   * statements.
   */
  | { readonly type: "statement"; readonly statement: RecordedStatement; readonly why: string }
  /** The next number of an AUTOINCREMENT table, less one. */
  | { readonly type: "sequence"; readonly table: string; readonly value: bigint };

/** One client transaction: all or nothing. */
export type RecordedTransaction = { readonly steps: readonly Step[] };

/** One changed row, with names. */
export type NamedChange = RowChange & {
  readonly type: "row";
  readonly table: string;
  /** Undefined when the record does not name them. */
  readonly columns: readonly string[] | undefined;
  readonly primaryKey: Uint8Array;
};

export type NamedStep = NamedChange | Extract<Step, { type: "statement" | "sequence" }>;
