/**
 * What nodes ask each other over HTTP: to run a forwarded request as the leader, to roll back a forwarded transaction,
 * to say how they are. Paths and formats are in node/forward-wire.ts.
 *
 * Every request must show the cluster's token; that is checked before a byte of the body is read.
 */

import type { Socket } from "node:net";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ClientError } from "../base/errors.ts";
import { parseConnection } from "../db/stream/connection-state.ts";
import { limits } from "../limits.ts";
import {
  encodeAnswer,
  internalPaths,
  isAuthorized,
  piecesHeader,
} from "../node/route/forward-wire.ts";
import { type Pieces, parseBegin, parseConsistency, type RunOptions } from "../node/route/run.ts";
import { parseAck } from "../node/rule/ack.ts";
import { type Lsn, type NodeId, nodeId, nodeIdPattern, parsePosition } from "../vocabulary.ts";
import { withNulls } from "./admin/probes.ts";
import type { Backend } from "./backend.ts";
import { sendJson } from "./errors.ts";
import { RequestDecoder } from "./hrana/decode.ts";
import { SqlTexts } from "./hrana/sql-texts.ts";
import { errorEntry } from "./hrana/unit.ts";
import { bodyOf, inPieces } from "./http/large-answers.ts";
import { type JsonObject, parseJsonObject, readJsonObject, turnFor } from "./json-body.ts";
import { signalOf } from "./wishes.ts";

/** A client's request may leave out what a forwarded one spells out: up to two empty lists per statement. */
const trustedContainersMax = 3 * limits.jsonContainersMax;

export type InternalOptions = {
  readonly backend: Backend;
  /** What requests carry to show that they come from a node. */
  readonly token: string;
  /** What is wrong with the connection that a request came over, if nodes must use TLS. */
  refusal(socket: Socket): string | undefined;
};

export function addInternalRoutes(app: FastifyInstance, options: InternalOptions): void {
  const { backend, token } = options;
  const onRequest = async (request: FastifyRequest): Promise<void> => {
    const fault = options.refusal(request.raw.socket);
    if (fault !== undefined) throw new ClientError("UNAUTHORIZED", fault);
    if (isAuthorized(request.headers.authorization, token)) return;
    throw new ClientError(
      "UNAUTHORIZED",
      "this is for the nodes of the cluster; the token is wrong",
    );
  };
  const route = { onRequest, bodyLimit: limits.internalBytesMax };

  app.post(internalPaths.run, route, async (request, reply) => {
    const body = await readJsonObject(request.body, trustedContainersMax);
    const requests = new RequestDecoder(new SqlTexts({ usedChars: 0 })).pipeline(body["requests"]);
    await turnFor(request.body);
    const { snapshot } = body;
    const unit = {
      requests: requests.map((r) => (r.type === "sql" ? r.request : notSql(r.type))),
      connection: parseConnection(body["connection"]),
      ...(typeof snapshot === "string" && { snapshot: parsePosition(snapshot) }),
    };
    const wanted = { ...runOptions(body, reply), origin: originOf(request) };
    const answer = await (body["onwards"] === true
      ? backend.run(unit, wanted)
      : backend.runAsLeader(unit, wanted));
    if (answer.pieces !== undefined) {
      const lines = linesOf(encodeAnswer(answer), answer.pieces);
      reply.header(piecesHeader, "1").type("text/plain");
      return inPieces(reply, lines);
    }
    return reply.type("text/plain").send(bodyOf(encodeAnswer(answer)));
  });

  app.post(internalPaths.closeSession, route, async (request, reply) => {
    const { session } = parseJsonObject(request.body);
    if (typeof session !== "string")
      throw new ClientError("BAD_REQUEST", "session must be a string");
    backend.closeSession(session);
    return sendJson(reply, 200, "{}");
  });

  app.post(internalPaths.verify, route, async (request, reply) => {
    const { pagesOnly, rowsAt, differs } = parseJsonObject(request.body);
    const wish = {
      pagesOnly: pagesOnly === true,
      rowsAt: Number.isSafeInteger(rowsAt) ? (rowsAt as Lsn) : undefined,
      differs: typeof differs === "string" ? differs : undefined,
    };
    return sendJson(reply, 200, withNulls(await backend.verifyHere(wish)));
  });

  app.post(internalPaths.follow, route, async (request, reply) => {
    const { id, address, partial } = parseJsonObject(request.body);
    if (typeof id !== "string" || !nodeIdPattern.test(id) || typeof address !== "string") {
      throw new ClientError("BAD_REQUEST", "id and address of the follower are missing");
    }
    const follower = { id: nodeId(id), address, isPartial: partial === true };
    return sendJson(reply, 200, withNulls(backend.follow(follower)));
  });

  app.get(internalPaths.members, route, async (_request, reply) =>
    sendJson(reply, 200, withNulls({ members: backend.members() })),
  );

  app.get(internalPaths.status, route, async (_request, reply) =>
    sendJson(reply, 200, withNulls(backend.localStatus())),
  );
}

async function* linesOf(head: string, pieces: Pieces): AsyncGenerator<Uint8Array> {
  yield Buffer.from(head);
  try {
    yield* pieces;
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    yield Buffer.from(errorEntry(error));
  }
}

function runOptions(body: JsonObject, reply: FastifyReply): RunOptions {
  const { consistency, minPosition, session, deadlineMs, ack, begin } = body;
  return {
    consistency: (typeof consistency === "string" ? parseConsistency(consistency) : undefined) ?? {
      type: "session",
    },
    minPosition: typeof minPosition === "string" ? parsePosition(minPosition) : undefined,
    session: typeof session === "string" ? session : undefined,
    ack: typeof ack === "string" ? parseAck(ack) : undefined,
    ...(body["inPieces"] === true ? { inPieces: true } : {}),
    ...(typeof begin === "string" && { begin: parseBegin(begin) }),
    deadlineMs: typeof deadlineMs === "number" && deadlineMs > 0 ? deadlineMs : undefined,
    signal: signalOf(reply),
  };
}

/** The node that sends the request on, as it names itself. */
function originOf(request: FastifyRequest): NodeId | undefined {
  const from = request.headers["paceline-from"];
  return typeof from === "string" && nodeIdPattern.test(from) ? nodeId(from) : undefined;
}

function notSql(type: string): never {
  throw new ClientError("BAD_REQUEST", `${type} is settled by the node that the client talks to`);
}
