/**
 * How a failure is told to a client over HTTP. Always the same five fields, so that every client library finds the
 * one it looks for: `message` (libSQL for TypeScript, Python), `error` (Go, Turso), `code`, and for programs that
 * want to react, `retry` and `hint`.
 *
 * The content type is exactly `application/json`: the TypeScript client compares it as text and drops message and
 * code otherwise [hrana.md §3.4]. Fastify would add a charset to a string, so bodies are sent as bytes.
 *
 * Not here: errors inside an answer of status 200 are results (hrana/unit.ts).
 */

import type { FastifyReply } from "fastify";
import { ClientError, type ErrorCode, errorCodes } from "../base/errors.ts";

/** What to do about it, where the message does not say so already. */
const hints: Record<ErrorCode, string | undefined> = {
  BAD_REQUEST: undefined,
  BODY_TOO_LARGE: "split the request into smaller ones",
  UNAUTHORIZED: undefined,
  NOT_FOUND: "GET / lists what there is",
  METHOD_NOT_ALLOWED: "the header Allow lists the methods of this path",
  BLOCKED: undefined,
  TABLE_NOT_HERE: "repeat it on another node",
  STATEMENT_TIMEOUT: "make the statement faster or split it",
  TRANSACTION_TIMEOUT: "keep transactions short; begin it again",
  TRANSACTION_LOST: "nothing of it was kept; begin it again",
  TRANSACTION_TOO_LARGE: "split the transaction",
  RESPONSE_TOO_LARGE: "ask for fewer rows or columns at a time",
  STREAM_EXPIRED: "open a new stream: repeat the request without a baton",
  BATON_INVALID: "open a new stream: repeat the request without a baton",
  NOT_LEADER: "repeat the request, or ask GET /status who leads",
  TOO_STALE: "repeat it on another node, or ask for less freshness",
  NOT_READY: "repeat it on another node",
  OVERLOADED: "nothing was done; repeat it after a pause",
  NO_LEADER: "nothing was done; an election takes about a second, repeat it after a pause",
  MEMBERSHIP_BUSY: "another change of members or settings is under way; repeat it after a pause",
  MEMBERSHIP_REFUSED: undefined,
  PROMOTION_REFUSED: undefined,
  SETTINGS_REFUSED: undefined,
  POSITION_TOO_OLD: "begin anew from a copy: paceline backup",
  POSITION_AHEAD: "ask again shortly, or another node",
  POSITION_UNKNOWN: "begin anew from a copy: paceline backup",
  POSITION_PASSED: undefined,
  NOT_DELAYED: "delayed nodes run with paceline start --apply-delay; /status shows which do",
  NOT_RECORDED: undefined,
  STORAGE: "the disk of this node failed; see its log, and use another node",
  UNKNOWN_OUTCOME: "it may have happened or still happen; look before you repeat it",
  INTERNAL: "this is a bug; the log of the node has the details",
};

/** The body of an answer that is not 200. */
export function errorBody(code: ErrorCode, message: string): string {
  const { retry } = errorCodes[code];
  return JSON.stringify({ message, code, error: message, retry, hint: hints[code] });
}

/** Answers with JSON text. */
export function sendJson(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply.code(status).header("content-type", "application/json").send(Buffer.from(text));
}

export function sendError(reply: FastifyReply, error: ClientError): FastifyReply {
  return sendJson(reply, errorCodes[error.code].status, errorBody(error.code, error.message));
}

/**
 * What a failure means to the client. Undefined when it means nothing to a client: a bug of ours, whose text is for
 * the log and not for strangers.
 */
export function clientErrorFrom(error: unknown): ClientError | undefined {
  if (error instanceof ClientError) return error;
  if (!(error instanceof Error)) return undefined;
  const { statusCode } = error as { statusCode?: unknown };
  if (typeof statusCode === "number" && statusCode >= 400 && statusCode < 500) {
    return new ClientError("BAD_REQUEST", error.message);
  }
  return undefined;
}
