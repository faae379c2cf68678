/**
 * HTTP as all our servers speak it: what is bounded, what a body is, how a failure is told.
 *
 * What is bounded here, because Node's own defaults do not: headers, bodies, connections, the time for each, and how
 * long a client may leave its answer untaken [hostile-cases 1–3, 17–21].
 *
 * Every answer that is not one of success has the same JSON body (errors.ts). What is not a ClientError is a bug of
 * ours: the client gets INTERNAL, `onFault` gets the error.
 *
 * Not here: any route.
 */

import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";
import Fastify, { type FastifyInstance } from "fastify";
import { ClientError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import { clientErrorFrom, errorBody, sendError } from "../errors.ts";
import { addBodies } from "./bodies.ts";

export type HttpOptions = {
  /** Whether a request for an upgrade is followed: the server emits "upgrade" for it then. */
  isFollowed(request: IncomingMessage): boolean;
  /** Is told of bugs: anything thrown that is not a ClientError. */
  onFault(error: unknown): void;
};

/** What a path may be asked with. */
const methods = ["GET", "HEAD", "POST", "PUT", "DELETE"] as const;

/** A server without routes. Bodies are bytes. */
export function makeServer(options: HttpOptions): FastifyInstance {
  const app = bareServer(options.isFollowed);
  refuseGrpc(app);
  addBodies(app);
  addFailures(app, options);
  return app;
}

function bareServer(isFollowed: HttpOptions["isFollowed"]): FastifyInstance {
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
      shouldUpgradeCallback: isFollowed,
    },
  });
  const server: Server = app.server;
  server.headersTimeout = limits.httpHeadersMs;
  server.maxConnections = limits.httpConnectionsMax;
  return app;
}

/**
 * gRPC is how libSQL's embedded replicas ask their primary. Its clients read nothing but frames and headers: 12 means
 * "unimplemented".
 */
function refuseGrpc(app: FastifyInstance): void {
  app.addHook("onRequest", async (request, reply) => {
    const type = request.headers["content-type"];
    if (type?.startsWith("application/grpc") !== true) return undefined;
    const message = "Paceline does not speak gRPC: embedded replicas are not served here";
    return reply
      .code(200)
      .header("content-type", type)
      .header("grpc-status", "12")
      .header("grpc-message", encodeURIComponent(message))
      .send();
  });
}

function addFailures(app: FastifyInstance, faults: HttpOptions): void {
  app.setNotFoundHandler((request, reply) => {
    // Not as a URL: "//" is a path that is none.
    const [path = ""] = request.url.split(/[?#]/, 1);
    const allowed = methods.filter((method) => app.hasRoute({ method, url: path }));
    // OPTIONS is a browser's question, and is answered elsewhere (cors.ts).
    if (request.method !== "OPTIONS" && allowed.length > 0) {
      reply.header("allow", allowed.join(", "));
      const text = `${request.method} ${path} is not there; ${allowed.join(", ")} is`;
      return sendError(reply, new ClientError("METHOD_NOT_ALLOWED", text));
    }
    const text = `there is no ${request.method} ${path.slice(0, 200)}`;
    return sendError(reply, new ClientError("NOT_FOUND", text));
  });
  app.setErrorHandler((error, _request, reply) => {
    const known = clientErrorFrom(error);
    if (known === undefined) faults.onFault(error);
    return sendError(reply, known ?? new ClientError("INTERNAL", "the server failed to answer"));
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
