/** What page sync ends in: a patch for an open database, or a whole new file. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, renameSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import {
  genesis,
  Leader,
  openBank,
  temporaryDirectory,
  transfer,
} from "../../../test/db/leader.ts";
import { CorruptionError } from "../../base/errors.ts";
import { formatHash, zeroHash } from "../../base/hash.ts";
import { Prng } from "../../base/prng.ts";
import type { Pgno } from "../../vocabulary.ts";
import { layoutOf } from "./layout.ts";
import type { PageTable } from "./page-table.ts";
import { Served } from "./served.ts";
import { StagedPatch } from "./staged-patch.ts";
import type { SyncedImage } from "./staging.ts";
import { StagedImage } from "./staging.ts";

/** Two served databases at the same position, `good` and `other`. */
async function twins(dir: string): Promise<{ good: Served; other: Served; otherDir: string }> {
  const image = genesis(dir);
  const leader = await Leader.start(join(dir, "leader"), image);
  const otherDir = join(dir, "other");
  await Served.create(join(dir, "good"), image);
  await Served.create(otherDir, image);
  const [good, other] = [await Served.open(join(dir, "good")), await Served.open(otherDir)];
  const prng = new Prng(3);
  for (let i = 0; i < 30; i++) {
    const batch = leader.commit((c) => (i === 0 ? openBank(c, 600) : transfer(c, prng, 600)));
    await good.apply(batch.set, batch.position, batch.checksum);
    await other.apply(batch.set, batch.position, batch.checksum);
  }
  leader.connection.close();
  return { good, other, otherDir };
}

type Sink = Pick<StagedImage, "pageHashes" | "write">;

/** Page sync without a network: copies what differs; `pagesMax` stops it early. Returns the number of pages. */
async function sync(
  source: Served,
  sink: Sink,
  pagesMax = Number.POSITIVE_INFINITY,
): Promise<number> {
  const have: PageTable = sink.pageHashes();
  const differing: Pgno[] = [];
  for (let p = 1; p <= source.pageCount; p++) {
    if (!have.matches(p, source.table.hashOf(p))) differing.push(p as Pgno);
  }
  let copied = 0;
  for (let at = 0; at < differing.length && copied < pagesMax; at += 64) {
    const read = await source.readPages(differing.slice(at, at + 64));
    await sink.write(read.pgnos, read.pages);
    copied += read.pgnos.length;
  }
  return copied;
}

function wantedOf(served: Served): SyncedImage {
  const { pageCount } = served;
  return { pageCount, checksum: served.checksum(), position: served.position() };
}

/** Flips one bit each in `count` pages, not in page 1: from another process, for the sake of our locks. */
function flipBits(path: string, count: number, pageCount: number): void {
  const program = `
    const fs = require("node:fs");
    const [path, count, pageCount] = process.argv.slice(1);
    const fd = fs.openSync(path, "r+");
    for (let i = 0; i < count; i++) {
      const at = (2 + Math.floor((i * (pageCount - 2)) / count)) * 4096 - 100 - i;
      const byte = Buffer.alloc(1);
      fs.readSync(fd, byte, 0, 1, at);
      byte[0] ^= 1;
      fs.writeSync(fd, byte, 0, 1, at);
    }`;
  execFileSync(process.execPath, ["-e", program, path, String(count), String(pageCount)]);
}

function integrityOf(path: string): unknown {
  const connection = new DatabaseSync(path, { readOnly: true });
  const result = connection.prepare("PRAGMA integrity_check").get()?.["integrity_check"];
  connection.close();
  return result;
}

test("a patch repairs 100 flipped bits of an open database, found by scrub", async () => {
  using dir = temporaryDirectory();
  const { good, other, otherDir } = await twins(dir.path);
  await other.checkpoint("truncate");
  flipBits(other.path, 100, other.pageCount);
  const { damaged } = await other.scrub();
  assert.equal(damaged.length, 100);
  await assert.rejects(other.readPages(damaged.slice(0, 1)), CorruptionError);

  const patch = await StagedPatch.open(otherDir, other, damaged);
  assert.equal(await sync(good, patch), 100);
  const changed: number[] = [];
  other.onPagesChanged((pgnos) => changed.push(...pgnos));
  await patch.finish(wantedOf(good));
  assert.equal(changed.length, 100);
  assert.deepEqual(other.durablePosition(), good.position());
  assert.deepEqual((await other.scrub()).damaged, []);
  assert.equal(integrityOf(other.path), "ok");
  assert.equal(existsSync(layoutOf(otherDir).patch), false);
  await good.close();
  await other.close();
});

test("damage that was there before opening shows in the checksum, and a patch repairs it", async () => {
  using dir = temporaryDirectory();
  const { good, other, otherDir } = await twins(dir.path);
  const pageCount = other.pageCount;
  await other.close();
  flipBits(layoutOf(otherDir).db, 100, pageCount);
  const damaged = await Served.open(otherDir);
  assert.notDeepEqual(damaged.checksum(), good.checksum());
  const patch = await StagedPatch.open(otherDir, damaged);
  assert.equal(await sync(good, patch), 100);
  const wrong = { ...wantedOf(good), checksum: zeroHash };
  await assert.rejects(patch.finish(wrong), CorruptionError);
  await patch.finish(wantedOf(good));
  assert.deepEqual(damaged.checksum(), good.checksum());
  assert.equal(integrityOf(damaged.path), "ok");
  await damaged.close();
  await good.close();
});

test("an image from nothing, interrupted and resumed, becomes the served database", async () => {
  using dir = temporaryDirectory();
  const { good, other } = await twins(dir.path);
  await other.close();
  const fresh = join(dir.path, "fresh");
  const options = { pageSize: 4096, seed: "nothing" } as const;
  const first = await StagedImage.open(fresh, options);
  const copied = await sync(good, first, 64);
  assert.equal(copied, 64);
  await first.close();
  const second = await StagedImage.open(fresh, options);
  assert.equal(await sync(good, second), good.pageCount - 64);
  await second.finish(wantedOf(good));
  const served = await Served.open(fresh);
  assert.deepEqual(served.checksum(), good.checksum());
  assert.deepEqual(served.position(), good.position());
  assert.equal(integrityOf(served.path), "ok");
  await served.close();
  await good.close();
});

test("an image seeded from a damaged file fetches only what differs, and replaces it with its WAL", async () => {
  using dir = temporaryDirectory();
  const { good, other, otherDir } = await twins(dir.path);
  const pageCount = other.pageCount;
  await other.close();
  const { db, ready } = layoutOf(otherDir);
  flipBits(db, 20, pageCount);
  for (const suffix of ["-wal", "-shm"]) await (await open(db + suffix, "w")).close();
  const image = await StagedImage.open(otherDir, { pageSize: 4096, seed: "served-file" });
  assert.equal(await sync(good, image), 20);
  await assert.rejects(image.finish({ ...wantedOf(good), checksum: zeroHash }), CorruptionError);
  await image.finish(wantedOf(good));
  assert.equal(existsSync(`${db}-wal`), false);

  // A crash between the last fsync and the rename: the next start completes it.
  renameSync(db, ready);
  await (await open(db, "w")).close();
  await (await open(`${db}-wal`, "w")).close();
  const served = await Served.open(otherDir);
  assert.equal(formatHash(served.checksum()), formatHash(good.checksum()));
  await served.close();
  await good.close();
});

test("a file that is not ours is refused", async () => {
  using dir = temporaryDirectory();
  const plain = join(dir.path, "plain");
  await Served.create(plain, { pageSize: 4096, pages: new Uint8Array(8192) });
  await assert.rejects(Served.open(plain), CorruptionError);
  const stranger = join(dir.path, "stranger");
  await Served.create(stranger, genesis(dir.path));
  const connection = new DatabaseSync(layoutOf(plain).db.replace("main", "other"));
  connection.exec("PRAGMA journal_mode = WAL; CREATE TABLE t(x)");
  connection.close();
  renameSync(layoutOf(plain).db.replace("main", "other"), layoutOf(stranger).db);
  await assert.rejects(Served.open(stranger), CorruptionError);
});
