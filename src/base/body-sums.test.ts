// Sums made in pieces are those made at once.

import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import { crc32InTurns, crc32Of, crc32With, largeBodyBytes, sha256Of, summed } from "./body-sums.ts";
import { Prng } from "./prng.ts";

test("sums of a large body, and of what is put before it", async () => {
  const prng = new Prng(9);
  for (const more of [0, 1, 12_345, 2 * largeBodyBytes]) {
    const body = new Uint8Array(largeBodyBytes + more);
    for (let at = 0; at < body.byteLength; at += 97) body[at] = prng.u32();
    const before = crc32("what stands before");
    const expected = [hash("sha256", body, "hex"), crc32(body), crc32(body, before)];
    assert.deepEqual([sha256Of(body), crc32Of(body), crc32With(before, body)], expected);
    await summed(body);
    assert.deepEqual([sha256Of(body), crc32Of(body), crc32With(before, body)], expected);
    assert.equal(await crc32InTurns(body), expected[1]);
  }
});

test("summing a large body lets others have their turn", async () => {
  const body = new Uint8Array(8 * largeBodyBytes);
  let turns = 0;
  const timer = setImmediate(function count() {
    turns++;
    setImmediate(count).unref();
  });
  await summed(body);
  clearImmediate(timer);
  assert.ok(turns >= 3, `${turns} turns`);
});
