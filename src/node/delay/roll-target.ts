/**
 * The moment that an operator names: `42@3`, `42`, `2026-11-21T10:15:00Z`, milliseconds since 1970, `now`.
 */

import { ClientError } from "../../base/errors.ts";
import { type EntryId, parsePosition } from "../../vocabulary.ts";

export type RollTarget =
  | { readonly type: "position"; readonly id: EntryId }
  | { readonly type: "time"; readonly atMs: number }
  | { readonly type: "now" };

/** A time without its zone would mean another moment on another machine. */
const timePattern =
  /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})$/i;
/** So many digits are milliseconds: no log has as many entries. */
const timeDigits = 13;

/** Throws ClientError BAD_REQUEST. */
export function parseRollTarget(text: string): RollTarget {
  const trimmed = text.trim();
  if (trimmed === "now") return { type: "now" };
  const digits = /^\d{13,15}$/.test(trimmed) ? Number(trimmed) : undefined;
  if (digits !== undefined) return { type: "time", atMs: digits };
  const id =
    trimmed.length < timeDigits || trimmed.includes("@") ? parsePosition(trimmed) : undefined;
  if (id !== undefined) return { type: "position", id };
  const atMs = timePattern.test(trimmed) ? Date.parse(trimmed.replace(" ", "T")) : Number.NaN;
  if (Number.isFinite(atMs)) return { type: "time", atMs };
  throw new ClientError(
    "BAD_REQUEST",
    `"${text.slice(0, 100)}" is neither a position (42 or 42@3), nor a time with its zone ` +
      "(2026-11-21T10:15:00Z, or milliseconds since 1970), nor now",
  );
}
