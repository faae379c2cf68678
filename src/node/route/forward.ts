/**
 * Sends requests to another node, over connections that are kept open.
 *
 * A request is sent once. When that goes wrong, what matters is how far it got:
 *
 *   surely not begun   no connection was made, or the other node refused       NOT_LEADER, or the refusal as it is
 *   sent, then broken  what commits nothing by itself: nothing has happened    NOT_LEADER: ask again elsewhere
 *                      anything else                                           UNKNOWN_OUTCOME
 *
 * Within a transaction that is open there, it is lost in place of NOT_LEADER: TRANSACTION_LOST, unless COMMIT was sent.
 *
 * NOT_LEADER is the one code that invites another try (routing.ts), so it is thrown only where one is safe.
 *
 * Not here: the format (forward-wire.ts), who the leader is and whether to try again (routing.ts).
 */

import { Pool } from "undici";
import {
  ClientError,
  type ErrorCode,
  errorCodes,
  messageOf,
  ProtocolError,
} from "../../base/errors.ts";
import { firstLine } from "../../base/lines.ts";
import type { Unit } from "../../db/sql/request.ts";
import { hasUpkeep } from "../../db/sql/shape.ts";
import { mayCommit, readsNothing } from "../../db/stream/access.ts";
import { isConnectFailure } from "../../host/connect-failure.ts";
import type { TlsIdentity } from "../../host/tls.ts";
import { limits } from "../../limits.ts";
import type { NodeId } from "../../vocabulary.ts";
import type { NodeStatus, NodeVerdict, VerifyWish } from "../report/node-status.ts";
import { withoutTransaction } from "../write/transaction-errors.ts";
import { authorization, decodeAnswer, internalPaths, piecesHeader } from "./forward-wire.ts";
import { connectorTo, originOf } from "./node-connection.ts";
import type { Pieces, RunAnswer, RunOptions } from "./run.ts";
import { encodeRun } from "./run-body.ts";

type Sent = {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: string | Uint8Array | undefined;
};
type Received = {
  readonly status: number;
  readonly text: string;
  /** What comes behind the text. */
  readonly pieces?: AsyncGenerator<Uint8Array, void, void> | undefined;
};

export type ForwarderOptions = {
  readonly token: string;
  readonly self: NodeId;
  readonly onwards?: boolean | undefined;
  /** Other nodes are talked to under TLS. */
  readonly tls?: TlsIdentity | undefined;
};

export class Forwarder {
  readonly #headers: Record<string, string>;
  readonly #poolByAddress = new Map<string, Pool>();
  #closed = false;

  /** The other node need not lead: it may send requests on. */
  readonly #onwards: boolean;

  readonly #tls: TlsIdentity | undefined;

  constructor(options: ForwarderOptions) {
    const { token, self } = options;
    this.#tls = options.tls;
    this.#onwards = options.onwards ?? false;
    this.#headers = {
      authorization: authorization(token),
      "content-type": "application/json",
      "paceline-from": self,
    };
  }

  /** Runs a unit on the node at `address`, which must lead or send it on. Throws ClientError, see above. */
  async run(address: string, unit: Unit, options: RunOptions): Promise<RunAnswer> {
    if (options.signal.aborted) throw new ClientError("OVERLOADED", "given up before it was sent");
    const body = await encodeRun(unit, options, this.#onwards);
    try {
      const sent: Sent = { method: "POST", path: internalPaths.run, body };
      const timeoutMs = hasUpkeep(unit) ? limits.verifyMs : limits.forwardMs;
      const received = await this.#send(address, sent, { signal: options.signal, timeoutMs });
      if (received.status !== 200) throw refusalOf(received, address);
      const answer = decodeAnswer(received.text);
      const { pieces } = received;
      return pieces === undefined ? answer : { ...answer, pieces: piecesFrom(address, pieces) };
    } catch (error) {
      throw failureOf(error, address, unit, options);
    }
  }

  /** Rolls back a transaction there. Does not wait: a message that is lost is made up for by the idle timeout. */
  closeSession(address: string, session: string): void {
    const body = JSON.stringify({ session });
    const sent: Sent = { method: "POST", path: internalPaths.closeSession, body };
    this.#send(address, sent, { timeoutMs: limits.transactionIdleMs }).catch(() => {});
  }

  /** What the node says of itself. Throws ClientError NOT_READY when it does not answer in time. */
  status(address: string, timeoutMs: number): Promise<NodeStatus> {
    const sent: Sent = { method: "GET", path: internalPaths.status };
    return this.#askOrNotReady<NodeStatus>(address, sent, timeoutMs);
  }

  /** Lets the node read its whole database. Throws ClientError NOT_READY when that cannot be had. */
  verify(address: string, wish: VerifyWish): Promise<NodeVerdict> {
    const body = JSON.stringify(wish);
    const sent: Sent = { method: "POST", path: internalPaths.verify, body };
    return this.#askOrNotReady<NodeVerdict>(address, sent, limits.verifyMs);
  }

  /**
   * Sends a request for JSON and gives the answer as it came. Throws ClientError: what the other node refused,
   * NOT_LEADER when no connection was made, UNKNOWN_OUTCOME when it broke off.
   */
  async ask(address: string, sent: Sent, timeoutMs: number): Promise<unknown> {
    try {
      const received = await this.#send(address, sent, { timeoutMs });
      if (received.status !== 200) throw refusalOf(received, address);
      return JSON.parse(received.text);
    } catch (error) {
      throw (
        connectFailureOf(error, address) ??
        unknownOutcome(`the connection to ${address} broke off${whyOf(error)}`, error)
      );
    }
  }

  /**
   * Ends the connections to a node that is known to be gone: requests under way fail as broken at once, instead of
   * waiting for an answer that will not come.
   */
  abandon(address: string): void {
    const pool = this.#poolByAddress.get(address);
    if (pool === undefined) return;
    this.#poolByAddress.delete(address);
    pool.destroy().catch(() => {});
  }

  /** Ends all connections at once; requests under way fail as broken. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#poolByAddress.values()].map((pool) => pool.destroy()));
    this.#poolByAddress.clear();
  }

  /** How long an answer may take is a matter of what is asked, and undici has a timer of its own for it. */
  async #send(
    address: string,
    sent: Sent,
    {
      signal,
      timeoutMs,
    }: { readonly signal?: AbortSignal | undefined; readonly timeoutMs: number },
  ): Promise<Received> {
    const pool = this.#pool(address);
    if (pool.stats.queued >= limits.writeQueueMax) {
      throw new ClientError(
        "OVERLOADED",
        `${pool.stats.queued} requests wait to be sent to ${address}`,
      );
    }
    const { statusCode, headers, body } = await pool.request({
      method: sent.method,
      path: sent.path,
      headers: this.#headers,
      body: sent.body ?? null,
      signal: signal ?? AbortSignal.timeout(timeoutMs),
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    if (headers[piecesHeader] === undefined) return { status: statusCode, text: await body.text() };
    const { line, rest } = await firstLine(body);
    return { status: statusCode, text: `${line}\n`, pieces: rest };
  }

  /** For answers of named fields. What is null there is undefined here, and the field stays. */
  async #askOrNotReady<T extends object>(
    address: string,
    sent: Sent,
    timeoutMs: number,
  ): Promise<T> {
    try {
      const answer = (await this.ask(address, sent, timeoutMs)) as object;
      const fields = Object.entries(answer).map(([key, field]) => [key, field ?? undefined]);
      return Object.fromEntries(fields) as T;
    } catch (cause) {
      throw new ClientError("NOT_READY", messageOf(cause), { cause });
    }
  }

  #pool(address: string): Pool {
    const known = this.#poolByAddress.get(address);
    if (known !== undefined) return known;
    if (this.#closed) throw new ClientError("NOT_READY", "this node is stopping");
    // A pool sends a request once: undici repeats only what carries its retry interceptor.
    const pool = new Pool(originOf(address, this.#tls), {
      connections: limits.forwardConnectionsMax,
      pipelining: 1,
      connect: connectorTo(address, limits.forwardConnectMs, this.#tls),
    });
    this.#poolByAddress.set(address, pool);
    return pool;
  }
}

/** What goes wrong in the middle is told at the end: what came before was right, and nothing was changed. */
async function* piecesFrom(
  address: string,
  pieces: AsyncGenerator<Uint8Array, void, void>,
): Pieces {
  try {
    yield* pieces;
  } catch (cause) {
    const message = `reading on ${address} broke off: ${messageOf(cause)}; repeat it`;
    throw new ClientError("NOT_READY", message, { cause });
  }
  return undefined;
}

/** The refusal of the other node, as it made it. ProtocolError when the answer is not one of our nodes'. */
function refusalOf({ status, text }: Received, address: string): ClientError | ProtocolError {
  const { code, message } = parseRefusal(text);
  if (typeof code !== "string" || !Object.hasOwn(errorCodes, code) || typeof message !== "string") {
    return new ProtocolError(`it answered with status ${status}`);
  }
  // Not the client's fault: the two nodes do not share a secret.
  if (code === "UNAUTHORIZED") {
    return new ClientError(
      "NOT_READY",
      `the node at ${address} does not accept this one: do both have the same secret? (${message})`,
    );
  }
  return new ClientError(code as ErrorCode, message);
}

function parseRefusal(text: string): { readonly code?: unknown; readonly message?: unknown } {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

function failureOf(error: unknown, address: string, unit: Unit, options: RunOptions): ClientError {
  const surely = connectFailureOf(error, address);
  if (surely !== undefined) return withoutTransaction(surely, options);
  return brokenOff(`the connection to ${address} broke off${whyOf(error)}`, unit, options, error);
}

/** What a request is answered that was sent to another node and got no answer. */
export function brokenOff(
  what: string,
  unit: Unit,
  options: Pick<RunOptions, "session">,
  cause?: unknown,
): ClientError {
  const inTransaction = options.session !== undefined;
  // A transaction that has only read has nothing to commit; one that writes with this unit has.
  const nothing = options.session?.startsWith("r.") === true && readsNothing(unit);
  if (!nothing && mayCommit(unit, inTransaction)) return unknownOutcome(what, cause);
  return withoutTransaction(new ClientError("NOT_LEADER", what, { cause }), options);
}

/** What is thrown when the other node surely did nothing, or said itself what became of it. */
function connectFailureOf(error: unknown, address: string): ClientError | undefined {
  if (error instanceof ClientError) return error;
  if (!isConnectFailure(error)) return undefined;
  const message = `no connection to ${address}: ${messageOf(error)}`;
  return new ClientError("NOT_LEADER", message, { cause: error });
}

function unknownOutcome(what: string, cause: unknown): ClientError {
  const message = `${what} after the request was sent; it may have happened, so look before you repeat it`;
  return new ClientError("UNKNOWN_OUTCOME", message, { cause });
}

/** Connections are ended by us, too, and the words of the library for that mean nothing to a client. */
function whyOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  if (code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT") {
    return `, silent for ${limits.forwardMs} ms,`;
  }
  const isOurs = typeof code === "string" && code.startsWith("UND_ERR_");
  return isOurs ? "" : ` (${messageOf(error)})`;
}
