/** Good values that several formats carry: numbers, names, texts, hashes. Small, with odd ones among them. */

import type { Hash64 } from "../../src/base/hash.ts";
import { formatHash } from "../../src/base/hash.ts";
import type { Prng } from "../../src/base/prng.ts";
import { type NodeId, nodeId } from "../../src/vocabulary.ts";
import { pick } from "./mutate.ts";

const idCharacters = "abcdefghijklmnopqrstuvwxyz0123456789_-";

export function makeNumber(prng: Prng): number {
  return pick([0, 1, prng.integer(0, 100), prng.u32(), Number.MAX_SAFE_INTEGER], prng);
}

export function makeId(prng: Prng): NodeId {
  const length = prng.chance(0.8) ? prng.integer(1, 4) : prng.integer(1, 33);
  const from = Array.from({ length }, () => pick([...idCharacters], prng));
  return nodeId(from.join(""));
}

export function makeText(prng: Prng): string {
  const characters = [..."abc 09_:.\"'\\\n\0é日💥;?$@"];
  const length = prng.chance(0.8) ? prng.integer(0, 12) : prng.integer(0, 300);
  return Array.from({ length }, () => pick(characters, prng)).join("");
}

export function makeHash(prng: Prng): Hash64 {
  return prng.chance(0.1) ? { high: 0, low: 0 } : { high: prng.u32(), low: prng.u32() };
}

export function makeChain(prng: Prng): string {
  return formatHash(makeHash(prng));
}

export function makeWords(prng: Prng, length: number): Uint32Array {
  return Uint32Array.from({ length }, () => prng.u32());
}
