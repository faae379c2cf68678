/**
 * The two checksums of Paceline, as pure functions.
 *
 *   pageHash    64 bits of one page, bound to its number: SHA-256 of the page cut to 64 bits, mixed with pgno. The
 *               XOR of all page hashes is the checksum of a database: O(changed pages) to keep up to date [D6].
 *   chainHash   64 bits of an entry and of everything before it: SHA-256 cut to 64 bits.
 *
 * A 64-bit value is a `Hash64` of two unsigned halves in hot code and 16 hex digits everywhere else. SHA-256 and not
 * a CRC, because the XOR of CRCs is linear: the same flipped bit in two pages would cancel out.
 */

import { hash } from "node:crypto";
import type { EntryKind, Lsn, Pgno, Term } from "../vocabulary.ts";
import { sha256Of } from "./body-sums.ts";

/** Halves of a 64-bit value, each an unsigned 32-bit integer. */
export type Hash64 = { readonly high: number; readonly low: number };

export const zeroHash: Hash64 = { high: 0, low: 0 };
/** The chain before the first entry. */
export const zeroChain = "0000000000000000";

/** Hash of one page. Never zero for a page that exists, so that zero can mean "no such page". */
export function pageHash(pgno: Pgno, page: Uint8Array): Hash64 {
  const digest = hash("sha256", page, "buffer");
  const high = mix(digest.readUInt32BE(0), pgno);
  const low = mix(digest.readUInt32BE(4), Math.imul(pgno, 0x9e3779b9)) || 1;
  return { high, low };
}

/** XOR of two values. Its own inverse. */
export function xorHash(a: Hash64, b: Hash64): Hash64 {
  return { high: (a.high ^ b.high) >>> 0, low: (a.low ^ b.low) >>> 0 };
}

export function formatHash(value: Hash64): string {
  return value.high.toString(16).padStart(8, "0") + value.low.toString(16).padStart(8, "0");
}

export function parseHash(text: string): Hash64 {
  return {
    high: Number.parseInt(text.slice(0, 8), 16),
    low: Number.parseInt(text.slice(8, 16), 16),
  };
}

/** Chain of an entry, from the chain of the one before. */
export function chainHash(
  previousChain: string,
  entry: {
    readonly lsn: Lsn;
    readonly term: Term;
    readonly kind: EntryKind;
    readonly body: Uint8Array;
  },
): string {
  const bodyDigest = sha256Of(entry.body);
  return hash(
    "sha256",
    `${previousChain}/${entry.lsn}/${entry.term}/${entry.kind}/${bodyDigest}`,
    "hex",
  ).slice(0, 16);
}

/** Avalanche of two 32-bit values into one. */
function mix(a: number, b: number): number {
  let z = (a ^ b) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return ((z ^ (z >>> 15)) + b) >>> 0;
}
