/** The rig of `npm run chaos` itself: a short run is green, the same run with a planted lie is red. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { run } from "./command.ts";

const main = fileURLToPath(new URL("../../chaos/main.ts", import.meta.url));
const base = [main, "--minutes", "0.1", "--clients", "4", "--seed", "1"];

type Result = { ok: boolean; acked: number; faults: number; lost: number; violations: string[] };

function resultOf(stdout: string): Result {
  const line = stdout.split("\n").findLast((text) => text.startsWith("{"));
  assert.ok(line !== undefined, stdout);
  return JSON.parse(line) as Result;
}

test("a few seconds of chaos end well, and the history can be checked again", {
  timeout: 110_000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), "paceline-chaos-test-"));
  try {
    const history = join(dir, "history.jsonl");
    const json = join(dir, "summary.json");
    const only = ["--only", "stop-follower,kill-leader,links-reset"];
    const files = ["--dir", dir, "--history", history, "--json", json];
    const { code, stdout, stderr } = await run(process.execPath, [...base, ...only, ...files]);
    const { ok, acked, faults, violations } = resultOf(stdout);
    assert.deepEqual([ok, violations, code], [true, [], 0], stderr);
    assert.ok(acked > 100 && faults > 0, `${acked} acked, ${faults} faults`);
    assert.equal((JSON.parse(readFileSync(json, "utf8")) as Result).acked, acked);
    assert.ok(statSync(history).size > 10_000);
    const again = await run(process.execPath, [main, "--check", history]);
    assert.deepEqual([again.code, resultOf(again.stdout).ok], [0, true], again.stderr);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test("an acknowledged write that was never sent is found", { timeout: 110_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), "paceline-chaos-test-"));
  try {
    const plant = ["--plant", "lost-write", "--only", "delay", "--dir", dir];
    const { code, stdout } = await run(process.execPath, [...base, ...plant]);
    const { ok, lost } = resultOf(stdout);
    assert.deepEqual([code, ok], [1, false]);
    assert.ok(lost > 0, stdout.slice(-2_000));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
