/**
 * The cluster as the backend of a router's API: each unit runs on the node that should run it.
 *
 * Streams of clients live here, in the router, whatever becomes of the nodes. On a node there is a stream only while a
 * transaction is open, and only that is bound to the node: it stays there until it ends, also when another node takes
 * the lead meanwhile. So a switchover drains by itself: new writes go to the new leader, what is under way ends where
 * it is.
 *
 * Bounded by the number of units under way, those that wait for a leader included: more are refused as OVERLOADED.
 */

import type { Backend } from "../api/backend.ts";
import { elementsAt, fieldAt } from "../api/json-slices.ts";
import { ClientError, messageOf } from "../base/errors.ts";
import type { WatchedNode } from "../client/cluster-view.ts";
import type { Courier, Delivered, Parcel } from "../client/courier.ts";
import { type Packed, packCursor, packNext, packUnit } from "../client/wire.ts";
import type { Unit } from "../db/sql/request.ts";
import { accessOf } from "../db/stream/access.ts";
import { decodeConnection } from "../db/stream/connection-state.ts";
import { limits } from "../limits.ts";
import {
  formatConsistency,
  type Pieces,
  type RunAnswer,
  type RunOptions,
} from "../node/route/run.ts";
import { formatPosition } from "../vocabulary.ts";

/** What a request through the router says beside what every request says: headers that the node is to see too. */
export type RoutedOptions = RunOptions & {
  readonly passedOn?: Readonly<Record<string, string>> | undefined;
};

/** A transaction that is open on a node. `reads`: it was begun READONLY. */
type OpenStream = { readonly node: WatchedNode; readonly baton: string; readonly reads: boolean };

export class RoutedBackend implements Pick<Backend, "run" | "closeSession"> {
  readonly #courier: Courier;
  readonly #openById = new Map<string, OpenStream>();
  #nextId = 1;
  #underWay = 0;
  /** Called with the node that answered. Set once. */
  onAnswer: (node: WatchedNode, kind: "read" | "write" | "transaction") => void = () => {};

  constructor(courier: Courier) {
    this.#courier = courier;
  }

  /** Units that are with a node or wait for one. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Transactions that are open on nodes. */
  get open(): number {
    return this.#openById.size;
  }

  async run(unit: Unit, options: RoutedOptions): Promise<RunAnswer> {
    if (this.#underWay >= limits.routedMax) {
      throw new ClientError(
        "OVERLOADED",
        `${this.#underWay} requests are under way in this router`,
      );
    }
    this.#underWay++;
    try {
      const { session } = options;
      return await (session === undefined
        ? this.#begin(unit, options)
        : this.#continue(unit, options, session));
    } finally {
      this.#underWay--;
    }
  }

  closeSession(session: string): void {
    const open = this.#openById.get(session);
    this.#openById.delete(session);
    if (open !== undefined) this.#courier.closeStream(open.node, open.baton);
  }

  async #begin(unit: Unit, options: RoutedOptions): Promise<RunAnswer> {
    const asCursor = options.inPieces === true && accessOf(unit) === "read";
    const parcel = parcelOf(
      asCursor ? packCursor(unit) : packUnit(unit, true, options.begin),
      options,
    );
    const delivered = await this.#courier.deliver(parcel);
    const { rest, position } = delivered;
    if (rest !== undefined) {
      this.onAnswer(delivered.node, "read");
      return { results: [], pieces: piecesOf(rest), position, session: undefined };
    }
    this.onAnswer(delivered.node, parcel.reads ? "read" : "write");
    const reads = accessOf(unit) === "read-transaction";
    return this.#answer(unit, delivered, { reads, session: undefined });
  }

  async #continue(unit: Unit, options: RoutedOptions, session: string): Promise<RunAnswer> {
    const open = this.#openById.get(session);
    if (open === undefined) {
      throw new ClientError("TRANSACTION_LOST", "the transaction is lost; begin again");
    }
    // Its baton is used up; whatever goes wrong, nobody can come back to it.
    this.#openById.delete(session);
    const { node, baton, reads } = open;
    const packed = packNext(unit, baton, reads);
    const delivered = await this.#courier.follow(node, {
      ...packed,
      headers: { ...packed.headers, ...options.passedOn },
      ...{ signal: options.signal, maxLagMs: undefined, minLsn: 0 },
    });
    this.onAnswer(node, "transaction");
    return this.#answer(unit, delivered, { reads, session });
  }

  #answer(
    unit: Unit,
    { node, text, baton, position, acked, headers }: Delivered,
    stream: { readonly reads: boolean; readonly session: string | undefined },
  ): RunAnswer {
    let session: string | undefined;
    if (baton !== undefined) {
      session = stream.session ?? `t${this.#nextId++}`;
      this.#openById.set(session, { node, baton, reads: stream.reads });
    }
    const kept = headers["paceline-connection"];
    const connection = typeof kept === "string" ? decodeConnection(kept) : undefined;
    const results = resultsOf(text, unit.requests.length);
    return { results, position, session, acked, connection };
  }
}

/** The entries of a node's cursor, as they come. */
async function* piecesOf(rest: AsyncGenerator<Uint8Array, void, void>): Pieces {
  try {
    yield* rest;
  } catch (cause) {
    throw new ClientError("NOT_READY", `${messageOf(cause)}; repeat it`, { cause });
  }
  return undefined;
}

function parcelOf(packed: Packed, options: RoutedOptions): Parcel {
  const { consistency, minPosition, signal } = options;
  const isFromLeader = consistency.type === "leader" || consistency.type === "linearizable";
  const headers: Record<string, string> = { ...packed.headers, ...options.passedOn };
  // The router knows what the client has seen, and names it; the node need not add what others have.
  const asked = consistency.type === "session" ? "stale" : formatConsistency(consistency);
  if (packed.where !== "leader") headers["paceline-consistency"] = asked;
  if (minPosition !== undefined && minPosition.lsn > 0) {
    headers["paceline-min-position"] = formatPosition(minPosition);
  }
  return {
    ...packed,
    ...{ headers, signal, minLsn: minPosition?.lsn ?? 0 },
    where: isFromLeader ? "leader" : packed.where,
    maxLagMs: consistency.type === "bounded" ? consistency.maxLagMs : undefined,
  };
}

/** The texts of the first `count` results, cut out and not looked into. */
function resultsOf(text: string, count: number): readonly string[] {
  const at = fieldAt(text, 0, "results");
  const results: string[] = [];
  if (at !== undefined) {
    for (const { from, to } of elementsAt(text, at)) {
      if (results.length < count) results.push(text.slice(from, to));
    }
  }
  if (results.length === count) return results;
  throw new ClientError("INTERNAL", `the node answered ${results.length} of ${count} requests`);
}
