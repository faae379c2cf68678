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
    const large = (bytes: number) => admitted(request, budget, bytes);
    if (declared === undefined) return received(payload, max, () => large(max));
    if (declared > limits.smallBodyBytes) await large(declared);
    return received(payload, max);
  });
  app.addHook("onRequest", async (request, reply) => {
    replyOf.set(request, reply);
    const { headers } = request.raw;
    if (headers["content-type"] !== undefined) headers["content-type"] = "application/octet-stream";
  });
}

/** Resolves when there is room. What was made of the body lives as long as the request, and so does its share. */
async function admitted(request: FastifyRequest, budget: ByteBudget, bytes: number): Promise<void> {
  const reply = replyOf.get(request)!;
  const give = await budget.take(bytes, "large requests", signalOf(reply));
  reply.raw.once("close", give);
  if (reply.raw.destroyed) give();
}

function declaredBytes(request: FastifyRequest): number | undefined {
  const text = request.headers["content-length"];
  return text === undefined ? undefined : Number(text);
}

/** `onLarge`: what to wait for when the body, whose length nobody told, turns out to be large. */
function received(
  payload: IncomingMessage,
  max: number,
  onLarge?: () => Promise<void>,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    let isLarge = onLarge === undefined;
    const refuse = (error: unknown) => {
      payload.off("data", onData);
      discard(payload);
      payload.resume();
      reject(error);
    };
    const onData = (chunk: Uint8Array) => {
      bytes += chunk.byteLength;
      chunks.push(chunk);
      if (bytes > max) return refuse(tooLarge(max));
      if (isLarge || bytes <= limits.smallBodyBytes) return undefined;
      isLarge = true;
      payload.pause();
      return void onLarge!().then(() => payload.resume(), refuse);
    };
    const brokeOff = () => reject(new ClientError("BAD_REQUEST", "the body broke off"));
    payload.on("data", onData);
    payload.once("end", () => resolve(Buffer.concat(chunks, bytes)));
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
