/**
 * Answers as JSON text that may be large. A small one is sent as it is. A large one is encoded slice by slice as the
 * client takes it, so that it never holds up the event loop, and counts until the client has it or is gone: what waits
 * for slow clients is bounded.
 */

import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import { ClientError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";

const largeChars = 256 * 1024;

export class LargeAnswers {
  #usedChars = 0;

  /**
   * Sends the texts one after the other. When too much waits already, an answer that can be had again is refused:
   * throws ClientError OVERLOADED.
   */
  send(reply: FastifyReply, texts: readonly string[], canRepeat: boolean): FastifyReply {
    const chars = texts.reduce((sum, text) => sum + text.length, 0);
    reply.header("content-type", "application/json");
    if (chars <= largeChars) return reply.send(bodyOf(texts.join("")));
    const max = limits.largeAnswersBytesMax;
    if (canRepeat && this.#usedChars + chars > max) {
      const text = `answers that wait for their clients have more than ${max} bytes; repeat it`;
      throw new ClientError("OVERLOADED", text);
    }
    this.#usedChars += chars;
    reply.raw.once("close", () => {
      this.#usedChars -= chars;
    });
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    reply.header("content-length", String(bytes));
    return reply.send(Readable.from(encoded(texts), { objectMode: false }));
  }
}

/** One text as a body. */
export function bodyOf(text: string): Buffer | Readable {
  if (text.length <= largeChars) return Buffer.from(text);
  return Readable.from(encoded([text]), { objectMode: false });
}

/**
 * An answer in pieces that are made as they are taken. Only a client that has something to take can be late with it:
 * while a piece is being made the time of its maker counts, and not httpStalledMs.
 */
export function inPieces(
  reply: FastifyReply,
  pieces: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>,
): FastifyReply {
  return reply.send(Readable.from(timed(reply.raw, pieces), { objectMode: false }));
}

async function* timed(
  response: ServerResponse,
  pieces: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>,
): AsyncGenerator<Uint8Array> {
  response.setTimeout(0);
  for await (const piece of pieces) {
    response.setTimeout(limits.httpStalledMs);
    yield typeof piece === "string" ? Buffer.from(piece) : piece;
    response.setTimeout(0);
  }
  response.setTimeout(limits.httpStalledMs);
}

/** The texts as bytes, in pieces of bounded size. */
export function* encoded(texts: Iterable<string>): Generator<Uint8Array> {
  for (const text of texts) {
    for (let at = 0; at < text.length; ) {
      let end = Math.min(at + largeChars, text.length);
      // Two units that are one character stay together.
      if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end++;
      yield Buffer.from(text.slice(at, end));
      at = end;
    }
  }
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
