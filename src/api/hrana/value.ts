/**
 * Hrana values as they come in, checked. What passes here is exactly what the client meant: an integer out of range,
 * a number that is none, text that is not Unicode or a blob that is not base64 is refused, never bent into shape
 * [hostile-cases 8–10].
 */

import { ClientError } from "../../base/errors.ts";
import type { Value } from "../../db/sql/request.ts";
import { isObject } from "../json-body.ts";

const integerMin = -(2n ** 63n);
const integerMax = 2n ** 63n - 1n;
/** Decimal integers that surely fit and are written in the one usual way. */
const plainInteger = /^(?:0|-?[1-9]\d{0,17})$/;
const anyInteger = /^-?\d{1,20}$/;
const base64Pattern = /^[A-Za-z0-9+/]*={0,2}$/;

/** Throws ClientError BAD_REQUEST. */
export function decodeValue(value: unknown): Value {
  if (!isObject(value)) throw refused("a value must be an object");
  switch (value["type"]) {
    case "null":
      return { type: "null" };
    case "integer":
      return { type: "integer", value: decodeInteger(value["value"]) };
    case "float":
      return { type: "float", value: decodeFloat(value["value"]) };
    case "text":
      return { type: "text", value: decodeText(value["value"], "text value") };
    case "blob":
      return { type: "blob", base64: decodeBase64(value["base64"]) };
    default:
      throw refused(
        `unknown type of value ${shown(value["type"])}; known are null, integer, float, text, blob`,
      );
  }
}

/** Text must be well-formed Unicode: a lone surrogate cannot be stored as UTF-8. */
export function decodeText(value: unknown, what: string): string {
  if (typeof value !== "string") throw refused(`${what} must be a string`);
  if (!value.isWellFormed()) throw refused(`${what} has a lone surrogate, which is not Unicode`);
  return value;
}

export function refused(message: string): ClientError {
  return new ClientError("BAD_REQUEST", message);
}

/** A short rendering of something a client sent, for messages. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** The protocol wants a decimal string; a number is taken as well while it is exact. */
function decodeInteger(value: unknown): string {
  if (typeof value === "string") {
    if (plainInteger.test(value)) return value;
    if (anyInteger.test(value)) {
      const integer = BigInt(value);
      if (integer >= integerMin && integer <= integerMax) return String(integer);
    }
  } else if (Number.isSafeInteger(value)) {
    return String(BigInt(value as number));
  }
  throw refused(`${shown(value)} is not a 64-bit integer; integers are decimal strings`);
}

function decodeFloat(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw refused(`${shown(value)} is not a finite number`);
  }
  return value;
}

function decodeBase64(value: unknown): string {
  if (typeof value !== "string" || !base64Pattern.test(value)) {
    throw refused(`${shown(value)} is not base64`);
  }
  const padding = value.endsWith("==") ? 2 : value.endsWith("=") ? 1 : 0;
  if ((value.length - padding) % 4 === 1) throw refused("base64 text ends in the middle of a byte");
  return value;
}
