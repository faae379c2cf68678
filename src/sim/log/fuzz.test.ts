/** Random and mutated bytes in every file of a log: opening it ends, with a log or with CorruptionError. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { crc32 } from "node:zlib";
import { CorruptionError } from "../../base/errors.ts";
import { Prng } from "../../base/prng.ts";
import { decodeSlot } from "../../log/hard-state.ts";
import { LogStore } from "../../log/log-store.ts";
import { chained, endOf, initial, membershipDraft, stateOf } from "../../log/test-log.ts";
import { lsn, term } from "../../vocabulary.ts";
import { SimDisk } from "../disk.ts";

const files = ["base", "hard-state", "000000000001.segment", "000000000002.segment"];

async function someLog(): Promise<SimDisk> {
  const disk = new SimDisk();
  const log = await LogStore.open(disk, "/log", initial, { segmentBytesMax: 400 });
  for (let i = 0; i < 4; i++) {
    const drafts = [{ term: 1 }, membershipDraft(1, "a"), { term: 1, body: new Uint8Array(90) }];
    await log.persist({ hardState: undefined, entries: chained(endOf(log), drafts) });
  }
  await log.persist({ hardState: { term: term(1), vote: undefined, born: true }, entries: [] });
  disk.kill();
  return disk;
}

/** Opens and reads all; true when that went well, false for CorruptionError; anything else fails the test. */
async function opens(disk: SimDisk, what: string): Promise<boolean> {
  try {
    await stateOf(await LogStore.open(disk, "/log", initial));
    return true;
  } catch (error) {
    assert.ok(error instanceof CorruptionError, `${what}: ${error}`);
    return false;
  }
}

function mutate(bytes: Uint8Array, prng: Prng): Uint8Array {
  const at = prng.integer(0, bytes.byteLength);
  const length = prng.integer(1, 40);
  switch (prng.integer(0, 6)) {
    case 0:
      return bytes.slice(0, at);
    case 1:
      bytes[at]! ^= 1 << prng.integer(0, 8);
      return bytes;
    case 2:
      return bytes.fill(prng.integer(0, 256), at, at + length);
    case 3:
      return Uint8Array.from([...bytes.slice(0, at), ...bytes.slice(at + length)]);
    case 4:
      return Uint8Array.from([...bytes.slice(0, at), ...random(length, prng), ...bytes.slice(at)]);
    default:
      return bytes.copyWithin(at, prng.integer(0, bytes.byteLength), at + length);
  }
}

function random(length: number, prng: Prng): Uint8Array {
  return Uint8Array.from({ length }, () => prng.integer(0, 256));
}

describe("files of the log, fuzzed", () => {
  test("mutated", async () => {
    const disk = await someLog();
    const outcomes = { good: 0, bad: 0 };
    for (let seed = 0; seed < 3_000; seed++) {
      const prng = new Prng(seed);
      const twin = disk.fork();
      for (let n = prng.integer(1, 3); n > 0; n--) {
        twin.damage(`/log/${files[prng.integer(0, files.length)]}`, (bytes) => mutate(bytes, prng));
      }
      outcomes[(await opens(twin, `seed ${seed}`)) ? "good" : "bad"] += 1;
    }
    assert.ok(outcomes.good > 100 && outcomes.bad > 1_000, JSON.stringify(outcomes));
  });

  test("random", async () => {
    const disk = await someLog();
    for (let seed = 0; seed < 400; seed++) {
      const prng = new Prng(seed);
      const twin = disk.fork();
      const bytes = random(prng.integer(0, 5_000), prng);
      twin.damage(`/log/${files[prng.integer(0, files.length)]}`, () => bytes);
      await opens(twin, `seed ${seed}`);
    }
  });

  test("with checksums that are right again", async () => {
    // The fields of headers and records, set to anything: what a checksum no longer guards must be checked itself.
    const disk = await someLog();
    for (let seed = 0; seed < 2_000; seed++) {
      const prng = new Prng(seed);
      const twin = disk.fork();
      const file = files[prng.integer(0, files.length)]!;
      const header = file.endsWith("segment") ? 48 : 512;
      twin.damage(`/log/${file}`, (bytes) => {
        const end = Math.min(bytes.byteLength, header);
        const at = prng.integer(16, end);
        bytes.set(random(prng.integer(1, 9), prng).subarray(0, end - at), at);
        const covered = file === "base" ? bytes.byteLength : header;
        const crc = crc32(bytes.subarray(16, covered), crc32(bytes.subarray(0, 12)));
        new DataView(bytes.buffer).setUint32(12, crc);
        if (file === "hard-state") bytes.copyWithin(4096, 0, 512);
        return bytes;
      });
      await opens(twin, `seed ${seed} ${file}`);
    }
    assert.equal(decodeSlot(new Uint8Array(512)), undefined);
    assert.equal((await LogStore.open(disk, "/log", initial)).last.lsn, lsn(12));
  });
});
