/**
 * A unit of requests as the body of `/v3/pipeline` or `/v3/cursor`, and what of it must be known to send it: where it
 * may run, whether it may count without its answer, whether a stream is needed after it.
 *
 * Every statement ends its stream with the request, unless it begins a transaction: then the node keeps the stream only
 * if one is open in the end, and nobody has to come back to close it.
 */

import type { Unit } from "../db/sql/request.ts";
import { wireRequest } from "../db/sql/wire-request.ts";
import { accessOf, mayCommit, touchesTransaction } from "../db/stream/access.ts";
import { type ConnectionState, encodeConnection } from "../db/stream/connection-state.ts";
import type { Parcel } from "./courier.ts";
import { statementError } from "./errors.ts";

/** The part of a parcel that follows from its SQL. */
export type Packed = Pick<Parcel, "path" | "body" | "headers" | "mayCommit" | "reads"> & {
  readonly where: "leader" | "anywhere";
};

/**
 * A unit that begins a stream of its own. `isStream`: whoever sent it goes on with a stream, and wants to know what it
 * keeps. `begin`: when a plain BEGIN takes the writer, if the request says so.
 */
export function packUnit(unit: Unit, isStream: boolean, begin?: "deferred" | "immediate"): Packed {
  const access = accessOf(unit, begin);
  const isWrite = access === "write";
  const keeps = isStream || touchesTransaction(unit);
  const requests = unit.requests.map(wireRequest);
  return {
    body: JSON.stringify({ requests: keeps ? requests : [...requests, { type: "close" }] }),
    headers: keeps ? { "paceline-stream": streamWish(unit.connection) } : {},
    where: isWrite ? "leader" : "anywhere",
    mayCommit: isWrite && mayCommit(unit, false),
    reads: !isWrite,
  };
}

/** A batch of reads as the body of `/v3/cursor`. */
export function packCursor(unit: Unit): Packed {
  const [batch] = unit.requests.map(wireRequest) as { readonly batch: unknown }[];
  return {
    path: "/v3/cursor",
    body: JSON.stringify({ batch: batch!.batch }),
    headers: { "paceline-stream": streamWish(unit.connection) },
    ...{ where: "anywhere", mayCommit: false, reads: true },
  };
}

/** A unit within an open stream. */
export function packNext(unit: Unit, baton: string, reads: boolean): Packed {
  return {
    body: JSON.stringify({ baton, requests: unit.requests.map(wireRequest) }),
    headers: { "paceline-stream": streamWish(undefined) },
    where: "leader",
    mayCommit: !reads && mayCommit(unit, true),
    reads,
  };
}

/** What each request was answered with. Throws the first error. */
export function responsesOf(text: string): readonly { readonly result?: unknown }[] {
  const { results } = JSON.parse(text) as {
    results: readonly { type: string; response: { result?: unknown }; error: object }[];
  };
  return results.map(({ type, response, error }) => {
    if (type !== "ok") throw statementError(error);
    return response;
  });
}

function streamWish(connection: ConnectionState | undefined): string {
  if (connection === undefined) return "while-open";
  return `while-open;connection=${encodeConnection(connection)}`;
}
