/**
 * Unit tests as the last resort: what no seed notices is given to the tests that know the broken code best. The same
 * files run once without a mutant; if they are not clean, what they say of mutants is worth nothing.
 */

import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { faultIn } from "./hunters.ts";

const plant = fileURLToPath(new URL("plant.ts", import.meta.url));

export type TestVerdict = {
  /** The first test that failed; undefined: none did. */
  readonly failed: string | undefined;
  readonly broken: string | undefined;
};

/** Verdicts without a mutant, by the files. */
const controls = new Map<string, Promise<TestVerdict>>();

/** Runs the files that match, with the mutant of this name in every process of the runner; without one: none. */
export async function tested(patterns: readonly string[], mutant: string): Promise<TestVerdict> {
  const files = globSync([...patterns]).sort();
  const args = ["--import", plant, "--test", "--test-concurrency=1", "--test-timeout=60000"];
  const env = { ...process.env, PACELINE_MUTANT: mutant };
  const output = await new Promise<string>((resolve) => {
    execFile(
      process.execPath,
      [...args, ...files],
      { env, maxBuffer: 2 ** 26 },
      (error, out, err) => resolve(`${err}\n${error === null ? "" : out}`),
    );
  });
  const failed = /^\s*✖ (.+?)(?: \([\d.]+ms\))?$/m.exec(output)?.[1];
  return { failed, broken: faultIn(output) };
}

/** Whether the files pass without a mutant; asked once for each set. */
export function control(patterns: readonly string[]): Promise<TestVerdict> {
  const key = patterns.join(" ");
  const known = controls.get(key) ?? tested(patterns, "");
  controls.set(key, known);
  return known;
}
