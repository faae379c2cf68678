/** The simulated disk against the real one where they must agree, and its power cuts where only it can. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { StorageError } from "../base/errors.ts";
import { Prng } from "../base/prng.ts";
import { type Disk, RealDisk } from "../host/disk.ts";
import { SimDisk } from "./disk.ts";

const bytes = (...values: number[]) => Uint8Array.from(values);
const text = (s: string) => new TextEncoder().encode(s);
const seeds = Array.from({ length: 60 }, (_, i) => i);

async function withBoth(work: (disk: Disk, dir: string) => Promise<void>): Promise<void> {
  await work(new SimDisk(), "/n");
  const dir = await mkdtemp(join(tmpdir(), "paceline-disk-"));
  try {
    await work(new RealDisk(), `${dir}/n/m`);
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** A disk with the durable file /n/f, and it. */
async function withFile(content: Uint8Array) {
  const disk = new SimDisk();
  await disk.makeDirectory("/n");
  const file = await disk.open("/n/f", "create");
  await file.write(0, [content]);
  await file.syncData();
  await disk.syncDirectory("/n");
  return { disk, file };
}

/** What a power cut may make of a file, over many of them. */
async function outcomes(make: () => Promise<SimDisk>): Promise<Set<string>> {
  const seen = new Set<string>();
  for (const seed of seeds) {
    const disk = await make();
    disk.crash(new Prng(seed));
    const there = await disk.exists("/n/f");
    seen.add(there ? Buffer.from(await disk.readFile("/n/f")).toString() : "(gone)");
  }
  return seen;
}

describe("disk", () => {
  test("files", () =>
    withBoth(async (disk, dir) => {
      await disk.makeDirectory(dir);
      await disk.makeDirectory(dir);
      const file = await disk.open(`${dir}/f`, "create");
      await file.write(2, [bytes(1, 2), bytes(), bytes(3)]);
      assert.equal(await file.size(), 5);
      assert.deepEqual(await file.read(0, 99), bytes(0, 0, 1, 2, 3));
      assert.deepEqual(await file.read(3, 1), bytes(2));
      assert.deepEqual(await file.read(7, 1), bytes());
      await file.truncate(3);
      await file.syncData();
      await file.close();
      assert.deepEqual(await disk.readFile(`${dir}/f`), bytes(0, 0, 1));
      const again = await disk.open(`${dir}/f`, "open");
      await again.write(1, [bytes(9)]);
      await again.close();
      assert.deepEqual(await disk.readFile(`${dir}/f`), bytes(0, 9, 1));
      await (await disk.open(`${dir}/f`, "create")).close();
      assert.equal((await disk.readFile(`${dir}/f`)).byteLength, 0);
    }));

  test("many parts in one write", () =>
    withBoth(async (disk, dir) => {
      await disk.makeDirectory(dir);
      const file = await disk.open(`${dir}/f`, "create");
      const parts = Array.from({ length: 3_000 }, (_, i) => bytes(i & 255, i >>> 8));
      await file.write(0, parts);
      assert.deepEqual(await file.read(5_998, 9), bytes(2_999 & 255, 2_999 >>> 8));
      await file.close();
    }));

  test("names", () =>
    withBoth(async (disk, dir) => {
      await disk.makeDirectory(dir);
      assert.deepEqual(await disk.list(dir), []);
      for (const name of ["b", "a"]) await disk.replaceFile(`${dir}/${name}`, text(name));
      assert.deepEqual(await disk.list(dir), ["a", "b"]);
      await disk.rename(`${dir}/a`, `${dir}/b`);
      await disk.syncDirectory(dir);
      assert.deepEqual(await disk.list(dir), ["b"]);
      assert.deepEqual(await disk.readFile(`${dir}/b`), text("a"));
      assert.equal(await disk.exists(`${dir}/a`), false);
      assert.equal(await disk.exists(`${dir}/b`), true);
      assert.equal(await disk.exists(dir), true);
      await disk.remove(`${dir}/b`);
      await disk.remove(`${dir}/b`);
      assert.deepEqual(await disk.list(dir), []);
    }));

  test("failures are StorageErrors", () =>
    withBoth(async (disk, dir) => {
      await disk.makeDirectory(dir);
      await assert.rejects(disk.open(`${dir}/none`, "open"), StorageError);
      await assert.rejects(disk.readFile(`${dir}/none`), StorageError);
      await assert.rejects(disk.open(`${dir}/none/f`, "create"), StorageError);
      await assert.rejects(disk.rename(`${dir}/none`, `${dir}/f`), StorageError);
    }));
});

describe("power cut", () => {
  test("what was synced stays", async () => {
    const seen = await outcomes(async () => (await withFile(text("old"))).disk);
    assert.deepEqual([...seen], ["old"]);
  });

  test("what was not synced is old, new, or a mix", async () => {
    const seen = await outcomes(async () => {
      const { disk, file } = await withFile(text("old"));
      await file.write(0, [text("NEW")]);
      return disk;
    });
    for (const content of ["old", "NEW", "Nld", "NEd"]) assert.ok(seen.has(content), content);
  });

  test("a size in doubt is any in between", async () => {
    const seen = await outcomes(async () => {
      const { disk, file } = await withFile(text("old"));
      await file.write(3, [text("123456")]);
      return disk;
    });
    const sizes = new Set([...seen].map((content) => content.length));
    assert.ok(sizes.has(3) && sizes.has(9) && sizes.size > 4, [...sizes].join());
  });

  test("a name that was not synced may be gone, and a removed one back", async () => {
    const made = await outcomes(async () => {
      const disk = new SimDisk();
      await disk.makeDirectory("/n");
      const file = await disk.open("/n/f", "create");
      await file.write(0, [text("x")]);
      await file.syncData();
      return disk;
    });
    assert.deepEqual([...made].sort(), ["(gone)", "x"]);
    const removed = await outcomes(async () => {
      const { disk } = await withFile(text("x"));
      await disk.remove("/n/f");
      return disk;
    });
    assert.deepEqual([...removed].sort(), ["(gone)", "x"]);
  });

  test("a replaced file is old or new at every effect", async () => {
    for (let cut = 0; cut < 6; cut++) {
      const seen = await outcomes(async () => {
        const { disk } = await withFile(text("old"));
        const first = disk.effects;
        disk.faultOf = (_, index) => (index - first === cut ? "power" : undefined);
        await disk.replaceFile("/n/f", text("NEW")).catch(() => undefined);
        return disk;
      });
      for (const content of seen) assert.ok(content === "old" || content === "NEW", content);
      assert.equal(seen.has("old"), cut < 5);
    }
  });

  test("what a failed sync did not store is read until the power goes, and a second sync changes nothing", async () => {
    const { disk, file } = await withFile(text("old"));
    await file.write(0, [text("NEW")]);
    disk.faultOf = () => "EIO";
    await assert.rejects(file.syncData(), StorageError);
    disk.faultOf = () => undefined;
    await file.syncData();
    assert.deepEqual(await file.read(0, 3), text("NEW"));
    for (const seed of seeds) {
      const twin = disk.fork();
      twin.crash(new Prng(seed));
      assert.deepEqual(await twin.readFile("/n/f"), text("old"));
    }
    // Written again, it is stored.
    await file.write(0, [text("NEW")]);
    await file.syncData();
    disk.crash(new Prng(1));
    assert.deepEqual(await disk.readFile("/n/f"), text("NEW"));
    await assert.rejects(file.read(0, 1), StorageError, "handles do not survive");
  });

  test("equal seeds give equal endings", async () => {
    const end = async () => {
      const { disk, file } = await withFile(new Uint8Array(5_000).fill(1));
      await file.write(2_000, [new Uint8Array(9_000).fill(2)]);
      disk.crash(new Prng(42));
      return disk.readFile("/n/f");
    };
    assert.deepEqual(await end(), await end());
  });
});
