/**
 * Brings a request to the node that should run it, and brings the answer back. All the judgement about what may be
 * tried again is here.
 *
 *   what went wrong                            a read            a write
 *   no connection, or the node refused it      another node      the leader, when there is one again
 *   the node is overloaded                     another node      told to the caller: pausing is the caller's part
 *   sent, and the connection broke             another node      UNKNOWN_OUTCOME; never tried again
 *
 * What only opened a transaction, and did not get to finish it, is as safe to repeat as a read: `mayCommit` says so.
 *
 * While nobody leads, writes wait here, up to a bound. A read waits on a follower for the position that it needs, but
 * not for longer than catchUpMs if the follower does not get there; then another node is asked.
 *
 * Not here: where the nodes are and how they do (cluster-view.ts).
 */

import { ClientError, type ErrorCode, errorCodes, messageOf } from "../base/errors.ts";
import type { Clock } from "../host/clock.ts";
import { limits } from "../limits.ts";
import type { EntryId } from "../vocabulary.ts";
import { type Ack, ackFrom } from "./ack.ts";
import type { ClusterView, WatchedNode } from "./cluster-view.ts";
import { Broken, NotSent, type Received, type Sent } from "./node-link.ts";

/** A request for `/v3/pipeline`, with what is known of it. */
export type Parcel = {
  /** A cursor's answer comes as it is read. Default: `/v3/pipeline`. */
  readonly path?: Sent["path"];
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  /** `leader`: writes, and reads that want the leader's word. */
  readonly where: "leader" | "anywhere";
  /** Without its answer it may still have changed something: never sent twice. */
  readonly mayCommit: boolean;
  /** Reads are broken off sooner when a node goes silent. */
  readonly reads: boolean;
  /** A read that must not come from an older state than this. */
  readonly maxLagMs: number | undefined;
  /** The answer must come from a state at or after this. */
  readonly minLsn: number;
  readonly signal: AbortSignal;
};

/** An answer of status 200 to something that ran. */
export type Delivered = {
  readonly node: WatchedNode;
  /** JSON: `{ baton, base_url, results }`; of a cursor without the results. */
  readonly text: string;
  /** Of a cursor: its entries, as lines. */
  readonly rest?: Received["rest"];
  /** Set while the stream is open. */
  readonly baton: string | undefined;
  readonly position: EntryId;
  /** Of what was committed: the copies that it has. */
  readonly acked: Ack | undefined;
  readonly headers: Received["headers"];
};

export type CourierOptions = {
  readonly view: ClusterView;
  readonly clock: Clock;
  /** How long a request waits for a leader, or for a node that can read. */
  readonly waitMs: number;
  /** Followers further behind are not read from while there is anything better. */
  readonly readLagMs: number;
};

/** Between two tries when nothing has changed. */
const pauseMs = 50;

export class Courier {
  readonly #view: ClusterView;
  readonly #clock: Clock;
  readonly #waitMs: number;
  readonly #readLagMs: number;
  /** For metrics. */
  readonly counters = { delivered: 0, retried: 0, unknown: 0 };

  constructor({ view, clock, waitMs, readLagMs }: CourierOptions) {
    this.#view = view;
    this.#clock = clock;
    this.#waitMs = waitMs;
    this.#readLagMs = readLagMs;
  }

  /** Finds the node. Throws ClientError: UNKNOWN_OUTCOME, NO_LEADER, NOT_READY, or what the node refused it with. */
  async deliver(parcel: Parcel): Promise<Delivered> {
    const giveUpMs = this.#clock.nowMs() + this.#waitMs;
    const tried = new Set<WatchedNode>();
    for (let why: unknown; ; ) {
      if (this.#view.isClosed) throw closed();
      if (parcel.signal.aborted) throw new ClientError("OVERLOADED", "given up before it was sent");
      const node = this.#choose(parcel, tried);
      if (node !== undefined) {
        try {
          return await this.#attempt(node, parcel);
        } catch (error) {
          if (!this.#mayRepeat(error, parcel)) throw this.#final(error, parcel);
          why = error;
          tried.add(node);
          this.counters.retried++;
          if (!isRefusal(error) || parcel.where === "leader") this.#view.suspect(node);
          if (parcel.where === "anywhere") continue;
        }
      }
      if (this.#clock.nowMs() >= giveUpMs) throw this.#gaveUp(why, parcel);
      tried.clear();
      await this.#view.change(pauseMs);
    }
  }

  /** For a stream that is open on a node: there or nowhere. Throws as `deliver`, and TRANSACTION_LOST. */
  async follow(node: WatchedNode, parcel: Parcel): Promise<Delivered> {
    if (this.#view.isClosed) throw closed();
    try {
      return await this.#attempt(node, parcel);
    } catch (error) {
      if (error instanceof ClientError) throw error;
      if (error instanceof Broken && parcel.mayCommit) throw this.#final(error, parcel);
      const message = `the transaction is lost: ${messageOf(error)}; nothing of it was kept, begin again`;
      throw new ClientError("TRANSACTION_LOST", message, { cause: error });
    }
  }

  /** Closes a stream. Nobody waits: one that is lost ends by itself after a while. */
  closeStream(node: WatchedNode, baton: string): void {
    const body = JSON.stringify({ baton, requests: [{ type: "close" }] });
    const signal = AbortSignal.timeout(limits.transactionIdleMs);
    node.link.send({ body, headers: {}, signal, reads: true }).catch(() => {});
  }

  #choose({ where, maxLagMs }: Parcel, tried: Set<WatchedNode>): WatchedNode | undefined {
    if (where === "leader") return this.#view.leader();
    const wish = { maxLagMs: maxLagMs ?? this.#readLagMs, bounded: maxLagMs !== undefined };
    return this.#view.readers(wish).find((node) => !tried.has(node));
  }

  async #attempt(node: WatchedNode, parcel: Parcel): Promise<Delivered> {
    const { path, body, headers, reads, minLsn } = parcel;
    const late = new AbortController();
    const cancel = this.#clock.after(limits.catchUpMs, () => {
      const isBehind = parcel.where === "anywhere" && (node.seen?.appliedLsn ?? 0) < minLsn;
      if (isBehind) late.abort(new Broken(`${node.url} does not reach ${minLsn}`));
    });
    try {
      const signal = AbortSignal.any([parcel.signal, late.signal]);
      const received = await node.link.send({ path, body, headers, signal, reads });
      const delivered = opened(node, received);
      this.counters.delivered++;
      this.#view.sawApplied(node, delivered.position.lsn);
      return delivered;
    } finally {
      cancel();
    }
  }

  #mayRepeat(error: unknown, { mayCommit, where, signal }: Parcel): boolean {
    if (signal.aborted) return false;
    if (error instanceof NotSent) return true;
    if (error instanceof Broken) return !mayCommit;
    if (!(error instanceof ClientError)) return false;
    if (error.code === "OVERLOADED") return where === "anywhere";
    return error.code === "NO_LEADER" || errorCodes[error.code].retry === "elsewhere";
  }

  #final(error: unknown, { mayCommit }: Parcel): unknown {
    if (error instanceof ClientError) return error;
    if (error instanceof Broken && mayCommit) {
      this.counters.unknown++;
      const message = `${error.message}; the request had been sent and may have happened, so look before you repeat it`;
      return new ClientError("UNKNOWN_OUTCOME", message, { cause: error });
    }
    return error instanceof Broken || error instanceof NotSent
      ? new ClientError("NOT_READY", error.message, { cause: error })
      : error;
  }

  #gaveUp(why: unknown, { where }: Parcel): ClientError {
    if (why instanceof ClientError) return why;
    const last = why === undefined ? "" : `; the last try: ${messageOf(why)}`;
    return where === "leader"
      ? new ClientError("NO_LEADER", `no leader was found within ${this.#waitMs} ms${last}`)
      : new ClientError("NOT_READY", `no node could answer within ${this.#waitMs} ms${last}`);
  }
}

function closed(): ClientError {
  return new ClientError("BAD_REQUEST", "the connection was closed by close(); connect again");
}

/** The answer to what ran; what did not run is a refusal, and is thrown. */
function opened(node: WatchedNode, received: Received): Delivered {
  const { status, text, rest, position, headers } = received;
  if (status !== 200) throw refusalOf(text, `${node.url} answered ${status}`);
  // A unit that was refused as a whole ran nowhere, so it has no position; its results all say why.
  if (position === undefined) throw refusalOf(text, `${node.url} told no position`);
  const baton = /^\{"baton":"([^"]*)"/.exec(text)?.[1];
  const acked = ackFrom(headers["paceline-acked"]);
  return { node, text, rest, baton, position, acked, headers };
}

function refusalOf(text: string, otherwise: string): ClientError | Broken {
  type Refusal = { readonly code?: unknown; readonly message?: unknown };
  type Body = Refusal & {
    readonly error?: Refusal | string;
    readonly results?: readonly { readonly error?: Refusal }[];
  };
  let body: Body | undefined;
  try {
    // Of a cursor the last line says it.
    body = JSON.parse(text.slice(text.trimEnd().lastIndexOf("\n") + 1)) ?? undefined;
  } catch {
    // Below.
  }
  const entry = typeof body?.error === "object" ? body.error : undefined;
  const { code, message } = body?.results?.[0]?.error ?? entry ?? body ?? {};
  // Whoever wrote this is no node: a proxy on the way, for example, that has lost the answer.
  if (typeof code !== "string" || typeof message !== "string" || !(code in errorCodes)) {
    return new Broken(otherwise);
  }
  return new ClientError(code as ErrorCode, message);
}

/** The node is well, and said no. */
function isRefusal(error: unknown): boolean {
  return error instanceof ClientError;
}
