/**
 * The outside of a node: one HTTP server with all endpoints, on one port. Connections that ask for an upgrade to
 * `paceline-peer` (links between nodes) or `paceline-copy` (backups) are handed over.
 *
 * What is bounded here, because Node's own defaults do not: headers, bodies, connections, the time for each, and how
 * long a client may leave its answer untaken [hostile-cases 1–3, 17–21].
 *
 * Every answer that is not one of success has the same JSON body (errors.ts). What is not a ClientError is a bug of
 * ours: the client gets INTERNAL, `onFault` gets the error.
 *
 * Not here: what requests mean (hrana/, admin/, internal.ts), what a node is (the Backend).
 */

import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import Fastify, { type FastifyInstance } from "fastify";
import { ClientError } from "../base/errors.ts";
import type { Clock } from "../host/clock.ts";
import { limits } from "../limits.ts";
import { internalToken } from "../node/route/forward-wire.ts";
import { copyProtocol } from "../peer/copying.ts";
import type { NodeId } from "../vocabulary.ts";
import { addOperationRoutes } from "./admin/operations.ts";
import { addProbeRoutes } from "./admin/probes.ts";
import type { Backend } from "./backend.ts";
import { addCors } from "./cors.ts";
import { clientErrorFrom, errorBody, sendError } from "./errors.ts";
import { addHranaRoutes } from "./hrana/routes.ts";
import { Streams } from "./hrana/streams.ts";
import { addInternalRoutes } from "./internal.ts";
import { ListenError } from "./listen-error.ts";
import { NodeMetrics } from "./metrics/node-metrics.ts";
import { Traffic } from "./traffic.ts";

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
  /** Takes a link between nodes over; it answers the upgrade itself. */
  onPeer(socket: Duplex, head: Uint8Array): void;
  /** The same for a program that copies the database. */
  onCopy(socket: Duplex, head: Uint8Array): void;
  /** Is told of bugs: anything thrown that is not a ClientError. */
  onFault(error: unknown): void;
};

const peerProtocol = "paceline-peer";
const upgradeOf = (request: IncomingMessage) => request.headers.upgrade?.toLowerCase() ?? "";

export class ApiServer {
  readonly #app: FastifyInstance;
  readonly #streams: Streams;
  readonly #traffic: Traffic;

  private constructor(app: FastifyInstance, streams: Streams, traffic: Traffic) {
    this.#app = app;
    this.#streams = streams;
    this.#traffic = traffic;
  }

  /** Serves from the moment it resolves. Throws ListenError when the address cannot be had. */
  static async listen(options: ApiOptions): Promise<ApiServer> {
    const { backend, secret, node, clock } = options;
    const app = makeServer();
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
    addBodies(app);
    addFailures(app, options);
    addCors(app);
    addHranaRoutes(app, { backend, streams });
    addProbeRoutes(app, options);
    addOperationRoutes(app, backend);
    addInternalRoutes(app, backend, internalToken(secret));
    app.get("/metrics", async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.text()),
    );
    app.server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Uint8Array) => {
      (socket as Socket).setTimeout(0);
      if (upgradeOf(request) === copyProtocol) options.onCopy(socket, head);
      else options.onPeer(socket, head);
    });
    try {
      await app.listen({ host: options.host, port: options.port });
    } catch (cause) {
      streams.close();
      await app.close();
      throw ListenError.from(cause, options);
    }
    return new ApiServer(app, streams, traffic);
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
    await this.#traffic.drain();
    this.#streams.close();
    await this.#app.close();
  }
}

function makeServer(): FastifyInstance {
  const app = Fastify({
    logger: false,
    bodyLimit: limits.requestBytesMax,
    requestTimeout: limits.httpRequestMs,
    keepAliveTimeout: limits.httpKeepAliveMs,
    // Draining answers for itself, with our own error body.
    return503OnClosing: false,
    forceCloseConnections: true,
    clientErrorHandler: answerBrokenHttp,
    frameworkErrors: (error, _request, reply) => {
      sendError(reply, new ClientError("BAD_REQUEST", error.message));
    },
    routerOptions: { maxParamLength: 64 },
    http: {
      headersTimeout: limits.httpHeadersMs,
      requestTimeout: limits.httpRequestMs,
      connectionsCheckingInterval: limits.httpCheckMs,
      maxHeaderSize: limits.httpHeaderBytesMax,
      insecureHTTPParser: false,
      requireHostHeader: true,
      noDelay: true,
      // Other upgrades are not for us to follow; the request is then served as it stands [RFC 9110 §7.8].
      shouldUpgradeCallback: (request: IncomingMessage) =>
        [peerProtocol, copyProtocol].includes(upgradeOf(request)),
    },
  });
  const server: Server = app.server;
  server.headersTimeout = limits.httpHeadersMs;
  server.maxConnections = limits.httpConnectionsMax;
  return app;
}

/** Bodies are bytes for whatever content type: clients send any, or none [hrana.md §3.4]. */
function addBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.addHook("onRequest", async (request) => {
    const { headers } = request.raw;
    if (headers["content-type"] !== undefined) headers["content-type"] = "application/octet-stream";
  });
}

function addFailures(app: FastifyInstance, options: ApiOptions): void {
  app.setNotFoundHandler((request, reply) => {
    const { pathname } = new URL(request.url, "http://host");
    return sendError(
      reply,
      new ClientError("NOT_FOUND", `there is no ${request.method} ${pathname}`),
    );
  });
  app.setErrorHandler((error, _request, reply) => {
    const known = clientErrorFrom(error);
    if (known === undefined) options.onFault(error);
    return sendError(reply, known ?? new ClientError("INTERNAL", "the node failed to answer"));
  });
}

/** HTTP that cannot be read. There is no request to answer, only a connection to end. */
function answerBrokenHttp(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  const [status, message] = brokenHttp(error.code);
  const body = errorBody("BAD_REQUEST", message);
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function brokenHttp(code: string | undefined): readonly [status: string, message: string] {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return ["408 Request Timeout", "the request took too long to arrive"];
  }
  if (code === "HPE_HEADER_OVERFLOW") {
    const max = limits.httpHeaderBytesMax;
    return [
      "431 Request Header Fields Too Large",
      `request line and headers are over ${max} bytes`,
    ];
  }
  return ["400 Bad Request", "this is not HTTP/1.1"];
}
