/**
 * The connections to one node: SQL in a pool of its own, questions about its state beside it, so that neither waits
 * for the other.
 *
 * A request is sent once. What matters when that goes wrong is how far it got:
 *
 *   NotSent   no connection was made: the node has not seen a byte
 *   Broken    anything else: the node may have done it all
 *
 * Requests under way can be broken off from here, when somebody knows better than TCP that no answer will come.
 *
 * Not here: what an answer means (courier.ts), whether to try again (courier.ts).
 */

import { Pool } from "undici";
import { ClientError, messageOf } from "../base/errors.ts";
import { firstLine } from "../base/lines.ts";
import { isConnectFailure } from "../host/connect-failure.ts";
import { limits } from "../limits.ts";
import { type EntryId, parsePosition } from "../vocabulary.ts";
import { decodeNode, type SeenNode } from "./node-view.ts";

/** No connection: surely nothing was done. */
export class NotSent extends Error {
  override readonly name = "NotSent";
}

/** The request left, and no whole answer came. */
export class Broken extends Error {
  override readonly name = "Broken";
}

/** A request for `/v3/pipeline`, unless another path is named. */
export type Sent = {
  readonly path?: "/v3/cursor" | undefined;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Repeating it elsewhere is safe, so it is broken off sooner. */
  readonly reads: boolean;
};

export type Received = {
  readonly status: number;
  /** All of it; of a cursor that runs the first line. */
  readonly text: string;
  /** What comes behind the first line. To be read or returned. Throws Broken. */
  readonly rest?: AsyncGenerator<Uint8Array, void, void> | undefined;
  /** Absent when nothing ran. */
  readonly position: EntryId | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
};

type Flight = { readonly abort: AbortController; readonly reads: boolean };

export class NodeLink {
  readonly url: string;
  readonly #sql: Pool;
  readonly #questions: Pool;
  readonly #flights = new Set<Flight>();

  readonly #nowMs: () => number;
  /** When a piece of a cursor came from it. Whoever answers is there, even if a question waits in line behind it. */
  heardMs = Number.NEGATIVE_INFINITY;

  constructor(url: string, connections: number, nowMs: () => number) {
    this.url = url;
    this.#nowMs = nowMs;
    const connect = { timeout: limits.forwardConnectMs };
    // A pool sends a request once: undici repeats only what carries its retry interceptor.
    this.#sql = new Pool(url, { connections, pipelining: 1, connect });
    this.#questions = new Pool(url, { connections: 2, pipelining: 1, connect });
  }

  /** Requests under way. */
  get load(): number {
    return this.#flights.size;
  }

  /** Throws NotSent, Broken, or ClientError OVERLOADED when too many wait for a connection. */
  async send({ path, body, headers, signal, reads }: Sent): Promise<Received> {
    if (this.#sql.stats.queued >= limits.routedQueueMax) {
      throw new ClientError("OVERLOADED", `too many requests wait to be sent to ${this.url}`);
    }
    const flight: Flight = { abort: new AbortController(), reads };
    this.#flights.add(flight);
    let isUnderWay = false;
    try {
      const response = await this.#sql.request({
        method: "POST",
        path: path ?? "/v3/pipeline",
        headers: { "content-type": "application/json", ...headers },
        body,
        signal: AbortSignal.any([signal, flight.abort.signal]),
        headersTimeout: limits.forwardMs,
        bodyTimeout: limits.forwardMs,
      });
      const { statusCode: status, headers: answered } = response;
      const place = answered["paceline-position"];
      const position = typeof place === "string" ? parsePosition(place) : undefined;
      const head = { status, headers: answered, position };
      // Without a position nothing runs: the text says why.
      if (path === undefined || position === undefined) {
        return { ...head, text: await response.body.text() };
      }
      const { line, rest } = await firstLine(response.body);
      isUnderWay = true;
      return { ...head, text: line, rest: this.#untilEnd(rest, flight) };
    } catch (cause) {
      throw lost(this.url, cause);
    } finally {
      if (!isUnderWay) this.#flights.delete(flight);
    }
  }

  async *#untilEnd(
    rest: AsyncGenerator<Uint8Array, void, void>,
    flight: Flight,
  ): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const piece of rest) {
        this.heardMs = this.#nowMs();
        yield piece;
      }
    } catch (cause) {
      throw lost(this.url, cause);
    } finally {
      this.#flights.delete(flight);
    }
  }

  /** What the node says of itself. Throws when it does not, in time. */
  async ask(timeoutMs: number): Promise<SeenNode> {
    const response = await this.#questions.request({
      method: "GET",
      path: "/node",
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await response.body.text();
    if (response.statusCode !== 200) throw new Broken(`${this.url}/node: ${response.statusCode}`);
    return decodeNode(text);
  }

  /** Ends requests under way as Broken: those that read, or all. */
  breakOff(which: "reads" | "all"): void {
    for (const { abort, reads } of [...this.#flights]) {
      if (reads || which === "all") abort.abort(new Broken(`${this.url} has gone silent`));
    }
  }

  async close(): Promise<void> {
    this.breakOff("all");
    await Promise.all([this.#sql.destroy(), this.#questions.destroy()]);
  }
}

function lost(url: string, cause: unknown): NotSent | Broken {
  if (cause instanceof Broken) return cause;
  if (isConnectFailure(cause)) {
    return new NotSent(`no connection to ${url}: ${messageOf(cause)}`, { cause });
  }
  const { code } = cause as { code?: unknown };
  // The library's words for a connection that was ended mean nothing to a client.
  const isOurs = typeof code === "string" && code.startsWith("UND_ERR_");
  const why = isOurs ? "" : `: ${messageOf(cause)}`;
  return new Broken(`the connection to ${url} broke off${why}`, { cause });
}
