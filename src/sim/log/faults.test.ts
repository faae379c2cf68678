/** The log on a simulated disk: what it asks of the disk, and what it does when the disk refuses or forgets. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CorruptionError, StorageError } from "../../base/errors.ts";
import { Prng } from "../../base/prng.ts";
import { LogStore } from "../../log/log-store.ts";
import { chained, endOf, initial, lineOf, stateOf } from "../../log/test-log.ts";
import { lsn, term } from "../../vocabulary.ts";
import { SimDisk } from "../disk.ts";

const noHardState = undefined;

async function append(log: LogStore, ...drafts: Parameters<typeof chained>[1]): Promise<void> {
  await log.persist({ hardState: noHardState, entries: chained(endOf(log), drafts) });
}

describe("log on a disk that fails", () => {
  test("an entry that does not continue the chain is refused before anything is written", async () => {
    const disk = new SimDisk();
    const log = await LogStore.open(disk, "/log", initial);
    await append(log, { term: 1 });
    const entries = chained({ lsn: 1, chain: "1234123412341234" }, [{ term: 1 }]);
    const effects = disk.effects;
    await assert.rejects(log.persist({ hardState: noHardState, entries }), CorruptionError);
    assert.equal(disk.effects, effects);
    await append(log, { term: 1 });
    assert.equal(log.last.lsn, 2);
  });

  test("one batch costs one write and one sync", async () => {
    const disk = new SimDisk();
    const log = await LogStore.open(disk, "/log", initial);
    await append(log, { term: 1 });
    const kinds: string[] = [];
    disk.faultOf = ({ kind }) => void kinds.push(kind);
    await append(log, { term: 1 }, { term: 1 }, { term: 1 });
    assert.deepEqual(kinds, ["write", "sync"]);
  });

  test("after a failed write or sync every further call is refused", async () => {
    for (const fault of ["EIO", "ENOSPC"] as const) {
      for (const kind of ["write", "sync"]) {
        const disk = new SimDisk();
        const log = await LogStore.open(disk, "/log", initial);
        await append(log, { term: 1 });
        let failed = false;
        let effects = 0;
        disk.faultOf = (effect) => {
          effects += 1;
          if (failed || effect.kind !== kind) return undefined;
          failed = true;
          return fault;
        };
        await assert.rejects(append(log, { term: 1 }), StorageError);
        assert.equal(log.last.lsn, 1);
        const before = effects;
        await assert.rejects(append(log, { term: 1 }), StorageError);
        await assert.rejects(log.persist({ hardState: log.hardState, entries: [] }), StorageError);
        await assert.rejects(log.reset(initial), StorageError);
        await assert.rejects(log.dropBefore(lsn(1)), StorageError);
        await assert.rejects(log.read(lsn(1), lsn(2), 1), StorageError);
        await log.close();
        assert.equal(effects, before, "nothing was attempted any more");
      }
    }
  });

  test("reads overlap with replacement, dropping and reset", async () => {
    const disk = new SimDisk();
    const log = await LogStore.open(disk, "/log", initial, {
      segmentBytesMax: 500,
      cacheBytesMax: 0,
    });
    for (let i = 0; i < 20; i++) await append(log, { term: 1, body: new Uint8Array(100) });
    const ninth = (await log.read(lsn(9), lsn(10), 1))[0]!;
    const replacing = log.persist({
      hardState: noHardState,
      entries: chained(ninth, [{ term: 2 }]),
    });
    const reads = Array.from({ length: 20 }, (_, i) => log.read(lsn(i + 1), lsn(30), 1e9));
    await replacing;
    for (const entries of await Promise.all(reads)) {
      const last = entries.at(-1)?.lsn ?? 0;
      const isNew = last <= 10 && entries.every((e) => e.term === (e.lsn === 10 ? 2 : 1));
      assert.ok(isNew || entries.every((e) => e.term === 1), "old or new, never a mix");
    }
    const dropping = log.dropBefore(lsn(7));
    const more = Array.from({ length: 10 }, (_, i) => log.read(lsn(i + 1), lsn(30), 1e9));
    const reset = log.reset({ ...initial, lsn: lsn(50) });
    await Promise.all([dropping, reset, ...more]);
    assert.deepEqual(await log.read(lsn(10), lsn(11), 1), []);
    await log.close();
  });

  test("a segment that is dropped while it is read stays open until the read ends", async () => {
    for (let delay = 0; delay < 40; delay++) {
      const disk = new SimDisk();
      const log = await LogStore.open(disk, "/log", initial, {
        segmentBytesMax: 1,
        cacheBytesMax: 0,
      });
      await append(log, { term: 1 }, { term: 1 });
      await append(log, { term: 1 });
      const dropping = log.dropBefore(lsn(3));
      for (let i = 0; i < delay; i++) await undefined;
      // Two reads from the file: a table, then a body.
      const entries = await log.read(lsn(2), lsn(3), 1);
      assert.ok(entries.length === 1 || log.base.lsn === 2);
      await dropping;
      await log.close();
    }
  });

  test("rot that is found while reading is named with file and offset", async () => {
    const disk = new SimDisk();
    const log = await LogStore.open(disk, "/log", initial, { cacheBytesMax: 0 });
    await append(
      log,
      { term: 1, body: new Uint8Array(100) },
      { term: 1, body: new Uint8Array(100) },
    );
    disk.damage("/log/000000000001.segment", (bytes) => {
      bytes[48 + 32 + 56 + 150]! ^= 1;
      return bytes;
    });
    assert.equal((await log.read(lsn(1), lsn(2), 1)).length, 1);
    await assert.rejects(log.read(lsn(2), lsn(3), 1), (error: Error) => {
      assert.ok(error instanceof CorruptionError);
      assert.match(error.message, /000000000001\.segment at offset 236/);
      return true;
    });
  });

  test("a missing file is corruption, not a new log", async () => {
    const make = async () => {
      const disk = new SimDisk();
      const log = await LogStore.open(disk, "/log", initial, { segmentBytesMax: 100 });
      for (let i = 0; i < 4; i++) await append(log, { term: 1, body: new Uint8Array(100) });
      await log.persist({ hardState: { term: term(1), vote: undefined, born: true }, entries: [] });
      await log.close();
      return disk;
    };
    for (const name of ["base", "hard-state", "000000000001.segment", "000000000003.segment"]) {
      const disk = await make();
      await disk.remove(`/log/${name}`);
      await assert.rejects(LogStore.open(disk, "/log", initial), CorruptionError, name);
    }
  });

  test("a random life ends as its model says", async () => {
    for (let seed = 1; seed <= 30; seed++) await randomLife(new Prng(seed));
  });
});

/** Random operations on a log and on a list; they must agree after every restart. */
async function randomLife(prng: Prng): Promise<void> {
  const disk = new SimDisk();
  const options = {
    segmentBytesMax: prng.integer(100, 2_000),
    cacheBytesMax: prng.integer(0, 2_000),
  };
  let log = await LogStore.open(disk, "/log", initial, options);
  let model: string[] = [];
  let t = 1;
  for (let step = 0; step < 60; step++) {
    const what = prng.integer(0, 10);
    if (what <= 5) {
      await persistRandom();
    } else if (what === 6) {
      const before = log.base.lsn;
      const base = await log.dropBefore(lsn(prng.integer(before, log.last.lsn + 2)));
      model = model.slice(base.lsn - before);
    } else if (what === 7 && prng.chance(0.2)) {
      await log.reset({ ...initial, lsn: lsn(prng.integer(0, 99)), term: term(t) });
      model = [];
    } else {
      if (prng.chance(0.5)) await log.close();
      if (prng.chance(0.5)) disk.crash(prng);
      else disk.kill();
      log = await LogStore.open(disk, "/log", initial, options);
    }
    assert.deepEqual((await stateOf(log)).entries, model);
  }

  async function persistRandom(): Promise<void> {
    const keep = prng.chance(0.2) ? prng.integer(0, model.length + 1) : model.length;
    const before = lsn(log.base.lsn + keep);
    if (keep < model.length) t += 1;
    const drafts = Array.from({ length: prng.integer(1, 5) }, () => ({
      term: t,
      body: new Uint8Array(prng.integer(0, 300)),
    }));
    const entries = chained({ lsn: before, chain: (await log.chainAt(before))! }, drafts);
    await log.persist({ hardState: noHardState, entries });
    model = [...model.slice(0, keep), ...entries.map(lineOf)];
  }
}
