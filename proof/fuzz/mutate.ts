/**
 * Spoils good input: bytes, text and JSON. What comes out is mostly still of the right shape, because what is broken
 * everywhere is refused at the first field and tests nothing behind it.
 *
 *   bytes   bits flipped, cut, fields set to the numbers that break things (lengths blown up), parts removed, doubled
 *           many times, moved, replaced by parts of another good input
 *   JSON    one value deep inside replaced, removed, doubled or wrapped; sometimes the text itself, as bytes
 */

import type { Prng } from "../../src/base/prng.ts";

/** Numbers at which lengths, counts and offsets break. */
const oddNumbers = [
  0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe,
  0xffff_ffff,
];
const repeatedBytesMax = 64 * 1024;

/** A spoiled copy. `other` is another good input of the same kind. */
export function mutateBytes(bytes: Uint8Array, other: Uint8Array, prng: Prng): Uint8Array {
  // Not slice: that of a Buffer is a view.
  let spoiled: Uint8Array = new Uint8Array(bytes);
  for (let n = prng.integer(1, 4); n > 0; n--) spoiled = mutateOnce(spoiled, other, prng);
  return spoiled;
}

export function randomBytes(length: number, prng: Prng): Uint8Array {
  return Uint8Array.from({ length }, () => prng.integer(0, 256));
}

/** A spoiled copy of a JSON value, as text. */
export function mutateJson(value: unknown, other: unknown, prng: Prng): string {
  let spoiled = value;
  for (let n = prng.integer(1, 3); n > 0; n--) spoiled = mutateValue(spoiled, other, prng);
  const text = JSON.stringify(spoiled) ?? "null";
  if (prng.chance(0.8)) return text;
  return mutateText(text, JSON.stringify(other) ?? "null", prng);
}

/** A spoiled copy of a text; may hold what is no Unicode. */
export function mutateText(text: string, other: string, prng: Prng): string {
  if (prng.chance(0.5)) {
    const at = prng.integer(0, text.length + 1);
    const to = Math.min(text.length, at + prng.integer(0, 6));
    return text.slice(0, at) + pick(oddTexts, prng) + text.slice(to);
  }
  const bytes = mutateBytes(Buffer.from(text), Buffer.from(other), prng);
  return Buffer.from(bytes).toString(prng.chance(0.8) ? "utf8" : "latin1");
}

export function pick<T>(choices: readonly T[], prng: Prng): T {
  return choices[prng.integer(0, choices.length)]!;
}

function mutateOnce(bytes: Uint8Array, other: Uint8Array, prng: Prng): Uint8Array {
  const size = bytes.byteLength;
  const at = prng.integer(0, size + 1);
  const length = Math.min(prng.chance(0.7) ? prng.integer(1, 17) : prng.integer(1, 600), size - at);
  switch (prng.integer(0, 11)) {
    case 0:
    case 1:
      if (at < size) bytes[at]! ^= 1 << prng.integer(0, 8);
      return bytes;
    case 2:
      return bytes.slice(0, at);
    case 3:
      return joined(bytes.subarray(0, at), bytes.subarray(at + length));
    case 4:
      return joined(
        bytes.subarray(0, at),
        randomBytes(prng.integer(1, 20), prng),
        bytes.subarray(at),
      );
    case 5:
      return repeated(bytes, { at, length }, prng);
    case 6: {
      const from = prng.integer(0, other.byteLength + 1);
      return joined(bytes.subarray(0, at), other.subarray(from));
    }
    case 7:
      return bytes.fill(pick([0, 0xff, 0x20, 0x5b], prng), at, at + length);
    case 8:
      return bytes.copyWithin(at, prng.integer(0, size + 1), at + length);
    default:
      return withField(bytes, at, prng);
  }
}

/** A number field, in either byte order and of any width, set to what may break its reader. */
function withField(bytes: Uint8Array, at: number, prng: Prng): Uint8Array {
  const width = pick([1, 2, 4, 4, 8], prng);
  // Fields are mostly aligned, and mostly near the front.
  const from = prng.chance(0.5) ? prng.integer(0, 64) & ~3 : at;
  if (from + width > bytes.byteLength) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const value = prng.chance(0.7) ? pick(oddNumbers, prng) : prng.integer(0, 5_000);
  const little = prng.chance(0.2);
  if (width === 1) view.setUint8(from, value);
  else if (width === 2) view.setUint16(from, value, little);
  else if (width === 4) view.setUint32(from, value, little);
  else view.setBigUint64(from, BigInt(value) << BigInt(pick([0, 0, 21, 32], prng)), little);
  return bytes;
}

function repeated(
  bytes: Uint8Array,
  part: { readonly at: number; readonly length: number },
  prng: Prng,
): Uint8Array {
  const { at, length } = part;
  if (length === 0) return bytes;
  const most = Math.max(2, Math.floor(repeatedBytesMax / length));
  const times = prng.chance(0.9) ? prng.integer(1, 5) : prng.integer(1, most);
  const copies = Array.from({ length: times }, () => bytes.subarray(at, at + length));
  return joined(bytes.subarray(0, at), ...copies, bytes.subarray(at));
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

const oddTexts = [
  '"',
  "\\",
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "null",
  "-0",
  "1e999",
  "1e-7",
  "9007199254740993",
  "\0",
  "\ud800",
  "\\ud800",
  "\ufeff",
  "\u2028",
  "💥",
  "'",
  ";",
  "--",
  "/*",
  "@",
  "=",
  "%",
  "\n",
  "\t",
  " ",
  "[".repeat(300),
  '{"a":'.repeat(80),
  "\\".repeat(99),
  "0".repeat(400),
  "__proto__",
  "-1",
  "true",
];

const oddValues: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -0,
  -1,
  1.5,
  1e308,
  2 ** 31,
  -(2 ** 31) - 1,
  2 ** 53,
  2 ** 53 + 2,
  "",
  "0",
  "-0",
  "x",
  "\ud800",
  "\0",
  "9223372036854775808",
  "-9223372036854775808",
  "constructor",
  "__proto__",
  "a".repeat(5_000),
  [],
  {},
  [[]],
  [null],
  { type: "ok" },
  { toString: 1 },
  { length: 4_294_967_295 },
  Array.from({ length: 2_000 }, () => 0),
];

function mutateValue(value: unknown, other: unknown, prng: Prng): unknown {
  const isInner = typeof value === "object" && value !== null;
  const keys = isInner ? Object.keys(value) : [];
  if (keys.length === 0 || prng.chance(0.08)) return replaced(value, other, prng);
  const key = pick(keys, prng);
  const inner = value as Record<string, unknown>;
  const copy = Array.isArray(value) ? [...value] : { ...inner };
  const fields = copy as Record<string, unknown>;
  if (prng.chance(0.75)) {
    fields[key] = mutateValue(inner[key], other, prng);
    return copy;
  }
  switch (prng.integer(0, 4)) {
    case 0:
      if (Array.isArray(copy)) copy.splice(Number(key), 1);
      else delete fields[key];
      return copy;
    case 1:
      if (Array.isArray(copy)) copy.push(...(prng.chance(0.9) ? [inner[key]] : many(inner[key])));
      else fields[pick(["__proto__", "constructor", `${key}2`, "type"], prng)] = inner[key];
      return copy;
    case 2:
      fields[key] = inner[pick(keys, prng)];
      return copy;
    default:
      return prng.chance(0.5) ? [copy] : { [key]: copy };
  }
}

function replaced(value: unknown, other: unknown, prng: Prng): unknown {
  if (typeof value === "number" && prng.chance(0.5))
    return value + pick([-1, 1, 0.5, 2 ** 31], prng);
  if (typeof value === "string" && prng.chance(0.5)) return mutateText(value, "other", prng);
  if (prng.chance(0.1)) return other;
  if (prng.chance(0.05)) return deep(prng.integer(10, 200));
  return pick(oddValues, prng);
}

function many(value: unknown): unknown[] {
  return Array.from({ length: 500 }, () => value);
}

function deep(depth: number): unknown {
  let value: unknown = [];
  for (let n = 0; n < depth; n++) value = n % 2 === 0 ? { type: "not", cond: value } : [value];
  return value;
}
