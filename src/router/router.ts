/**
 * A router: a process that holds no data and knows the cluster. Any libSQL client can be pointed at it; it sends writes
 * to the leader and spreads reads over the followers.
 *
 * To clients it speaks as a node does, with the same code: Hrana, limits, errors. Behind it stands the cluster
 * (routed-backend.ts). What a client has seen is remembered (client-sessions.ts), so that it reads its own writes on
 * any node.
 *
 * Not here: operations. Members are changed, and the lead is handed over, at the nodes; whoever may only use the
 * database gets the router's address and no other.
 */

import { randomBytes } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { addHranaRoutes } from "../api/hrana/routes.ts";
import { Streams } from "../api/hrana/streams.ts";
import { addCors } from "../api/http/cors.ts";
import { makeServer } from "../api/http/http-server.ts";
import { ListenError } from "../api/http/listen-error.ts";
import { Traffic } from "../api/http/traffic.ts";
import { wishesOf } from "../api/wishes.ts";
import { ClusterView } from "../client/cluster-view.ts";
import { Courier } from "../client/courier.ts";
import type { Clock } from "../host/clock.ts";
import { limits } from "../limits.ts";
import { nodeId, parsePosition, zeroEntryId } from "../vocabulary.ts";
import { ClientSessions, later, sessionNameOf } from "./client-sessions.ts";
import { addRouterProbes } from "./probes.ts";
import { RoutedBackend, type RoutedOptions } from "./routed-backend.ts";
import { RouterMetrics } from "./router-metrics.ts";

export type RouterOptions = {
  /** Port 0 takes any free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** URLs of some nodes; the others are found through them. */
  readonly nodes: readonly string[];
  /** Names, hosts or `host:port` of nodes that are nearby. */
  readonly prefer: readonly string[];
  /** How long a request waits for a leader, or for a node that can answer. */
  readonly waitMs: number;
  /** Followers further behind are not read from while there is anything better. */
  readonly maxLagMs: number;
  readonly version: string;
  readonly clock: Clock;
  /** A line for people. */
  onEvent(line: string): void;
  onFault(error: unknown): void;
};

/** Headers of a client that are the node's to read. */
const passedOn = ["paceline-ack", "paceline-begin", "paceline-deadline-ms"] as const;

export class Router {
  readonly #app: FastifyInstance;
  readonly #streams: Streams;
  readonly #traffic: Traffic;
  readonly #view: ClusterView;

  private constructor(app: FastifyInstance, streams: Streams, traffic: Traffic, view: ClusterView) {
    this.#app = app;
    this.#streams = streams;
    this.#traffic = traffic;
    this.#view = view;
  }

  /** Serves from the moment it resolves. Throws ListenError, and ProtocolError for URLs that are none. */
  static async start(options: RouterOptions): Promise<Router> {
    const { clock, prefer, waitMs, maxLagMs, onEvent, onFault } = options;
    const connections = limits.forwardConnectionsMax;
    const view = new ClusterView({ urls: options.nodes, clock, prefer, connections, onEvent });
    const courier = new Courier({ view, clock, waitMs, readLagMs: maxLagMs });
    const backend = new RoutedBackend(courier);
    const app = makeServer({ onFault, isFollowed: () => false });
    const streams = new Streams({
      ...{ node: nodeId("router"), secret: randomBytes(32).toString("hex"), clock },
      closeSession: (session) => backend.closeSession(session),
    });
    const traffic = new Traffic(app, clock);
    const sessions = new ClientSessions(limits.routerSessionsMax);
    const counts = () => ({
      ...{ sessions: sessions.count, underWay: backend.underWay, transactions: backend.open },
      ...{ retriedTotal: courier.counters.retried, unknownTotal: courier.counters.unknown },
    });
    const metrics = new RouterMetrics({
      ...{ view, counts, streams: () => streams.count },
      connections: () => traffic.connections,
    });
    traffic.onFinished = (request) => metrics.finished(request);
    backend.onAnswer = (node, kind) => metrics.answered(node.seen?.id ?? node.url, kind);
    addCors(app);
    addSessions(app, sessions);
    addHranaRoutes(app, { backend, streams }, (request, reply) =>
      routedWishes(request, reply, sessions),
    );
    addRouterProbes(app, { view, counts, version: options.version });
    app.get("/metrics", async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.text()),
    );
    const router = new Router(app, streams, traffic, view);
    try {
      await app.listen(options.listen);
    } catch (cause) {
      await router.close();
      throw ListenError.from(cause, options.listen);
    }
    return router;
  }

  /** The port it listens on. */
  get port(): number {
    const address = this.#app.server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** Takes nothing new, lets what is under way finish for httpDrainMs, then ends everything. */
  async close(): Promise<void> {
    await this.#traffic.drain();
    this.#streams.close();
    await this.#app.close();
    await this.#view.close();
  }
}

/** Every answer that tells a position moves the session of its client. */
function addSessions(app: FastifyInstance, sessions: ClientSessions): void {
  app.addHook("onSend", async (request, reply, payload) => {
    const text = reply.getHeader("paceline-position");
    const position = typeof text === "string" ? parsePosition(text) : undefined;
    if (position !== undefined) sessions.saw(sessionNameOf(request), position);
    return payload;
  });
}

function routedWishes(
  request: FastifyRequest,
  reply: FastifyReply,
  sessions: ClientSessions,
): Omit<RoutedOptions, "session"> {
  const wishes = wishesOf(request, reply);
  const headers: Record<string, string> = {};
  for (const name of passedOn) {
    const value = request.headers[name];
    if (typeof value === "string") headers[name] = value;
  }
  const asked = wishes.minPosition ?? zeroEntryId;
  const seen = sessions.positionOf(sessionNameOf(request));
  const minPosition = wishes.consistency.type === "session" ? later(seen, asked) : asked;
  return { ...wishes, minPosition, passedOn: headers };
}
