/** What the preloaded library does to a process: wall clock, fsync; and what it leaves alone. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { buildNative, hasCompiler } from "./build.ts";

const dir = mkdtempSync(join(tmpdir(), "paceline-preload-"));
after(() => rmSync(dir, { recursive: true, force: true }));
const skip = !hasCompiler();

const program = `
  const fs = require("node:fs");
  const fd = fs.openSync(process.argv[1], "w");
  let sync = "ok";
  try { fs.fsyncSync(fd); fs.fdatasyncSync(fd); } catch (error) { sync = error.code; }
  console.log(JSON.stringify({ wall: Date.now(), mono: Number(process.hrtime.bigint() / 1000000n), sync }));
`;

type Seen = { readonly wall: number; readonly mono: number; readonly sync: string };

function runWith(control: { wallMs?: number; syncErrno?: number; syncLies?: number }): Seen {
  const native = buildNative(dir)!;
  const path = join(dir, "control");
  const bytes = Buffer.alloc(24);
  bytes.writeBigInt64LE(BigInt(control.wallMs ?? 0) * 1_000_000n, 0);
  bytes.writeInt32LE(control.syncErrno ?? 0, 8);
  bytes.writeInt32LE(control.syncLies ?? 0, 16);
  writeFileSync(path, bytes);
  const env = { ...process.env, LD_PRELOAD: native.preload, PACELINE_CHAOS_CONTROL: path };
  const ran = spawnSync(process.execPath, ["-e", program, join(dir, "file")], {
    env,
    encoding: "utf8",
  });
  assert.equal(ran.status, 0, ran.stderr);
  return JSON.parse(ran.stdout) as Seen;
}

const nearMs = 60_000;
const monoMs = (): number => Number(process.hrtime.bigint() / 1_000_000n);

test("without orders it changes nothing", { skip }, () => {
  const { wall, sync } = runWith({});
  assert.ok(Math.abs(wall - Date.now()) < nearMs);
  assert.equal(sync, "ok");
});

test("the wall clock jumps either way, the monotonic clock does not", { skip }, () => {
  for (const hours of [-1, 240]) {
    const { wall, mono } = runWith({ wallMs: hours * 3_600_000 });
    assert.ok(Math.abs(wall - Date.now() - hours * 3_600_000) < nearMs);
    assert.ok(Math.abs(mono - monoMs()) < nearMs);
  }
});

test("a sync fails, or lies", { skip }, () => {
  assert.equal(runWith({ syncErrno: 5 }).sync, "EIO");
  assert.equal(runWith({ syncLies: 1 }).sync, "ok");
});
