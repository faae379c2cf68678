/**
 * What a request says in its headers about how it wants to be run, and the sign that nobody waits for its answer any
 * more.
 *
 *   paceline-consistency    stale | session | bounded;maxLagMs=N | leader | linearizable     default: session
 *   paceline-min-position   42@3: the answer must come from a database at or after this position
 *   paceline-ack            leader | one | quorum | all | applied, and ;timeoutMs=N: more copies than the commit rule
 *   paceline-begin          deferred | immediate: when a plain BEGIN takes the writer; default: the cluster's setting
 *   paceline-deadline-ms    how long the client is willing to wait
 *
 * A header that is there and cannot be read is an error: to ignore it would give less than was asked for.
 */

import type { FastifyReply, FastifyRequest } from "fastify";
import { ClientError } from "../base/errors.ts";
import { limits } from "../limits.ts";
import {
  consistencyForms,
  parseBegin,
  parseConsistency,
  type RunOptions,
} from "../node/route/run.ts";
import { ackForms, parseAck } from "../node/rule/ack.ts";
import { parsePosition } from "../vocabulary.ts";

/** Throws ClientError BAD_REQUEST. */
export function wishesOf(
  request: FastifyRequest,
  reply: FastifyReply,
): Omit<RunOptions, "session"> {
  return {
    consistency: header(request, "paceline-consistency", parseConsistency, consistencyForms) ?? {
      type: "session",
    },
    minPosition: header(request, "paceline-min-position", parsePosition, "a position such as 42@3"),
    ack: header(request, "paceline-ack", parseAck, ackForms),
    begin: header(request, "paceline-begin", parseBegin, "deferred, immediate"),
    deadlineMs: header(
      request,
      "paceline-deadline-ms",
      parseDeadline,
      `milliseconds from 1 to ${limits.forwardMs}`,
    ),
    signal: signalOf(reply),
  };
}

/** Aborted when the connection is gone before the answer has left. */
export function signalOf(reply: FastifyReply): AbortSignal {
  const abort = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) abort.abort();
  });
  return abort.signal;
}

function header<T>(
  request: FastifyRequest,
  name: string,
  parse: (text: string) => T | undefined,
  forms: string,
): T | undefined {
  const text = request.headers[name];
  if (text === undefined) return undefined;
  const value = typeof text === "string" ? parse(text.trim()) : undefined;
  if (value === undefined) {
    throw new ClientError("BAD_REQUEST", `${name}: "${String(text)}" is not one of: ${forms}`);
  }
  return value;
}

function parseDeadline(text: string): number | undefined {
  const ms = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  return ms >= 1 && ms <= limits.forwardMs ? ms : undefined;
}
