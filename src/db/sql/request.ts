/**
 * What a client asks of the database, as plain values: the program's model of Hrana requests. `Value` is Hrana's
 * JSON value as it stands, so that nothing is converted twice on its way to the process that runs it.
 *
 * Not here: reading these from JSON or protobuf and refusing malformed ones (api/), and what they mean (executor.ts).
 */

import type { SqlValue } from "../../changes/values.ts";
import type { EntryId } from "../../vocabulary.ts";
import type { ConnectionState } from "../stream/connection-state.ts";

export type Value =
  | { readonly type: "null" }
  | { readonly type: "integer"; readonly value: string }
  | { readonly type: "float"; readonly value: number }
  | { readonly type: "text"; readonly value: string }
  | { readonly type: "blob"; readonly base64: string };

/** One statement with its arguments. Positional and named arguments exclude each other. */
export type Stmt = {
  readonly sql: string;
  readonly args: readonly Value[];
  readonly namedArgs: readonly { readonly name: string; readonly value: Value }[];
  /** False: the statement runs to its end all the same, but its rows are dropped. */
  readonly wantRows: boolean;
};

/** Whether a step of a batch runs. Steps are numbered from 0; a condition looks only at earlier ones. */
export type Condition =
  | { readonly type: "ok" | "error"; readonly step: number }
  | { readonly type: "not"; readonly cond: Condition }
  | { readonly type: "and" | "or"; readonly conds: readonly Condition[] }
  | { readonly type: "is_autocommit" };

export type BatchStep = { readonly stmt: Stmt; readonly condition: Condition | undefined };

export type SqlRequest =
  | { readonly type: "execute"; readonly stmt: Stmt }
  | { readonly type: "batch"; readonly steps: readonly BatchStep[] }
  | { readonly type: "sequence"; readonly sql: string }
  | { readonly type: "describe"; readonly sql: string }
  | { readonly type: "get_autocommit" };

/** What one client sent in one go: runs in order, on one connection, with nothing of another client in between. */
export type Unit = {
  readonly requests: readonly SqlRequest[];
  /** What the stream keeps from one unit to the next, as the outcome of the last one said; a new one's if missing. */
  readonly connection?: ConnectionState | undefined;
  /** `PRAGMA foreign_keys` where the stream has not set it: what the cluster has agreed on; off if missing. Filled in
   *  by the node that runs the unit (node/route/routing.ts). */
  readonly foreignKeys?: boolean | undefined;
  /**
   * The transaction has read at this position, and now may write. A writer runs the unit only if nothing was committed
   * since (`overtaken`); a reader, told the same, knows that something was, and refuses its writes as SQLite does.
   */
  readonly snapshot?: EntryId | undefined;
};

/** What became of a unit. */
export type UnitOutcome = {
  /** For each request the JSON text of Hrana's StreamResult, so that the node's event loop never touches rows. */
  readonly results: string[];
  /** The unit left a transaction open. */
  readonly inTransaction: boolean;
  /** The unit committed a change: it may be answered only when the run's entry is committed. */
  readonly wrote: boolean;
  /** A reader refused to write (SQLITE_READONLY): the unit belongs to the leader. Nothing of it has happened. */
  readonly refusedWrite?: boolean | undefined;
  /** Something was committed since `Unit.snapshot`. Nothing of the unit was run, and it has no results. */
  readonly overtaken?: boolean | undefined;
  /** Of a reader: the transaction that it left open, as far as another connection must know it to open the same. */
  readonly transaction?:
    | {
        /** By BEGIN; else by the first of its savepoints. */
        readonly begun: boolean;
        readonly readonly: boolean;
        /** Outermost first. */
        readonly savepoints: readonly string[];
      }
    | undefined;
  /** What the stream keeps now, if that has changed: give it back as `Unit.connection`. */
  readonly connection?: ConnectionState | undefined;
};

/** As a client would send it. */
export function toValue(value: SqlValue): Value {
  if (value === null) return { type: "null" };
  if (typeof value === "bigint") return { type: "integer", value: String(value) };
  if (typeof value === "number") return { type: "float", value };
  if (typeof value === "string") return { type: "text", value };
  return { type: "blob", base64: Buffer.from(value).toString("base64") };
}
