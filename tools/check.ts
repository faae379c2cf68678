/**
 * Everything that says whether the tree is good, as one command.
 *
 *   check.ts unit   types, lint and format, tidy, then the tests beside the sources: `npm run check`
 *   check.ts all    the same, a thousand simulated worlds, and the tests of whole processes and clients under test/:
 *                   `npm test`
 *   check.ts fix    writes what the formatter and linter can mend by themselves: `npm run fix`
 *
 * Every step runs even when an earlier one failed, so that one run tells everything. Tests are found by their name,
 * `*.test.ts`. The tests under test/ run one file at a time, because they measure time. Exit status 0: all is well.
 */

import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { dirname, join } from "node:path";

/** Worlds that are simulated: always the same, so that a failure is one of the change at hand. */
const seeds = 1_000;
/** The same on real SQLite. */
const sqliteSeeds = 60;
const root = dirname(import.meta.dirname);
const failed: string[] = [];

const [what = "all"] = process.argv.slice(2);
if (what === "fix") {
  step("lint and format", bin("biome"), ["check", "--write", "."]);
} else {
  step("types", bin("tsc"), ["--noEmit"]);
  step("lint and format", bin("biome"), ["check", "."]);
  step("tidy", process.execPath, ["tools/tidy.ts"]);
  const unit = ["src", "proof", "chaos", "tools"].map((folder) => `${folder}/**/*.test.ts`);
  test("unit tests", unit, 2);
  if (what === "all") {
    simulation(seeds, []);
    simulation(sqliteSeeds, ["--sqlite"]);
    test("tests of whole processes", ["test/**/*.test.ts"], 1);
  }
}
if (failed.length > 0) {
  console.error(`\nfailed: ${failed.join(", ")}`);
  process.exitCode = 1;
}

function test(name: string, patterns: readonly string[], concurrency: number): void {
  const files = globSync(patterns, { cwd: root }).sort();
  if (files.length === 0) {
    console.log(`\n── ${name}: none yet`);
    return;
  }
  step(`${name} (${files.length} files)`, process.execPath, [
    "--test",
    `--test-concurrency=${concurrency}`,
    "--test-timeout=120000",
    ...files,
  ]);
}

function simulation(count: number, options: readonly string[]): void {
  const name = ["simulation", ...options, `(${count} seeds)`].join(" ");
  step(name, process.execPath, ["proof/sim.ts", "--seeds", `${count}`, ...options]);
}

function step(name: string, command: string, args: readonly string[]): void {
  console.log(`\n── ${name}`);
  const startMs = performance.now();
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const verdict = status === 0 ? "ok" : `FAILED ${error?.message ?? ""}`.trim();
  console.log(`── ${name}: ${verdict} (${seconds} s)`);
  if (status !== 0) failed.push(name);
}

function bin(name: string): string {
  return join(root, "node_modules", ".bin", name);
}
