/**
 * Connects a program to a cluster: knows all its nodes, sends writes to the leader and reads to followers, and goes on
 * when a node is lost.
 *
 *   const db = connect({ urls: ["http://10.0.0.1:7001", "http://10.0.0.2:7001"] });
 *   await db.execute({ sql: "INSERT INTO orders VALUES (?, ?) ON CONFLICT DO NOTHING", args: ["o-1", "tea"] });
 *   const { rows } = await db.execute("SELECT * FROM orders");   // on a follower, and the order is there
 *
 *   for await (const row of db.iterate("SELECT * FROM orders")) …    // answers of any size, row by row
 *
 * The connection is a session of its own: it reads what it wrote. A program that serves many users gives each of them
 * `db.session(token)`, so that they do not wait for each other's writes.
 *
 * What is repeated by itself: reads, and writes that surely were not executed. A write that may have been executed
 * throws UnknownOutcomeError and is never repeated.
 */

import { ProtocolError } from "../base/errors.ts";
import { type Clock, RealClock } from "../host/clock.ts";
import { limits } from "../limits.ts";
import { ClusterView } from "./cluster-view.ts";
import { Courier } from "./courier.ts";
import { PacelineError } from "./errors.ts";
import { type BeginOptions, type CallOptions, Session } from "./session.ts";
import type { Transaction } from "./transaction.ts";
import type { Result, Row, Statement } from "./values.ts";

export type ConnectOptions = Pick<CallOptions, "consistency" | "ack" | "ackTimeoutMs"> & {
  /** Some nodes of the cluster; the others are found through them. */
  readonly urls: readonly string[];
  /** Names, hosts or `host:port` of nodes that are nearby, and are read from first. */
  readonly prefer?: readonly string[];
  /** How long a request waits for a leader, or for a node that can answer. Default: 10 s. */
  readonly waitMs?: number;
  /** Followers further behind are not read from while there is anything better. Default: 1 s. */
  readonly maxLagMs?: number;
  /** Connections to each node. Default: 64. */
  readonly connections?: number;
  /** Told, as lines for people, who leads and who does not answer. */
  readonly onEvent?: (line: string) => void;
  readonly clock?: Clock;
};

/** One node as a connection sees it. */
export type NodeSeen = {
  readonly url: string;
  readonly id: string | undefined;
  readonly state: "new" | "up" | "silent" | "down";
  readonly leads: boolean;
  /** As of now; undefined when unknown. */
  readonly lagMs: number | undefined;
};

/** A cluster, connected to, with a session of its own for what needs no other. */
export class Connection {
  readonly #own: Session;
  readonly #view: ClusterView;
  readonly #courier: Courier;
  readonly #defaults: CallOptions;

  constructor(view: ClusterView, courier: Courier, defaults: CallOptions) {
    this.#own = new Session(courier, defaults);
    this.#view = view;
    this.#courier = courier;
    this.#defaults = defaults;
  }

  /** Position of the newest thing that the connection's own session has seen. */
  get token(): string {
    return this.#own.token;
  }

  execute(statement: Statement, options: CallOptions = {}): Promise<Result> {
    return this.#own.execute(statement, options);
  }

  /** The rows of one read as they are read, for answers of any size. */
  iterate(statement: Statement, options: CallOptions = {}): AsyncGenerator<Row, void, void> {
    return this.#own.iterate(statement, options);
  }

  batch(statements: readonly Statement[], options: CallOptions = {}): Promise<readonly Result[]> {
    return this.#own.batch(statements, options);
  }

  begin(options: BeginOptions = {}): Promise<Transaction> {
    return this.#own.begin(options);
  }

  transaction<T>(
    work: (transaction: Transaction) => Promise<T>,
    options: BeginOptions = {},
  ): Promise<T> {
    return this.#own.transaction(work, options);
  }

  /** A session beside this one, from the token of an earlier one or from nothing. */
  session(token?: string): Session {
    return new Session(this.#courier, this.#defaults, token);
  }

  /** What is known of the nodes now. Asks nobody. */
  get nodes(): readonly NodeSeen[] {
    const leader = this.#view.leader();
    return this.#view.nodes.map((node) => ({
      ...{ url: node.url, id: node.seen?.id, leads: node === leader },
      ...{ state: this.#view.stateOf(node), lagMs: this.#view.lagMs(node) },
    }));
  }

  /** Ends all connections; requests under way fail. */
  close(): Promise<void> {
    return this.#view.close();
  }
}

/** Returns at once; the first request waits until a node was found. Throws PacelineError for URLs that are none. */
export function connect(options: ConnectOptions): Connection {
  const { urls, prefer = [], clock = new RealClock(), onEvent = () => {} } = options;
  const { maxLagMs = limits.readLagMs } = options;
  const { waitMs = limits.requestWaitMs, connections = limits.forwardConnectionsMax } = options;
  if (urls.length === 0)
    throw new PacelineError("BAD_REQUEST", "never", "no URL of a node is given");
  try {
    const view = new ClusterView({ urls, prefer, clock, connections, onEvent });
    const courier = new Courier({ view, clock, waitMs, readLagMs: maxLagMs });
    const { consistency, ack, ackTimeoutMs } = options;
    return new Connection(view, courier, {
      ...(consistency === undefined ? {} : { consistency }),
      ...(ack === undefined ? {} : { ack }),
      ...(ackTimeoutMs === undefined ? {} : { ackTimeoutMs }),
    });
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new PacelineError("BAD_REQUEST", "never", error.message, { cause: error });
  }
}
