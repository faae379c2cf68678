/**
 * Receives the bodies of requests, as bytes, whatever their content type: clients send any, or none [hrana.md §3.4].
 *
 * Three bounds. A body has at most what its route allows. Large bodies together have at most largeBodiesBytesMax; the
 * next one waits unread, and is refused as OVERLOADED when it has waited too long. Small bodies wait for nobody.
 *
 * A body that is too large is refused at once, and what still comes of it is read and thrown away, up to a bound: a
 * client that is still sending when its connection closes sees a broken pipe, and never the answer.
 */

import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ClientError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import { signalOf } from "../wishes.ts";
import { ByteBudget } from "./byte-budget.ts";

/** Set by the first hook: what is called when the request is over needs its answer. */
const replyOf = new WeakMap<FastifyRequest, FastifyReply>();

export function addBodies(app: FastifyInstance): void {
  const budget = new ByteBudget(limits.largeBodiesBytesMax, limits.requestWaitMs);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", async (request: FastifyRequest, payload: IncomingMessage) => {
    const max = request.routeOptions.bodyLimit ?? limits.requestBytesMax;
    const declared = declaredBytes(request);
    if (declared !== undefined && declared > max) {
      discard(payload);
      throw tooLarge(max);
    }
    const expected = declared ?? max;
    if (expected <= limits.smallBodyBytes) return received(payload, max);
    return receivedLarge(request, payload, { budget, expected, max });
  });
  app.addHook("onRequest", async (request, reply) => {
    replyOf.set(request, reply);
    const { headers } = request.raw;
    if (headers["content-type"] !== undefined) headers["content-type"] = "application/octet-stream";
  });
}

type Large = { readonly budget: ByteBudget; readonly expected: number; readonly max: number };

async function receivedLarge(
  request: FastifyRequest,
  payload: IncomingMessage,
  { budget, expected, max }: Large,
): Promise<Uint8Array> {
  const reply = replyOf.get(request)!;
  const give = await budget.take(expected, "large requests", signalOf(reply));
  // What was made of the body lives as long as the request.
  reply.raw.once("close", give);
  if (reply.raw.destroyed) give();
  return received(payload, max);
}

function declaredBytes(request: FastifyRequest): number | undefined {
  const text = request.headers["content-length"];
  return text === undefined ? undefined : Number(text);
}

function received(payload: IncomingMessage, max: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    const onData = (chunk: Uint8Array) => {
      bytes += chunk.byteLength;
      chunks.push(chunk);
      if (bytes <= max) return;
      payload.off("data", onData);
      discard(payload);
      reject(tooLarge(max));
    };
    payload.on("data", onData);
    payload.once("end", () => resolve(Buffer.concat(chunks, bytes)));
    const brokeOff = () => reject(new ClientError("BAD_REQUEST", "the body broke off"));
    payload.once("error", brokeOff);
    payload.once("close", brokeOff);
  });
}

/** Reads on, so that the sender comes to its end and reads the answer. Cuts off who sends without end. */
function discard(payload: IncomingMessage): void {
  let bytes = 0;
  payload.on("data", (chunk: Uint8Array) => {
    bytes += chunk.byteLength;
    if (bytes > limits.discardedBytesMax) payload.destroy();
  });
}

function tooLarge(max: number): ClientError {
  return new ClientError(
    "BODY_TOO_LARGE",
    `the request body is over the limit of ${max} bytes; send it in several requests`,
  );
}
