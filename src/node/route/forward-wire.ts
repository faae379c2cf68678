/**
 * How a request goes from one node to another over HTTP.
 *
 *   POST /internal/run
 *     body    { onwards, consistency, minPosition, session, deadlineMs, ack, begin, connection, inPieces, snapshot,
 *             requests }, the requests as Hrana has them, so that the receiver decodes them as it decodes a client's
 *     200     one line { position, session, connection, acked, overtaken, lengths }, then the results, one after the
 *             other; lengths count UTF-16 units, so that nobody parses a result on the way. With the header
 *             paceline-pieces (only if `inPieces`): no results, but the entries of a cursor, as they are made
 *     else    { code, message }: a ClientError
 *   POST /internal/close-session
 *     body    { session }
 *   GET /internal/status    200     NodeStatus
 *   GET /internal/members   200     { members }: Membership
 *   POST /internal/verify   body VerifyWish   200   NodeVerdict
 *   POST /internal/follow   body { id, address }   200     { clusterId, way }: FollowAnswer (tree/upstream.ts)
 *
 * A node below the top of a tree sends requests to the node that it follows, with "onwards": true; that one may send
 * them on in turn. Without it the receiver must lead.
 *
 * Both nodes hold the secret of the cluster; the token in `authorization` is derived from it and proves as much.
 *
 * Not here: sending (forward.ts), receiving (api/internal.ts).
 */

import { createHmac, hash, timingSafeEqual } from "node:crypto";
import { ProtocolError } from "../../base/errors.ts";
import { parseConnection } from "../../db/stream/connection-state.ts";
import { formatPosition, parsePosition } from "../../vocabulary.ts";
import { parseAck } from "../rule/ack.ts";
import type { RunAnswer } from "./run.ts";

export const internalPaths = {
  run: "/internal/run",
  closeSession: "/internal/close-session",
  status: "/internal/status",
  members: "/internal/members",
  verify: "/internal/verify",
  follow: "/internal/follow",
} as const;

/** Header of an answer that comes in pieces. */
export const piecesHeader = "paceline-pieces";

const scheme = "Paceline ";

/** What a node shows to another. */
export function internalToken(secret: string): string {
  return createHmac("sha256", secret).update("paceline internal 1").digest("hex");
}

export function authorization(token: string): string {
  return scheme + token;
}

/** Whether the header `authorization` shows the token. Takes the same time wherever they differ. */
export function isAuthorized(header: string | undefined, token: string): boolean {
  const wanted = hash("sha256", authorization(token), "buffer");
  return timingSafeEqual(hash("sha256", header ?? "", "buffer"), wanted);
}

export function encodeAnswer(answer: RunAnswer): string {
  const head = JSON.stringify({
    position: formatPosition(answer.position),
    session: answer.session,
    connection: answer.connection,
    acked: answer.acked,
    overtaken: answer.overtaken,
    lengths: answer.results.map((result) => result.length),
  });
  return `${head}\n${answer.results.join("")}`;
}

/** Throws ProtocolError. */
export function decodeAnswer(text: string): RunAnswer {
  const headEnd = text.indexOf("\n");
  const head = parse(headEnd < 0 ? "" : text.slice(0, headEnd));
  const position = typeof head.position === "string" ? parsePosition(head.position) : undefined;
  if (position === undefined || !Array.isArray(head.lengths)) {
    throw new ProtocolError("the answer of the other node lacks its first line");
  }
  let at = headEnd + 1;
  const results = head.lengths.map((length: unknown) => {
    if (!Number.isSafeInteger(length) || (length as number) < 0) {
      throw new ProtocolError("a length in the answer of the other node is not one");
    }
    at += length as number;
    return text.slice(at - (length as number), at);
  });
  if (at !== text.length) {
    throw new ProtocolError(`the answer of the other node has ${text.length} units, not ${at}`);
  }
  return {
    results,
    position,
    session: typeof head.session === "string" ? head.session : undefined,
    connection: parseConnection(head.connection),
    acked: typeof head.acked === "string" ? parseAck(head.acked)?.level : undefined,
    ...(head.overtaken === true && { overtaken: true }),
  };
}

type Head = {
  readonly [key in
    | "position"
    | "session"
    | "connection"
    | "acked"
    | "overtaken"
    | "lengths"]?: unknown;
};

function parse(text: string): Head {
  try {
    return (JSON.parse(text) ?? {}) as Head;
  } catch (cause) {
    throw new ProtocolError("the answer of the other node has no first line", { cause });
  }
}
