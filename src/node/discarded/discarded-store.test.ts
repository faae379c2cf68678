import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { json } from "node:stream/consumers";
import { type TestContext, test } from "node:test";
import { RealDisk } from "../../host/disk.ts";
import { DiscardedStore } from "./discarded-store.ts";

function kept(t: TestContext, name: string, files: Record<string, string>): string {
  const dir = mkdtempSync(join(tmpdir(), "paceline-discarded-"));
  t.after(() => rmSync(dir, { recursive: true }));
  mkdirSync(join(dir, "discarded", name), { recursive: true });
  for (const [file, text] of Object.entries(files)) {
    writeFileSync(join(dir, "discarded", name, file), text);
  }
  return dir;
}

const manifest = JSON.stringify({ format: 1, name: "3-17", node: "a", statements: 2, changes: 0 });

test("what was discarded is read in pieces, whatever its size", async (t) => {
  const rows = Array.from({ length: 20_000 }, (_, n) => ({ n, text: "x".repeat(100) }));
  const dir = kept(t, "3-17", {
    "manifest.json": manifest,
    "statements.jsonl": rows.map((row) => `${JSON.stringify(row)}\n`).join(""),
    "changes.jsonl": "",
  });
  const store = await DiscardedStore.open(new RealDisk(), dir);
  const sizes: number[] = [];
  const pieces: Uint8Array[] = [];
  for await (const piece of store.read("3-17")!) {
    sizes.push(piece.byteLength);
    pieces.push(piece);
  }
  assert.ok(Math.max(...sizes) <= 256 * 1024, `a piece of ${Math.max(...sizes)} bytes`);
  const contents = (await json(Readable.from(pieces))) as Record<string, unknown>;
  assert.deepEqual(contents["statements"], rows);
  assert.deepEqual(contents["changes"], []);
  assert.deepEqual(contents["manifest"], JSON.parse(manifest));
  assert.equal(store.read("9-9"), undefined);
});

test("a manifest that cannot be read is told, and keeps nobody from starting", async (t) => {
  for (const text of ["{", "null", '{"format":2}', '{"format":1}']) {
    const told: string[] = [];
    const dir = kept(t, "3-17", { "manifest.json": text });
    const store = await DiscardedStore.open(new RealDisk(), dir, (line) => told.push(line));
    assert.deepEqual(store.list(), []);
    assert.equal(told.length, 1);
    assert.match(told[0]!, /3-17 is not listed/);
  }
});
