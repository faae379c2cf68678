/**
 * From the bytes of a request body to a JSON value. Bytes are looked at before they are parsed, because parsing is
 * where hostile input hurts: 14 MB of `[` cost 1.8 s and half a gigabyte [hostile-cases 2, 3].
 *
 * Keys such as `__proto__` are harmless: JSON.parse makes them own properties, and nothing here or in the decoders
 * copies properties by name.
 */

import { isUtf8 } from "node:buffer";
import { setImmediate as turn } from "node:timers/promises";
import { ClientError, messageOf } from "../base/errors.ts";
import { limits } from "../limits.ts";

const quote = 0x22;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** A JSON object, to be read field by field. */
export type JsonObject = { readonly [key: string]: unknown };

/** Parses a body that must be a JSON object. Throws ClientError BAD_REQUEST or BODY_TOO_LARGE. */
export function parseJsonObject(
  body: unknown,
  containersMax: number = limits.jsonContainersMax,
): JsonObject {
  return parsed(checked(body, containersMax));
}

/** The same, in several turns of the event loop where the body is large. */
export async function readJsonObject(
  body: unknown,
  containersMax: number = limits.jsonContainersMax,
): Promise<JsonObject> {
  const bytes = checked(body, containersMax);
  await turnFor(body);
  const object = parsed(bytes);
  await turnFor(body);
  return object;
}

function checked(body: unknown, containersMax: number): Uint8Array {
  if (!(body instanceof Uint8Array) || body.byteLength === 0) {
    throw new ClientError("BAD_REQUEST", "the body is empty; expected a JSON object");
  }
  if (!isUtf8(body)) throw new ClientError("BAD_REQUEST", "the body is not UTF-8");
  checkShape(body, containersMax);
  return body;
}

function parsed(bytes: Uint8Array): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new ClientError("BAD_REQUEST", `the body is not JSON: ${messageOf(cause)}`, { cause });
  }
  if (!isObject(value)) throw new ClientError("BAD_REQUEST", "the body is not a JSON object");
  return value;
}

/** Bodies from this size on are worked on in several turns of the event loop. */
const largeBytes = 1024 * 1024;

/** Lets others have a turn, in the middle of the work on a large body: a heartbeat must not wait for all of it. */
export async function turnFor(body: unknown): Promise<void> {
  if (body instanceof Uint8Array && body.byteLength >= largeBytes) await turn();
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Refuses deep nesting and absurd numbers of objects and arrays. Anything else is left to the parser. */
function checkShape(bytes: Uint8Array, containersMax: number): void {
  let depth = 0;
  let containers = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === quote) {
      at = endOfString(bytes, at);
    } else if (byte === openBracket || byte === openBrace) {
      depth++;
      containers++;
      if (depth > limits.jsonDepthMax) {
        throw new ClientError(
          "BAD_REQUEST",
          `the body is nested deeper than ${limits.jsonDepthMax} levels`,
        );
      }
    } else if (byte === closeBracket || byte === closeBrace) {
      depth--;
    }
  }
  if (containers > containersMax) {
    throw new ClientError(
      "BODY_TOO_LARGE",
      `the body has ${containers} objects and arrays, the limit is ${containersMax}`,
    );
  }
}

/** Offset of the closing quote of the string that opens at `from`. */
function endOfString(bytes: Uint8Array, from: number): number {
  let at = from;
  for (;;) {
    at = bytes.indexOf(quote, at + 1);
    if (at < 0) return bytes.length;
    let before = at - 1;
    while (bytes[before] === backslash) before--;
    // An even number of backslashes escape each other, not the quote.
    if ((at - before) % 2 === 1) return at;
  }
}
