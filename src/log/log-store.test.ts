import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { crc32 } from "node:zlib";
import { type Disk, RealDisk } from "../host/disk.ts";
import { encodeSettings } from "../raft/rule/settings.ts";
import { defaultSettings, lsn, nodeId, term } from "../vocabulary.ts";
import { decodeBase, encodeBase } from "./base-record.ts";
import { LogStore } from "./log-store.ts";
import { TailCache } from "./tail-cache.ts";
import {
  chained,
  endOf,
  filled,
  initial,
  lineOf,
  membershipDraft,
  membershipOf,
  stateOf,
} from "./test-log.ts";

const noHardState = undefined;

function settingsDraft(t: number, copiesTimeoutMs: number) {
  const body = encodeSettings({ ...defaultSettings, copiesTimeoutMs });
  return { term: t, kind: "settings" as const, body };
}

async function withDisk(work: (disk: Disk, dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "paceline-log-"));
  try {
    await work(new RealDisk(), `${dir}/n/log`);
  } finally {
    await rm(dir, { recursive: true });
  }
}

async function append(log: LogStore, ...drafts: Parameters<typeof chained>[1]): Promise<void> {
  await log.persist({ hardState: noHardState, entries: chained(endOf(log), drafts) });
}

describe("log", () => {
  test("what was persisted is there after a restart", () =>
    withDisk(async (disk, dir) => {
      const log = await LogStore.open(disk, dir, initial);
      assert.deepEqual(log.hardState, { term: 0, vote: undefined, born: false });
      const hardState = { term: term(2), vote: nodeId("b"), born: true };
      const entries = chained(endOf(log), [
        { term: 1, kind: "noop" },
        { term: 1 },
        membershipDraft(2, "a", "b"),
      ]);
      await log.persist({ hardState, entries });
      await append(log, { term: 2, body: new Uint8Array(0) });
      const before = await stateOf(log);
      await log.close();
      const again = await LogStore.open(disk, dir, { ...initial, lsn: lsn(77) });
      assert.deepEqual(await stateOf(again), before);
      assert.deepEqual(again.hardState, hardState);
      assert.deepEqual(again.termRuns(), [
        { from: 1, term: 1 },
        { from: 3, term: 2 },
      ]);
      assert.deepEqual(again.memberships(), [{ lsn: 3, membership: membershipOf("a", "b") }]);
      assert.deepEqual(again.base, initial);
      assert.equal(again.firstLsn, 1);
      await again.close();
    }));

  test("read and cached agree, whatever is asked for", () =>
    withDisk(async (disk, dir) => {
      const log = await LogStore.open(disk, dir, initial, { segmentBytesMax: 3_000 });
      for (const count of [1, 3, 7, 1, 1, 12]) {
        await log.persist({
          hardState: noHardState,
          entries: filled(endOf(log), { count, bytes: 211 }),
        });
      }
      const all = log.cached(lsn(1), lsn(26), 1e9)!;
      assert.equal(all.length, 25);
      await log.close();
      const cold = await LogStore.open(disk, dir, initial);
      assert.equal(cold.cached(lsn(1), lsn(2), 1e9), undefined);
      for (let from = 1; from <= 25; from++) {
        for (const to of [from, from + 1, from + 5, 26, 99]) {
          for (const bytesMax of [0, 500, 1e9]) {
            const got = await cold.read(lsn(from), lsn(to), bytesMax);
            assert.deepEqual(
              got.map(lineOf),
              all.slice(from - 1, from - 1 + got.length).map(lineOf),
            );
            assert.ok(from >= to ? got.length === 0 : got.length >= 1 && got.length <= to - from);
            for (const entry of got) assert.deepEqual(entry.body, all[entry.lsn - 1]!.body);
          }
        }
        assert.equal(await cold.chainAt(lsn(from)), all[from - 1]!.chain);
        assert.equal(cold.termAt(lsn(from)), 1);
      }
      assert.deepEqual(await cold.read(lsn(0), lsn(9), 1e9), []);
      assert.deepEqual(await cold.read(lsn(26), lsn(27), 1e9), []);
      assert.equal(await cold.chainAt(lsn(0)), initial.chain);
      assert.equal(await cold.chainAt(lsn(26)), undefined);
      assert.equal(cold.termAt(lsn(26)), undefined);
      await cold.close();
    }));

  test("the cache is bounded by bytes and keeps the newest", () => {
    const cache = new TailCache(5_000);
    const entries = filled(initial, { count: 3_000, bytes: 800 });
    for (const entry of entries) cache.push([entry]);
    assert.equal(cache.slice(lsn(2_995), lsn(3_001), 1e9), undefined);
    assert.deepEqual(cache.slice(lsn(2_996), lsn(3_001), 1e9), entries.slice(2_995));
    assert.equal(cache.slice(lsn(2_996), lsn(3_001), 1_600)?.length, 2);
    assert.equal(cache.slice(lsn(3_000), lsn(3_001), 0)?.length, 1);
    assert.equal(cache.slice(lsn(3_001), lsn(3_009), 1e9), undefined);
    assert.equal(cache.slice(lsn(2_998), lsn(2_998), 1e9), undefined);
  });

  test("entries replace everything from the first one on", () =>
    withDisk(async (disk, dir) => {
      const log = await LogStore.open(disk, dir, initial, { segmentBytesMax: 400 });
      for (let i = 0; i < 8; i++) await append(log, { term: 1 }, membershipDraft(1, "a", `x${i}`));
      const fourth = (await log.read(lsn(4), lsn(5), 1))[0]!;
      const entries = chained(fourth, [{ term: 3 }, { term: 3 }]);
      await log.persist({ hardState: noHardState, entries });
      assert.deepEqual(log.last, { lsn: 6, term: 3 });
      assert.deepEqual(log.cached(lsn(5), lsn(99), 1e9)!.map(lineOf), entries.map(lineOf));
      assert.equal(log.memberships().length, 2);
      const before = await stateOf(log);
      await log.close();
      const again = await LogStore.open(disk, dir, initial, { segmentBytesMax: 400 });
      assert.deepEqual(await stateOf(again), before);
      assert.equal(again.memberships().length, 2);
      // And from the very first entry on, twice.
      for (const t of [4, 5]) {
        await again.persist({ hardState: noHardState, entries: chained(initial, [{ term: t }]) });
        assert.deepEqual(again.last, { lsn: 1, term: t });
      }
      await append(again, { term: 5 });
      await again.close();
      const third = await LogStore.open(disk, dir, initial);
      assert.deepEqual((await stateOf(third)).entries.length, 2);
      assert.deepEqual(third.termRuns(), [{ from: 1, term: 5 }]);
      await third.close();
    }));

  test("a prefix goes in whole segments, and what replaced it is not lost with it", () =>
    withDisk(async (disk, dir) => {
      const options = { segmentBytesMax: 300 };
      const log = await LogStore.open(disk, dir, initial, options);
      await append(log, membershipDraft(1, "a", "b"), settingsDraft(1, 33));
      for (let i = 0; i < 10; i++) await append(log, { term: 1, body: new Uint8Array(100) });
      const sixth = (await log.read(lsn(6), lsn(7), 1))[0]!;
      await log.persist({ hardState: noHardState, entries: chained(sixth, [{ term: 2 }]) });
      for (let i = 0; i < 6; i++) await append(log, { term: 2, body: new Uint8Array(150) });
      const bytesBefore = log.bytes;
      assert.equal((await log.dropBefore(lsn(2))).lsn, 0, "nothing whole to drop");
      const base = await log.dropBefore(lsn(10));
      assert.ok(base.lsn >= 6 && base.lsn < 10, `base ${base.lsn}`);
      assert.deepEqual(base.membership, membershipOf("a", "b"));
      assert.deepEqual(log.base, base);
      assert.deepEqual(log.memberships(), []);
      assert.equal(base.settings.copiesTimeoutMs, 33);
      assert.deepEqual(log.settings(), []);
      assert.equal(log.termAt(base.lsn), base.term);
      assert.equal(log.termAt(lsn(base.lsn - 1)), undefined);
      assert.equal(log.termRuns()[0]!.from, base.lsn + 1);
      assert.ok(log.bytes < bytesBefore);
      assert.deepEqual(await log.read(base.lsn, lsn(99), 1e9), []);
      assert.equal(log.cached(base.lsn, lsn(99), 1e9), undefined);
      const before = await stateOf(log);
      const names = await disk.list(dir);
      await log.close();
      const again = await LogStore.open(disk, dir, initial, options);
      assert.deepEqual(await stateOf(again), before);
      assert.deepEqual(await disk.list(dir), names);
      await again.dropBefore(lsn(again.last.lsn + 1));
      assert.ok(again.last.lsn > again.base.lsn, "the last segment stays");
      await append(again, { term: 2 });
      await again.close();
    }));

  test("settings are known after a restart, and go with the entries that had them", () =>
    withDisk(async (disk, dir) => {
      const log = await LogStore.open(disk, dir, initial);
      await append(log, { term: 1 }, settingsDraft(1, 44));
      const first = (await log.read(lsn(1), lsn(2), 1))[0]!;
      await append(log, settingsDraft(1, 55));
      await log.close();
      const again = await LogStore.open(disk, dir, initial);
      const timeouts = () => again.settings().map((s) => `${s.lsn} ${s.settings.copiesTimeoutMs}`);
      assert.deepEqual(timeouts(), ["2 44", "3 55"]);
      await again.persist({ hardState: noHardState, entries: chained(first, [{ term: 2 }]) });
      assert.deepEqual(timeouts(), []);
      await again.close();
    }));

  test("a base without settings, of an earlier version, means the default ones", () => {
    const bytes = encodeBase({ snapshot: initial, firstSegment: 1 });
    const old = bytes.slice(0, bytes.byteLength - 4 - encodeSettings(initial.settings).byteLength);
    const view = new DataView(old.buffer);
    view.setUint32(8, 1);
    view.setUint32(12, crc32(old.subarray(16), crc32(old.subarray(0, 12))));
    assert.deepEqual(decodeBase(old, "base").snapshot.settings, defaultSettings);
  });

  test("after a reset the log is empty and starts elsewhere", () =>
    withDisk(async (disk, dir) => {
      const log = await LogStore.open(disk, dir, initial);
      await append(log, { term: 1 }, { term: 1 });
      const hardState = { term: term(9), vote: nodeId("a"), born: true };
      await log.persist({ hardState, entries: [] });
      const base = {
        lsn: lsn(1_000),
        term: term(7),
        chain: "00ff00ff00ff00ff",
        membership: membershipOf("z"),
        settings: { ...defaultSettings, copiesTimeoutMs: 77 },
      };
      await log.reset(base);
      assert.deepEqual(log.last, { lsn: 1_000, term: 7 });
      assert.equal(log.lastChain, base.chain);
      assert.equal(log.bytes, 0);
      await append(log, { term: 8 });
      await log.close();
      const again = await LogStore.open(disk, dir, initial);
      assert.deepEqual(again.base, base);
      assert.deepEqual(again.last, { lsn: 1_001, term: 8 });
      assert.deepEqual(again.hardState, hardState);
      await again.close();
    }));
});
