import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { StorageError } from "../base/errors.ts";
import { RealDisk } from "./disk.ts";

test("directories are made with what is missing above them, and only where that can be", async () => {
  const disk = new RealDisk();
  const dir = mkdtempSync(join(tmpdir(), "paceline-disk-"));
  try {
    await disk.makeDirectory(join(dir, "a/b/c"));
    await disk.makeDirectory(join(dir, "a/b/c"));
    assert.ok(statSync(join(dir, "a/b/c")).isDirectory());
    writeFileSync(join(dir, "file"), "");
    await assert.rejects(disk.makeDirectory(join(dir, "file")), StorageError);
    await assert.rejects(disk.makeDirectory(join(dir, "file/below")), StorageError);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("a directory that cannot be made is refused, and does not keep a thread busy for ever", {
  skip: process.platform !== "linux",
  timeout: 5_000,
}, async () => {
  await assert.rejects(new RealDisk().makeDirectory("/proc/nope"), /ENOENT/);
  await assert.rejects(new RealDisk().makeDirectory("/proc/nope/deeper"), /ENOENT/);
});
