/**
 * Events of the change stream as JSON, and what a consumer may wish: the same whatever carries them.
 *
 *   change   { position, committedAt, transactions }   what an entry did (change-json.ts)
 *   gap      { position, committedAt }   changes that were not recorded: a copy kept by this stream must be made anew
 *   idle     { position }                nothing new for a while
 *   error    { code, message, retry }    the stream has ended
 *
 *   from=42@3     after this position; without it, from now on; `from=0` is the beginning of the log
 *   tables=a,b    rows of these tables only; statements always
 *
 * The header Last-Event-ID goes before `from`: it is what a browser sends when it connects again.
 */

import type { IncomingHttpHeaders } from "node:http";
import { ClientError, errorCodes, messageOf, type Retry } from "../../base/errors.ts";
import type { FeedEvent } from "../../node/changes/feed.ts";
import { type EntryId, formatPosition, parsePosition } from "../../vocabulary.ts";
import { type JsonStep, toJsonStep } from "./change-json.ts";

export type StreamWish = {
  readonly from: EntryId | undefined;
  /** Undefined: all. */
  readonly tables: ReadonlySet<string> | undefined;
};

/** An event, as `JSON.stringify` takes it. */
export type EventJson =
  | { readonly position: string }
  | { readonly code: string; readonly message: string; readonly retry: Retry }
  | {
      readonly position: string;
      readonly committedAt: string;
      readonly transactions?: readonly (readonly JsonStep[])[];
    };

/** Throws ClientError BAD_REQUEST. */
export function wishOf(query: unknown, headers: IncomingHttpHeaders): StreamWish {
  const { from: asked, tables } = query as { from?: unknown; tables?: unknown };
  const text = headers["last-event-id"] ?? asked;
  const from = typeof text === "string" ? parsePosition(text) : undefined;
  if (text !== undefined && from === undefined) {
    const shown = String(text).slice(0, 100);
    throw new ClientError("BAD_REQUEST", `from: "${shown}" is not a position such as 42@3`);
  }
  if (tables !== undefined && typeof tables !== "string") {
    throw new ClientError("BAD_REQUEST", "tables: names with commas between them");
  }
  return { from, tables: tables === undefined ? undefined : new Set(tables.split(",")) };
}

/** Undefined for a change that has nothing for this consumer. */
export function eventJson(
  event: FeedEvent,
  tables: ReadonlySet<string> | undefined,
): EventJson | undefined {
  const position = formatPosition(event.position);
  if (event.type === "idle") return { position };
  const committedAt = new Date(event.committedAtMs).toISOString();
  if (event.type === "gap") return { position, committedAt };
  const wanted = (step: JsonStep) =>
    tables === undefined || step.op === "statement" || tables.has(step.table);
  const transactions = event.transactions
    .map((steps) => steps.map(toJsonStep).filter(wanted))
    .filter((steps) => steps.length > 0);
  return transactions.length === 0 ? undefined : { position, committedAt, transactions };
}

/** Why a stream ends. */
export function failureOf(error: unknown): ClientError {
  return error instanceof ClientError ? error : new ClientError("INTERNAL", messageOf(error));
}

/** The same in JSON, with what to do about it (docs/guarantees.md). */
export function failureJson({ code, message }: ClientError): EventJson {
  return { code, message, retry: errorCodes[code].retry };
}
