/**
 * What a router asks about the stream itself, beside the body, which is the client's:
 *
 *   paceline-stream: while-open                     keep the stream only if the request leaves a transaction open, so
 *                                                   that nobody has to come back to close it
 *   paceline-stream: while-open;foreignKeys=on|off  a new stream begins with this setting of `PRAGMA foreign_keys`
 *
 * The answer to such a request says in `paceline-foreign-keys` what the stream's setting is, if it was ever set. So a
 * router can keep a client's stream, and use a stream of a node only from BEGIN to COMMIT.
 */

import type { FastifyRequest } from "fastify";
import { refused } from "./value.ts";

export type StreamWish = {
  /** End the stream with the request unless a transaction is open then. */
  readonly whileOpen: boolean;
  /** For a new stream. */
  readonly foreignKeys: boolean | undefined;
};

/** The name of the header in requests, and of the one in answers. */
export const streamHeaders = {
  wish: "paceline-stream",
  foreignKeys: "paceline-foreign-keys",
} as const;

const form = /^while-open(?:;foreignKeys=(on|off))?$/;

/** Throws ClientError BAD_REQUEST. */
export function streamWishOf(request: FastifyRequest): StreamWish {
  const text = request.headers[streamHeaders.wish];
  if (text === undefined) return { whileOpen: false, foreignKeys: undefined };
  const match = typeof text === "string" ? form.exec(text) : null;
  if (match === null) {
    throw refused(
      `${streamHeaders.wish}: "${String(text)}" is not while-open[;foreignKeys=on|off]`,
    );
  }
  const setting = match[1];
  return { whileOpen: true, foreignKeys: setting === undefined ? undefined : setting === "on" };
}

/** The value of the header. */
export function formatStreamWish(foreignKeys: boolean | undefined): string {
  return foreignKeys === undefined
    ? "while-open"
    : `while-open;foreignKeys=${foreignKeys ? "on" : "off"}`;
}
