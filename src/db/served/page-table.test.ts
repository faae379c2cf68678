/** The checksum of the whole from the hashes of its pages, and what may change it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { CorruptionError } from "../../base/errors.ts";
import { xorHash, zeroHash } from "../../base/hash.ts";
import { Prng } from "../../base/prng.ts";
import type { Pgno } from "../../vocabulary.ts";
import { checkChange, PageTable } from "./page-table.ts";
import { isVersionAtLeast } from "./platform.ts";

function change(pageCount: number, pgnos: number[], seed = 1) {
  const prng = new Prng(seed);
  const hashes = Uint32Array.from({ length: pgnos.length * 2 }, () => prng.u32());
  return { pageCount, pgnos: Uint32Array.from(pgnos), hashes };
}

test("the checksum is the XOR of all hashes, also after shrinking, and is foretold", () => {
  const prng = new Prng(4);
  const table = new PageTable(4096);
  for (let i = 0; i < 300; i++) {
    const before = table.pageCount;
    const pageCount = prng.integer(1, 2000);
    const pgnos: number[] = [];
    for (let p = 1; p <= pageCount; p++) if (p > before || prng.chance(0.05)) pgnos.push(p);
    if (pgnos.length === 0) pgnos.push(1);
    const next = change(pageCount, pgnos, i);
    checkChange(next, table);
    const foretold = table.checksumAfter(next);
    const copy = table.clone();
    table.apply(next);
    let sum = zeroHash;
    for (let p = 1; p <= 2100; p++) sum = xorHash(sum, table.hashOf(p));
    assert.deepEqual(table.checksum(), sum);
    assert.deepEqual(foretold, sum);
    copy.apply(next);
    assert.deepEqual(copy.checksum(), sum);
  }
});

test("a change that leaves content to chance is refused", () => {
  const table = new PageTable(4096);
  table.apply(change(3, [1, 2, 3]));
  const refuses = (pageCount: number, pgnos: number[]) =>
    assert.throws(() => checkChange(change(pageCount, pgnos), table), CorruptionError);
  refuses(3, []);
  refuses(3, [0]);
  refuses(3, [2, 1]);
  refuses(3, [2, 2]);
  refuses(3, [4]);
  refuses(5, [1, 5]);
  checkChange(change(5, [1, 4, 5]), table);
  checkChange(change(2, [1]), table);
});

test("the lock page at 1 GiB has no content and is never part of a change", () => {
  const table = new PageTable(4096);
  table.resize(262_143);
  const refuses = (pgnos: number[]) =>
    assert.throws(() => checkChange(change(262_146, pgnos), table), CorruptionError);
  checkChange(change(262_146, [262_144, 262_146]), table);
  refuses([262_144, 262_145, 262_146]);
  refuses([262_144]);
  table.apply(change(262_146, [262_144, 262_146]));
  assert.deepEqual(table.hashOf(262_145), zeroHash);
  assert.equal(table.matches(262_145 as Pgno, zeroHash), true);
});

test("versions are compared as numbers", () => {
  const check = (a: string, expected: boolean) =>
    assert.equal(isVersionAtLeast(a, "3.51.3"), expected, a);
  check("3.51.3", true);
  check("3.51.2", false);
  check("3.9.9", false);
  check("3.100.0", true);
  check("4.0", true);
  check("0", false);
});
