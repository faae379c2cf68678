/**
 * The endpoints of Hrana over HTTP. Version 2 and 3 have the same pipeline; what version 3 added is taken from clients
 * of version 2 as well. The protobuf encoding of version 3 is not served: clients ask for it and fall back to JSON.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { encodeConnection } from "../../db/stream/connection-state.ts";
import { formatPosition } from "../../vocabulary.ts";
import { inPieces, LargeAnswers } from "../http/large-answers.ts";
import { wishesOf } from "../wishes.ts";
import { runCursor } from "./cursor.ts";
import { type HranaPorts, runPipeline } from "./pipeline.ts";
import { streamHeaders, streamWishOf } from "./stream-wish.ts";
import type { UnitResults } from "./unit.ts";
import { runV1 } from "./v1.ts";

type Endpoint = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

/** A router adds to the wishes of a request what it knows of the client. */
export function addHranaRoutes(
  app: FastifyInstance,
  ports: HranaPorts,
  wishes: typeof wishesOf = wishesOf,
): void {
  for (const version of [1, 2, 3]) {
    app.get(`/v${version}`, (_request, reply) =>
      reply.type("text/plain").send(`Hrana ${version} over HTTP is spoken here.\n`),
    );
  }
  const answers = new LargeAnswers();
  const pipeline: Endpoint = async (request, reply) => {
    const wish = streamWishOf(request);
    const answer = await runPipeline(ports, request.body, wishes(request, reply), wish);
    if (wish.whileOpen && answer.connection !== undefined) {
      reply.header(streamHeaders.connection, encodeConnection(answer.connection));
    }
    return answers.send(placed(reply, answer), answer.texts, answer.canRepeat === true);
  };
  app.post("/v2/pipeline", pipeline);
  app.post("/v3/pipeline", pipeline);

  app.post("/v3/cursor", async (request, reply) => {
    const wish = streamWishOf(request);
    const answer = await runCursor(ports, request.body, wishes(request, reply), wish);
    return inPieces(placed(reply, answer).type("text/plain"), answer.lines);
  });

  for (const type of ["execute", "batch"] as const) {
    app.post(`/v1/${type}`, async (request, reply) => {
      const asked = wishes(request, reply);
      const answer = await runV1(ports.backend, type, request.body, asked);
      placed(reply, answer).code(answer.failed ? 400 : 200);
      return answers.send(reply, answer.texts, answer.acked === undefined);
    });
  }
}

/** Where the answer comes from, and how safe the write is. */
function placed(reply: FastifyReply, { position, acked }: Placed): FastifyReply {
  if (acked !== undefined) reply.header("paceline-acked", acked);
  return position === undefined
    ? reply
    : reply.header("paceline-position", formatPosition(position));
}

type Placed = Pick<UnitResults, "position" | "acked">;
