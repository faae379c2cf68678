/**
 * What the clients of a router have seen, so that none of them reads behind it, on whichever node.
 *
 * A client that names its session, by the header `paceline-session` or a cookie of that name, reads at or after
 * everything that this session has seen. All others are one session: each reads at or after everything that was written
 * or read through this router by any of them, which is more than it needs and costs it waiting.
 *
 * Bounded: the session unused for longest is forgotten, and then begins again with everything that was seen by anyone,
 * so forgetting makes nobody read behind.
 *
 * Not here: more than one router. A client that moves between them takes `paceline-position` along.
 */

import type { FastifyRequest } from "fastify";
import { ClientError } from "../base/errors.ts";
import { type EntryId, zeroEntryId } from "../vocabulary.ts";

const sessionHeader = "paceline-session";
const namePattern = /^[\x21-\x7e]{1,128}$/;
const cookiePattern = /(?:^|;)\s*paceline-session=([^;\s]*)/;

/** Name of the client's session; undefined when it has none. Throws ClientError BAD_REQUEST. */
export function sessionNameOf(request: FastifyRequest): string | undefined {
  const header = request.headers[sessionHeader];
  const name = header ?? cookiePattern.exec(request.headers.cookie ?? "")?.[1];
  if (name === undefined) return undefined;
  if (typeof name === "string" && namePattern.test(name)) return name;
  throw new ClientError(
    "BAD_REQUEST",
    `${sessionHeader}: a session has a name of 1 to 128 visible characters`,
  );
}

export class ClientSessions {
  readonly #max: number;
  /** Positions by name, the one used last at the end. */
  readonly #positionByName = new Map<string, EntryId>();
  /** The newest position of anyone. */
  #newest: EntryId = zeroEntryId;
  /** The newest position of those without a name. */
  #unnamed: EntryId = zeroEntryId;
  /** Somebody has been forgotten, so a name that is not known may not be new. */
  #hasForgotten = false;

  constructor(max: number) {
    this.#max = max;
  }

  get count(): number {
    return this.#positionByName.size;
  }

  /** Where reads of the session must not be behind. */
  positionOf(name: string | undefined): EntryId {
    if (name === undefined) return this.#unnamed;
    const known = this.#positionByName.get(name);
    if (known !== undefined) return known;
    return this.#hasForgotten ? this.#newest : zeroEntryId;
  }

  /** The session was answered at this position. */
  saw(name: string | undefined, position: EntryId): void {
    this.#newest = later(this.#newest, position);
    if (name === undefined) {
      this.#unnamed = later(this.#unnamed, position);
      return;
    }
    const before = this.positionOf(name);
    this.#positionByName.delete(name);
    this.#positionByName.set(name, later(before, position));
    if (this.#positionByName.size <= this.#max) return;
    const oldest = this.#positionByName.keys().next().value;
    if (oldest !== undefined) this.#positionByName.delete(oldest);
    this.#hasForgotten = true;
  }
}

/** The later of two positions. */
export function later(a: EntryId, b: EntryId): EntryId {
  return b.lsn > a.lsn ? b : a;
}
