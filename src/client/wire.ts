/**
 * A unit of requests as the body of `/v3/pipeline` or `/v3/cursor`, and what of it must be known to send it: where it
 * may run, whether it may count without its answer, whether a stream is needed after it.
 *
 * Every statement ends its stream with the request, unless it begins a transaction: then the node keeps the stream only
 * if one is open in the end, and nobody has to come back to close it.
 */

import { accessOf, mayCommit, touchesTransaction } from "../db/sql/classify.ts";
import type { Unit } from "../db/sql/request.ts";
import { wireRequest } from "../db/sql/wire-request.ts";
import type { Parcel } from "./courier.ts";
import { statementError } from "./errors.ts";

/** The part of a parcel that follows from its SQL. */
export type Packed = Pick<Parcel, "path" | "body" | "headers" | "mayCommit" | "reads"> & {
  readonly where: "leader" | "anywhere";
};

/** A unit that begins a stream of its own. */
export function packUnit(unit: Unit): Packed {
  const access = accessOf(unit);
  const touches = touchesTransaction(unit);
  const isWrite = access === "write";
  // A read needs no foreign keys, and asks for no answer about them.
  const keeps = touches || (isWrite && hasSettings(unit));
  const requests = unit.requests.map(wireRequest);
  return {
    body: JSON.stringify({ requests: keeps ? requests : [...requests, { type: "close" }] }),
    headers: keeps ? { "paceline-stream": streamWish(unit.foreignKeys) } : {},
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
    headers: { "paceline-stream": streamWish(undefined) },
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

/** The stream's own settings matter to the unit, or the unit changes them. */
function hasSettings(unit: Unit): boolean {
  return unit.foreignKeys !== undefined || /\bforeign_keys\b/i.test(sqlOf(unit));
}

function sqlOf({ requests }: Unit): string {
  return requests
    .map((request) => {
      if (request.type === "execute") return request.stmt.sql;
      if (request.type === "batch") return request.steps.map(({ stmt }) => stmt.sql).join("\n");
      return "sql" in request ? request.sql : "";
    })
    .join("\n");
}

function streamWish(foreignKeys: boolean | undefined): string {
  if (foreignKeys === undefined) return "while-open";
  return `while-open;foreignKeys=${foreignKeys ? "on" : "off"}`;
}
