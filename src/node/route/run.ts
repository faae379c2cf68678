/**
 * What a node is asked to run, and what it answers: the types that the API, the node and the way between two nodes
 * have in common.
 *
 * A result is the JSON text of a Hrana StreamResult. It was made in another process and is passed on as it is.
 *
 * Not here: how a request is routed (node/), how it came in (api/), how it goes to another node (forward.ts).
 */

import type { ConnectionState } from "../../db/stream/connection-state.ts";
import type { EntryId, NodeId } from "../../vocabulary.ts";
import type { Ack, AckLevel } from "../rule/ack.ts";

/**
 * How fresh a read must be.
 *   stale         what this node has
 *   session       at least `minPosition`, and everything this node has acknowledged to anyone
 *   bounded       not older than maxLagMs
 *   leader        what the leader has
 *   linearizable  what the leader has, after it made sure that it still leads
 */
export type Consistency =
  | { readonly type: "stale" }
  | { readonly type: "session" }
  | { readonly type: "bounded"; readonly maxLagMs: number }
  | { readonly type: "leader" }
  | { readonly type: "linearizable" };

export type RunOptions = {
  readonly consistency: Consistency;
  /** The answer must come from a database at or after this position. A term of 0 means any. */
  readonly minPosition: EntryId | undefined;
  /** Handle of an open transaction, from an earlier answer. */
  readonly session: string | undefined;
  /** When a plain BEGIN takes the writer; undefined: as the cluster has agreed. */
  readonly begin?: "deferred" | "immediate" | undefined;
  /** More copies than the commit rule asks for, before a write is answered. */
  readonly ack?: Ack | undefined;
  /** Milliseconds that the caller is willing to wait, counted from now. */
  readonly deadlineMs: number | undefined;
  /** The node that the client talks to, when that is not the one that runs it. */
  readonly origin?: NodeId | undefined;
  /** The unit is one batch; a large answer may come in pieces. */
  readonly inPieces?: boolean | undefined;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
};

/**
 * The entries of a cursor as JSON lines, each piece whole lines, made as they are taken. To be read once. Throws
 * ClientError in the middle. Gives at its end the session that is open.
 */
export type Pieces = AsyncGenerator<Uint8Array, string | undefined, void>;

export type RunAnswer = {
  /** One JSON text of a StreamResult per request of the unit. */
  readonly results: readonly string[];
  /** In place of the results, if that was wished for. */
  readonly pieces?: Pieces | undefined;
  /** Where the database was that answered; of a write, where the write is. */
  readonly position: EntryId;
  /** Set while a transaction is open. With pieces it is known only after the last one. */
  readonly session: string | undefined;
  /** Of a write: the copies that it had when it was answered. */
  readonly acked?: AckLevel | undefined;
  /** What the stream keeps now, if the unit has changed it: its next units bring it along (Unit.connection). */
  readonly connection?: ConnectionState | undefined;
  /** Something was committed since `Unit.snapshot`. Nothing was run, and there are no results. */
  readonly overtaken?: boolean | undefined;
};

/** What `parseConsistency` accepts, for messages. */
export const consistencyForms = "stale, session, bounded;maxLagMs=N, leader, linearizable";

const lagPattern = /^bounded\s*;\s*maxLagMs\s*=\s*(\d{1,9})$/i;

/** Reads the header `paceline-consistency`. Undefined when the text is none of the forms. */
export function parseConsistency(text: string): Consistency | undefined {
  const trimmed = text.trim();
  const bounded = lagPattern.exec(trimmed);
  if (bounded !== null) return { type: "bounded", maxLagMs: Number(bounded[1]) };
  const type = trimmed.toLowerCase();
  if (type === "stale" || type === "session" || type === "leader" || type === "linearizable") {
    return { type };
  }
  return undefined;
}

/** Reads the header `paceline-begin`. */
export function parseBegin(text: string): RunOptions["begin"] {
  return text === "deferred" || text === "immediate" ? text : undefined;
}

export function formatConsistency(consistency: Consistency): string {
  return consistency.type === "bounded"
    ? `bounded;maxLagMs=${consistency.maxLagMs}`
    : consistency.type;
}
