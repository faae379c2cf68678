/** Where the log ends: a torn last batch is cut, damage anywhere else is refused. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CorruptionError } from "../../base/errors.ts";
import { Prng } from "../../base/prng.ts";
import { LogStore } from "../../log/log-store.ts";
import { chained, endOf, filled, initial } from "../../log/test-log.ts";
import { lsn, nodeId, term } from "../../vocabulary.ts";
import { SimDisk } from "../disk.ts";

const path = "/log/000000000001.segment";

/** A log of three batches, not closed unless asked for; where each batch starts, and the end. */
async function threeBatches(stop?: string): Promise<{ disk: SimDisk; offsets: number[] }> {
  const disk = new SimDisk();
  const log = await LogStore.open(disk, "/log", initial);
  const offsets = [48];
  for (const count of [1, 3, 2]) {
    await log.persist({ hardState: undefined, entries: filled(endOf(log), { count, bytes: 60 }) });
    offsets.push(log.bytes);
  }
  if (stop === "clean") await log.close();
  disk.kill();
  return { disk, offsets };
}

async function damaged(change: (bytes: Uint8Array) => Uint8Array): Promise<SimDisk> {
  const { disk } = await threeBatches();
  disk.damage(path, change);
  return disk;
}

async function refuses(disk: SimDisk, what: string): Promise<void> {
  await assert.rejects(LogStore.open(disk, "/log", initial), (error: Error) => {
    assert.ok(error instanceof CorruptionError, `${what}: ${error}`);
    assert.match(error.message, /\/log\/\S+.*offset \d+.*;/, what);
    return true;
  });
}

async function cutsTo(disk: SimDisk, last: number, what: string): Promise<void> {
  const lines: string[] = [];
  const onRecovered = (line: string) => void lines.push(line);
  const log = await LogStore.open(disk, "/log", initial, { onRecovered });
  assert.equal(log.last.lsn, last, what);
  assert.ok(lines.length <= 1, what);
  const [next] = chained(endOf(log), [{ term: 1 }]);
  await log.persist({ hardState: undefined, entries: [next!] });
  disk.crash(new Prng(1));
  const again = await LogStore.open(disk, "/log", initial);
  assert.deepEqual(await again.read(next!.lsn, lsn(99), 1), [next], what);
}

describe("end of the log", () => {
  test("the last batch torn at every byte: cut short, zeros, rubbish", async () => {
    const { offsets } = await threeBatches();
    const [, , start, end] = offsets as [number, number, number, number];
    for (let at = start; at < end; at++) {
      await cutsTo(await damaged((bytes) => bytes.slice(0, at)), 4, `cut at ${at}`);
      // A byte that is zero anyway tears nothing.
      const rubbish = (bytes: Uint8Array) => bytes.fill(0xa5, at);
      await cutsTo(await damaged(rubbish), 4, `rubbish from ${at}`);
      const zeros = await damaged((bytes) => bytes.fill(0, at));
      const { disk } = await threeBatches();
      const whole = await disk.readFile(path);
      const isWhole = whole.slice(at).every((byte) => byte === 0);
      await cutsTo(zeros, isWhole ? 6 : 4, `zeros from ${at}`);
    }
    assert.equal((await LogStore.open(await damaged((b) => b), "/log", initial)).last.lsn, 6);
  });

  test("a tail that was cut does not come back", async () => {
    // It would lie behind a shorter batch that is torn next, and make that one look damaged.
    for (const sealed of [true, false]) {
      const { disk } = await threeBatches(sealed ? "clean" : undefined);
      const whole = (await disk.readFile(path)).byteLength;
      disk.damage(path, (bytes) =>
        Uint8Array.from([...bytes, ...new Uint8Array(2_000).fill(0xa5)]),
      );
      const log = await LogStore.open(disk, "/log", initial);
      assert.equal(log.bytes, sealed ? whole : whole + 32);
      for (let seed = 0; seed < 10; seed++) {
        const twin = disk.fork();
        twin.crash(new Prng(seed));
        assert.equal((await twin.readFile(path)).byteLength, log.bytes);
      }
    }
  });

  test("the only batch of a segment torn at every byte", async () => {
    const { offsets } = await threeBatches();
    for (let at = 0; at < offsets[1]!; at += 7) {
      await cutsTo(await damaged((bytes) => bytes.slice(0, at)), 0, `cut at ${at}`);
    }
  });

  test("a flipped bit in any earlier batch, at every byte", async () => {
    const { offsets } = await threeBatches();
    for (let at = 0; at < offsets[2]!; at++) {
      const flip = (bytes: Uint8Array) => {
        bytes[at]! ^= 1 << (at % 8);
        return bytes;
      };
      await refuses(await damaged(flip), `flip at ${at}`);
    }
  });

  test("after a clean stop, or a restart, the last batch is an earlier one too", async () => {
    for (const stop of ["clean", "restarted"] as const) {
      const { disk, offsets } = await threeBatches(stop);
      if (stop === "restarted") {
        await LogStore.open(disk, "/log", initial);
        disk.kill();
      }
      for (let at = offsets[2]!; at < offsets[3]!; at++) {
        const twin = disk.fork();
        twin.damage(path, (bytes) => {
          bytes[at]! ^= 0x10;
          return bytes;
        });
        await refuses(twin, `${stop}, flip at ${at}`);
      }
    }
  });

  test("the last batch of a segment that another one follows is not torn but damaged", async () => {
    const { disk, offsets } = await threeBatches();
    const log = await LogStore.open(disk, "/log", initial, { segmentBytesMax: 100 });
    await log.persist({ hardState: undefined, entries: chained(endOf(log), [{ term: 1 }]) });
    disk.kill();
    for (const size of [offsets[3]! - 1, offsets[3]!, offsets[2]!, offsets[1]!, 48, 20, 0]) {
      const twin = disk.fork();
      twin.damage(path, (bytes) => bytes.slice(0, size));
      if (size === offsets[3])
        assert.equal((await LogStore.open(twin, "/log", initial)).last.lsn, 7);
      else await refuses(twin, `cut at ${size}`);
      const withHeaderOnly = disk.fork();
      withHeaderOnly.damage("/log/000000000002.segment", (bytes) => bytes.slice(0, 48));
      withHeaderOnly.damage(path, (bytes) => bytes.slice(0, size));
      if (size >= offsets[3]!) continue;
      if (offsets.includes(size)) continue;
      await refuses(withHeaderOnly, `cut at ${size}, empty segment behind`);
    }
  });

  test("a torn batch that carries a copy of the log is still only torn", async () => {
    const { disk } = await threeBatches();
    const copy = await disk.readFile(path);
    const log = await LogStore.open(disk, "/log", initial);
    const entries = chained(endOf(log), [{ term: 1, body: copy }]);
    const start = log.bytes;
    await log.persist({ hardState: undefined, entries });
    disk.kill();
    disk.damage(path, (bytes) => {
      bytes[start + 10]! ^= 1;
      return bytes;
    });
    await cutsTo(disk, 6, "copy");
  });

  test("many things that look like batches do not make the search slow", {
    timeout: 30_000,
  }, async () => {
    const { disk } = await threeBatches();
    const log = await LogStore.open(disk, "/log", initial);
    const body = new TextEncoder().encode("BTCH".repeat(700_000));
    const start = log.bytes;
    await log.persist({ hardState: undefined, entries: chained(endOf(log), [{ term: 1, body }]) });
    disk.kill();
    disk.damage(path, (bytes) => {
      bytes[start + 10]! ^= 1;
      return bytes;
    });
    assert.equal((await LogStore.open(disk, "/log", initial)).last.lsn, 6);
  });

  test("hard state survives any damage to one slot, and is not made up without both", async () => {
    const disk = new SimDisk();
    const log = await LogStore.open(disk, "/log", initial);
    for (let t = 1; t <= 3; t++) {
      await log.persist({
        hardState: { term: term(t), vote: nodeId(`n${t}`), born: true },
        entries: [],
      });
    }
    disk.kill();
    const flip = (at: number) => (bytes: Uint8Array) => {
      bytes[at]! ^= 1 << (at % 8);
      return bytes;
    };
    for (const slot of [0, 4096]) {
      for (let at = slot; at < slot + 512; at += at < slot + 60 ? 1 : 41) {
        const twin = disk.fork();
        twin.damage("/log/hard-state", flip(at));
        const again = await LogStore.open(twin, "/log", initial);
        assert.deepEqual(again.hardState, { term: 3, vote: "n3", born: true }, `flip at ${at}`);
        // Repaired: now the other one may go.
        twin.kill();
        twin.damage("/log/hard-state", flip(4096 - slot + 100));
        assert.equal((await LogStore.open(twin, "/log", initial)).hardState.term, 3);
      }
    }
    disk.damage("/log/hard-state", flip(100));
    disk.damage("/log/hard-state", flip(4196));
    await refuses(disk, "both slots");
  });

  test("a flipped bit anywhere in the base record", async () => {
    const { disk } = await threeBatches();
    const size = (await disk.readFile("/log/base")).byteLength;
    for (let at = 0; at < size; at++) {
      const twin = disk.fork();
      twin.damage("/log/base", (bytes) => {
        bytes[at]! ^= 1 << (at % 8);
        return bytes;
      });
      await assert.rejects(LogStore.open(twin, "/log", initial), CorruptionError, `flip at ${at}`);
    }
  });
});
