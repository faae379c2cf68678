/**
 * The outside of a node: one HTTP server with all endpoints, on one port. Connections that ask for an upgrade to
 * `paceline-peer` (links between nodes) or `paceline-copy` (backups) are handed over; change streams take WebSocket.
 *
 * Not here: HTTP itself and its bounds (http/), what requests mean (hrana/, admin/, internal.ts), what a node
 * is (the Backend).
 */

import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { FastifyInstance } from "fastify";
import type { Clock } from "../host/clock.ts";
import type { TlsDoor } from "../host/tls-door.ts";
import { internalToken } from "../node/route/forward-wire.ts";
import { copyProtocol } from "../peer/copying.ts";
import type { NodeId } from "../vocabulary.ts";
import { addOperationRoutes } from "./admin/operations.ts";
import { addProbeRoutes } from "./admin/probes.ts";
import type { Backend } from "./backend.ts";
import { ChangeStreams } from "./changes/routes.ts";
import { addHranaRoutes } from "./hrana/routes.ts";
import { Streams } from "./hrana/streams.ts";
import { addCors } from "./http/cors.ts";
import { makeServer } from "./http/http-server.ts";
import { ListenError } from "./http/listen-error.ts";
import { Traffic } from "./http/traffic.ts";
import { addInternalRoutes } from "./internal.ts";
import { NodeMetrics } from "./metrics/node-metrics.ts";

export type ApiOptions = {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly node: NodeId;
  /** Of Paceline. */
  readonly version: string;
  /** Of the cluster: what batons and requests between nodes are authenticated with. */
  readonly secret: string;
  readonly backend: Backend;
  readonly clock: Pick<Clock, "nowMs" | "every" | "after">;
  /** Nodes must use TLS; the door says who did not. */
  readonly door?: TlsDoor | undefined;
  /** Takes a link between nodes over; it answers the upgrade itself. */
  onPeer(socket: Duplex, head: Uint8Array): void;
  /** The same for a program that copies the database. */
  onCopy(socket: Duplex, head: Uint8Array): void;
  /** Is told of bugs: anything thrown that is not a ClientError. */
  onFault(error: unknown): void;
};

type Parts = {
  readonly streams: Streams;
  readonly traffic: Traffic;
  readonly changes: ChangeStreams;
  readonly door: TlsDoor | undefined;
};

const peerProtocol = "paceline-peer";
const upgradeOf = (request: IncomingMessage) => request.headers.upgrade?.toLowerCase() ?? "";
const isFollowed = (request: IncomingMessage) =>
  [peerProtocol, copyProtocol].includes(upgradeOf(request)) || ChangeStreams.isAskedFor(request);

export class ApiServer {
  readonly #app: FastifyInstance;
  readonly #streams: Streams;
  readonly #traffic: Traffic;
  readonly #changes: ChangeStreams;

  readonly #door: TlsDoor | undefined;

  private constructor(app: FastifyInstance, parts: Parts) {
    this.#app = app;
    this.#streams = parts.streams;
    this.#traffic = parts.traffic;
    this.#changes = parts.changes;
    this.#door = parts.door;
  }

  /** Serves from the moment it resolves. Throws ListenError when the address cannot be had. */
  static async listen(options: ApiOptions): Promise<ApiServer> {
    const { backend, secret, node, clock } = options;
    const { onFault } = options;
    const app = makeServer({ onFault, isFollowed });
    const streams = new Streams({
      node,
      secret,
      clock,
      closeSession: (session) => backend.closeSession(session),
    });
    const traffic = new Traffic(app, clock);
    const metrics = new NodeMetrics({
      node: () => backend.metrics(),
      streams: () => streams.count,
      connections: () => traffic.connections,
    });
    traffic.onFinished = (request) => metrics.finished(request);
    addCors(app);
    addHranaRoutes(app, { backend, streams });
    addProbeRoutes(app, options);
    addOperationRoutes(app, backend);
    const changes = new ChangeStreams(backend, clock);
    changes.add(app);
    const { door } = options;
    addInternalRoutes(app, {
      ...{ backend, token: internalToken(secret) },
      refusal: (socket) => door?.refusal(socket),
    });
    app.get("/metrics", async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.text()),
    );
    app.server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Uint8Array) => {
      (socket as Socket).setTimeout(0);
      if (ChangeStreams.isAskedFor(request)) changes.accept(request, socket, head);
      else if (upgradeOf(request) === copyProtocol) options.onCopy(socket, head);
      else if (door?.refusal(socket) !== undefined) door.turnAway(socket);
      else options.onPeer(socket, head);
    });
    // Last, so that whatever listens to connections hears of them behind the door.
    door?.guard(app.server);
    try {
      await app.listen({ host: options.host, port: options.port });
    } catch (cause) {
      streams.close();
      await app.close();
      throw ListenError.from(cause, options);
    }
    return new ApiServer(app, { streams, traffic, changes, door });
  }

  /** The port it listens on. */
  get port(): number {
    const address = this.#app.server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /**
   * Takes no more connections, lets requests under way finish for httpDrainMs, then ends everything that came in
   * through this port, links between nodes included. Links are needed to finish writes, so close those after this.
   */
  async close(): Promise<void> {
    await this.#changes.close();
    this.#door?.close();
    await this.#traffic.drain();
    this.#streams.close();
    await this.#app.close();
  }
}
