/**
 * Where a request runs. Any node takes any request: reads run here, writes and write transactions on the leader,
 * wherever it is; while there is no leader a request that was surely not started waits for one. Transactions that have
 * not written yet read here, too (read-transactions.ts).
 *
 * A witness has nothing to read from: it passes every request on to the leader. So does a delayed node with reads that
 * ask for more than it shows.
 *
 * A request is sent on at most once after it may have been started: what happened then is UNKNOWN_OUTCOME, not a
 * reason to try again [decision: unknown is an outcome].
 */

import { ClientError } from "../../base/errors.ts";
import type { Stmt, Unit, Value } from "../../db/sql/request.ts";
import { accessOf } from "../../db/stream/access.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { NodeId, Settings } from "../../vocabulary.ts";
import type { Leadership } from "../node.ts";
import type { NodeStatus, NodeVerdict, VerifyWish } from "../report/node-status.ts";
import { transactionLost, withoutTransaction } from "../write/transaction-errors.ts";
import type { Writes } from "../write/writes.ts";
import { ReadTransactions } from "./read-transactions.ts";
import type { ReadAnswer, Reads } from "./reads.ts";
import type { RunAnswer, RunOptions } from "./run.ts";

/** Requests to other nodes. `forward.ts` is the real one and says what each throws. */
export interface Forwarding {
  run(address: string, unit: Unit, options: RunOptions): Promise<RunAnswer>;
  closeSession(address: string, session: string): void;
  status(address: string, timeoutMs: number): Promise<NodeStatus>;
  verify(address: string, wish: VerifyWish): Promise<NodeVerdict>;
  ask(
    address: string,
    sent: { method: "GET" | "POST" | "DELETE"; path: string; body?: string | undefined },
    timeoutMs: number,
  ): Promise<unknown>;
  abandon(address: string): void;
  close(): Promise<void>;
}

export type RoutePorts = {
  readonly self: NodeId;
  /** No database here. */
  readonly witness: boolean;
  /** This node stays behind by intention: what asks for more than it has goes to the leader. */
  readonly delayed: boolean;
  readonly clock: Clock;
  readonly reads: Reads;
  readonly writes: Writes;
  readonly forwarder: Forwarding;
  leadership(): Leadership;
  /** In force in the cluster. */
  settings(): Settings;
  /** So many random bytes, as hex digits. */
  randomHex(bytes: number): string;
  addressOf(id: NodeId): string | undefined;
  /** The link to a node is up, both ways. */
  isUp(id: NodeId): boolean;
};

export class Routing {
  readonly #ports: RoutePorts;
  /** Counters, for metrics. */
  readonly counters = { localReads: 0, localWrites: 0, forwarded: 0, retried: 0 };

  /** The node is stopping: what waits for a leader is refused. */
  #isClosed = false;
  /** Requests that wait for a leader. */
  readonly #waiting = new Set<() => void>();

  readonly #transactions: ReadTransactions;

  constructor(ports: RoutePorts) {
    this.#ports = ports;
    this.#transactions = new ReadTransactions({
      ...{ self: ports.self, clock: ports.clock, reads: ports.reads },
      randomHex: (bytes) => ports.randomHex(bytes),
      route: (unit, options) => this.#route(unit, options),
      write: (unit, options) => this.#onLeader(unit, options, false),
    });
  }

  close(): void {
    this.#isClosed = true;
  }

  /** There is a leader: what waits for one need not wait for its next attempt. */
  leaderKnown(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  async run(unit: Unit, options: RunOptions): Promise<RunAnswer> {
    const { reads } = this.#ports;
    const answer = await this.#route(unit, options);
    reads.saw(answer.position);
    return answer;
  }

  /** For what another node sent here because this one leads. Sends on only the first write of a transaction here. */
  runAsLeader(unit: Unit, options: RunOptions): Promise<RunAnswer> {
    const { session } = options;
    if (session !== undefined && this.#isReadHere(session)) {
      return this.#transactions.continue(session, unit, options);
    }
    // A witness that leads is about to hand over.
    if (!this.#ports.leadership().leading || this.#ports.witness) {
      const error = new ClientError("NOT_LEADER", "this node does not lead; ask another");
      return Promise.reject(withoutTransaction(error, options));
    }
    if (session !== undefined || unit.snapshot !== undefined) return this.#write(unit, options);
    const access = accessOf(unit, this.#beginOf(options));
    if (access === "write") return this.#write(unit, options);
    if (access === "read") return this.#readOnLeader(unit, options);
    return this.#transactions.begin(this.#asAgreed(unit), options);
  }

  #write(unit: Unit, options: RunOptions): Promise<RunAnswer> {
    const { writes } = this.#ports;
    this.counters.localWrites++;
    return writes.run(this.#asAgreed(unit), {
      session: options.session,
      bytes: bytesOf(unit),
      origin: options.origin,
      ack: options.ack,
      patienceMs: options.deadlineMs,
      signal: options.signal,
    });
  }

  closeSession(session: string): void {
    const { writes, forwarder, self } = this.#ports;
    const owner = ownerOf(session);
    if (this.#isReadHere(session)) return this.#transactions.close(session);
    if (owner === self) return writes.closeSession(session);
    const address = this.#ports.addressOf(owner);
    if (address !== undefined) forwarder.closeSession(address, session);
  }

  #route(unit: Unit, given: RunOptions): Promise<RunAnswer> {
    const { reads, witness, delayed } = this.#ports;
    if (given.session !== undefined) return this.#continue(unit, given, given.session);
    const options = { ...given, begin: this.#beginOf(given) };
    const access = unit.snapshot === undefined ? accessOf(unit, options.begin) : "write";
    if (access === "write") return this.#onLeader(unit, options, false);
    const opened = access === "read" ? undefined : this.#transactions.open(unit, options);
    if (opened !== undefined) return Promise.resolve(opened);
    if (witness) return this.#onLeader(unit, options, !isContent(options));
    if (options.consistency.type === "leader" && !this.#ports.leadership().leading) {
      return this.#onLeader(unit, options, true);
    }
    if (delayed && reads.lacks(options)) {
      return this.#onLeader(unit, options, !isContent(options));
    }
    if (access === "read") return this.#readHere(unit, options);
    return this.#transactions.begin(this.#asAgreed(unit), options);
  }

  #beginOf({ begin }: RunOptions): "deferred" | "immediate" {
    return begin ?? this.#ports.settings().begin;
  }

  /** Whether a reader of this node, or nothing yet, holds the transaction. */
  #isReadHere(session: string): boolean {
    return session.startsWith("r.") && ownerOf(session) === this.#ports.self;
  }

  async #readOnLeader(unit: Unit, options: RunOptions): Promise<RunAnswer> {
    const answer = await this.#read(this.#ports.reads, unit, options);
    if (answer.refusedWrite) return this.#write(unit, options);
    return answer.leftOpen ? this.#begin(unit, options) : answer;
  }

  async #readHere(unit: Unit, options: RunOptions): Promise<RunAnswer> {
    const answer = await this.#read(this.#ports.reads, unit, options);
    // The tokenizer took a write for a read; SQLite itself refused it. Nothing was done.
    if (answer.refusedWrite) return this.#onLeader(unit, options, false);
    return answer.leftOpen ? this.#begin(unit, options) : answer;
  }

  /** The words did not say that the unit leaves a transaction open. It only read, so it may run again. */
  #begin(unit: Unit, options: RunOptions): Promise<RunAnswer> {
    if (this.#beginOf(options) === "immediate") return this.#onLeader(unit, options, false);
    return this.#transactions.begin(this.#asAgreed(unit), options);
  }

  async #read(reads: Reads, unit: Unit, options: RunOptions): Promise<RunAnswer & ReadAnswer> {
    this.counters.localReads++;
    return { ...(await reads.run(this.#asAgreed(unit), options)), session: undefined };
  }

  /** What the stream has not set is as the cluster has agreed, by the word of the node that runs it. */
  #asAgreed(unit: Unit): Unit {
    if (unit.foreignKeys !== undefined) return unit;
    return { ...unit, foreignKeys: this.#ports.settings().foreignKeys === "on" };
  }

  #continue(unit: Unit, options: RunOptions, session: string): Promise<RunAnswer> {
    const owner = ownerOf(session);
    if (owner === this.#ports.self) return this.runAsLeader(unit, options);
    const address = this.#ports.addressOf(owner);
    if (address === undefined) throw transactionLost(`${owner} is no member any more`);
    this.counters.forwarded++;
    return this.#ports.forwarder.run(address, unit, options);
  }

  async #onLeader(unit: Unit, options: RunOptions, reading: boolean): Promise<RunAnswer> {
    const { clock, self, forwarder } = this.#ports;
    const giveUpMs = clock.nowMs() + limits.requestWaitMs;
    for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 2, 50)) {
      try {
        const { leader } = this.#ports.leadership();
        if (leader === self) return await this.runAsLeader(unit, options);
        const address = leader === undefined ? undefined : this.#ports.addressOf(leader);
        // While the link is down the leader may be deaf: it would take a request and never answer it. What waits
        // here can go to its successor.
        if (address === undefined || !this.#ports.isUp(leader!)) throw noLeader();
        this.counters.forwarded++;
        const sent = reading
          ? { ...options, consistency: { type: "linearizable" } as const }
          : options;
        return await forwarder.run(address, unit, sent);
      } catch (error) {
        const inTime = clock.nowMs() + pauseMs < giveUpMs && !this.#isClosed;
        if (!isSafeToRepeat(error) || !inTime || options.signal.aborted) throw error;
        this.counters.retried++;
        await this.#pause(pauseMs);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        this.#waiting.delete(wake);
        resolve();
      };
      const cancel = this.#ports.clock.after(ms, wake);
      this.#waiting.add(wake);
    });
  }
}

/** The node that holds the transaction: `w.<node>.…` in its writer, `r.<node>.…` in a reader. */
function ownerOf(session: string): NodeId {
  return session.split(".")[1] as NodeId;
}

/** Any copy would do, whatever its age, or the leader's in particular. */
function isContent({ consistency }: RunOptions): boolean {
  return consistency.type === "stale" || consistency.type === "bounded";
}

/** Rough size of a unit: its SQL and what it binds. */
function bytesOf(unit: Unit): number {
  let bytes = 0;
  for (const request of unit.requests) {
    if (request.type === "execute") bytes += bytesOfStmt(request.stmt);
    else if (request.type === "batch")
      for (const step of request.steps) bytes += bytesOfStmt(step.stmt);
    else if ("sql" in request) bytes += request.sql.length;
  }
  return bytes;
}

function bytesOfStmt(stmt: Stmt): number {
  let bytes = stmt.sql.length;
  for (const value of stmt.args) bytes += bytesOfValue(value);
  for (const { value } of stmt.namedArgs) bytes += bytesOfValue(value);
  return bytes;
}

function bytesOfValue(value: Value): number {
  if (value.type === "text") return value.value.length;
  return value.type === "blob" ? value.base64.length : 8;
}

function isSafeToRepeat(error: unknown): boolean {
  return (
    error instanceof ClientError && (error.code === "NOT_LEADER" || error.code === "NO_LEADER")
  );
}

function noLeader(): ClientError {
  return new ClientError(
    "NO_LEADER",
    "there is no leader now; a majority of the voters must be up and connected. Try again shortly",
  );
}
