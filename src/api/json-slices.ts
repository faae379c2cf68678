/**
 * Cuts pieces out of JSON text without parsing it. A result arrives as text of up to 10 MiB that another process
 * made; turning it into objects and back would hold up the event loop and fill the heap, finding where a piece
 * begins and ends does neither.
 *
 * The text is trusted to be valid JSON: it is ours. Offsets count UTF-16 units.
 */

import { assert } from "../base/assert.ts";

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** Offset of the value of `key` in the object that begins at `from`. Undefined when there is no such key. */
export function fieldAt(text: string, from: number, key: string): number | undefined {
  assert(text.charCodeAt(from) === openBrace, "an object begins here");
  let at = skipSpace(text, from + 1);
  while (text.charCodeAt(at) === quote) {
    const keyEnd = valueEnd(text, at);
    const found = text.slice(at + 1, keyEnd - 1) === key;
    at = skipSpace(text, keyEnd);
    assert(text.charCodeAt(at) === colon, "a colon follows the key");
    at = skipSpace(text, at + 1);
    if (found) return at;
    at = skipSpace(text, valueEnd(text, at));
    if (text.charCodeAt(at) === comma) at = skipSpace(text, at + 1);
  }
  return undefined;
}

/** The text of a field. Undefined when there is no such key. */
export function fieldText(text: string, from: number, key: string): string | undefined {
  const at = fieldAt(text, from, key);
  return at === undefined ? undefined : text.slice(at, valueEnd(text, at));
}

/** Offsets of the elements of the array that begins at `from`: one pair { from, to } at a time. */
export function* elementsAt(
  text: string,
  from: number,
): Generator<{ readonly from: number; readonly to: number }> {
  assert(text.charCodeAt(from) === openBracket, "an array begins here");
  let at = skipSpace(text, from + 1);
  while (at < text.length && text.charCodeAt(at) !== closeBracket) {
    const to = valueEnd(text, at);
    yield { from: at, to };
    at = skipSpace(text, to);
    if (text.charCodeAt(at) === comma) at = skipSpace(text, at + 1);
  }
}

/** Offset just after the value that begins at `from`. */
export function valueEnd(text: string, from: number): number {
  const first = text.charCodeAt(from);
  if (first === quote) return stringEnd(text, from);
  if (first !== openBracket && first !== openBrace) return scalarEnd(text, from);
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === quote) {
      at = stringEnd(text, at) - 1;
    } else if (unit === openBracket || unit === openBrace) {
      depth++;
    } else if (unit === closeBracket || unit === closeBrace) {
      depth--;
      if (depth === 0) return at + 1;
    }
  }
  return text.length;
}

function stringEnd(text: string, from: number): number {
  let at = from;
  for (;;) {
    at = text.indexOf('"', at + 1);
    if (at < 0) return text.length;
    let before = at - 1;
    while (text.charCodeAt(before) === backslash) before--;
    if ((at - before) % 2 === 1) return at + 1;
  }
}

function scalarEnd(text: string, from: number): number {
  let at = from;
  while (at < text.length) {
    const unit = text.charCodeAt(at);
    if (unit <= 0x20 || unit === comma || unit === closeBracket || unit === closeBrace) break;
    at++;
  }
  return at;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text.charCodeAt(at) <= 0x20) at++;
  return at;
}
