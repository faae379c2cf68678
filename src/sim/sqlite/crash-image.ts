/**
 * What a power cut leaves of a file whose last writes were not synced: of every sector that changed since, the old or
 * the new content, some length in between, and the last sector torn.
 */

import type { Prng } from "../../base/prng.ts";

const sectorBytes = 512;

/** `synced` is what is surely there, `written` what a process would read. */
export function afterPowerCut(synced: Uint8Array, written: Uint8Array, prng: Prng): Uint8Array {
  // A file that was made shorter is as long as before, or as short as it was made.
  if (written.byteLength < synced.byteLength) return prng.chance(0.5) ? synced : written;
  const length = prng.integer(synced.byteLength, written.byteLength + 1);
  const left = new Uint8Array(length);
  left.set(synced);
  // Often everything, or everything up to some point, has reached the disk.
  const keptShare = [0, 0.5, 0.9, 1][prng.integer(0, 4)]!;
  for (let at = 0; at < length; at += sectorBytes) {
    const end = Math.min(length, at + sectorBytes);
    const sector = written.subarray(at, end);
    if (isEqual(left.subarray(at, end), sector) || !prng.chance(keptShare)) continue;
    const isTorn = end === length && prng.chance(0.5);
    left.set(isTorn ? sector.subarray(0, prng.integer(0, sector.byteLength + 1)) : sector, at);
  }
  return left;
}

/** Whether all bytes are equal. */
export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
