/**
 * What a router asks about the stream itself, beside the body, which is the client's:
 *
 *   paceline-stream: while-open                keep the stream only if the request leaves a transaction open, so that
 *                                              nobody has to come back to close it
 *   paceline-stream: while-open;connection=C   a new stream begins with what C says that a connection keeps
 *
 * The answer to such a request says in `paceline-connection` what the stream keeps now, if it has done anything. So a
 * router can keep a client's stream, and use a stream of a node only from BEGIN to COMMIT. C is
 * db/stream/connection-state.ts, encoded.
 */

import type { FastifyRequest } from "fastify";
import { type ConnectionState, decodeConnection } from "../../db/stream/connection-state.ts";
import { refused } from "./value.ts";

export type StreamWish = {
  /** End the stream with the request unless a transaction is open then. */
  readonly whileOpen: boolean;
  /** For a new stream. */
  readonly connection: ConnectionState | undefined;
};

/** The name of the header in requests, and of the one in answers. */
export const streamHeaders = {
  wish: "paceline-stream",
  connection: "paceline-connection",
} as const;

const form = /^while-open(?:;connection=([\w-]+))?$/;

/** Throws ClientError BAD_REQUEST. */
export function streamWishOf(request: FastifyRequest): StreamWish {
  const text = request.headers[streamHeaders.wish];
  if (text === undefined) return { whileOpen: false, connection: undefined };
  const match = typeof text === "string" ? form.exec(text) : null;
  const said = match?.[1];
  const connection = said === undefined ? undefined : decodeConnection(said);
  if (match === null || (said !== undefined && connection === undefined)) {
    throw refused(`${streamHeaders.wish}: "${String(text)}" is not while-open[;connection=…]`);
  }
  return { whileOpen: true, connection };
}
