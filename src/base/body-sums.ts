/**
 * Checksums of an entry's body: SHA-256 for the chain, CRC-32 for the log and the wire. Of a body of 200 MB each takes
 * tenths of a second, during which an event loop would answer nobody, heartbeats included. So `summed` computes those
 * of a large body in pieces, once for everyone who asks later; small ones are computed when they are asked for.
 *
 * A body that was summed never changes any more.
 */

import { createHash, hash } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { crc32 } from "node:zlib";

/** Bodies from here on are large: about a millisecond of work. */
export const largeBodyBytes: number = 1024 * 1024;
const pieceBytes = 2 * 1024 * 1024;

type Sums = { readonly sha256: string; readonly crc32: number };

const sumsByBody = new WeakMap<Uint8Array, Sums>();

/** Computes the sums of a large body, and gives the event loop its turns meanwhile. */
export async function summed(body: Uint8Array): Promise<void> {
  if (body.byteLength < largeBodyBytes || sumsByBody.has(body)) return;
  const sha256 = createHash("sha256");
  let crc = 0;
  for (const piece of piecesOf(body)) {
    sha256.update(piece);
    crc = crc32(piece, crc);
    await turn();
  }
  sumsByBody.set(body, { sha256: sha256.digest("hex"), crc32: crc });
}

/** CRC-32 of bytes that need no SHA-256, in pieces if they are many. */
export async function crc32InTurns(bytes: Uint8Array): Promise<number> {
  let crc = 0;
  for (const piece of piecesOf(bytes)) {
    crc = crc32(piece, crc);
    if (bytes.byteLength >= largeBodyBytes) await turn();
  }
  return crc;
}

export function sha256Of(body: Uint8Array): string {
  return sumsByBody.get(body)?.sha256 ?? hash("sha256", body, "hex");
}

export function crc32Of(body: Uint8Array): number {
  return sumsByBody.get(body)?.crc32 ?? crc32(body);
}

/** CRC-32 of some bytes and `body` behind them, by that of the former. */
export function crc32With(before: number, body: Uint8Array): number {
  const known = sumsByBody.get(body)?.crc32;
  return known === undefined ? crc32(body, before) : combined(before, known, body.byteLength);
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) {
    yield bytes.subarray(at, at + pieceBytes);
  }
}

/**
 * zlib's crc32_combine: appending a zero bit multiplies a CRC by x modulo the polynomial, which is a linear map of 32
 * bits; `bytes` zero bytes are that map raised to a power, by squaring.
 */
function combined(first: number, second: number, bytes: number): number {
  let map = Uint32Array.from({ length: 32 }, (_, bit) => (bit === 0 ? 0xedb88320 : 1 << (bit - 1)));
  let crc = first;
  // One bit, then two, four and eight: a byte.
  for (let doubled = 0; doubled < 3; doubled++) map = squared(map);
  for (let left = bytes; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) crc = times(map, crc);
    map = squared(map);
  }
  return (crc ^ second) >>> 0;
}

function times(map: Uint32Array, value: number): number {
  let product = 0;
  for (let bit = 0; bit < 32; bit++) if ((value >>> bit) & 1) product ^= map[bit]!;
  return product >>> 0;
}

function squared(map: Uint32Array): Uint32Array<ArrayBuffer> {
  return map.map((column) => times(map, column)) as Uint32Array<ArrayBuffer>;
}
