/**
 * Builds the two small C programs that faults need. Where there is no C compiler, the faults that need them are left
 * out and the run says so.
 */

import { spawnSync } from "node:child_process";
import { join } from "node:path";

export type Native = {
  /** Path of the library to preload into nodes. */
  readonly preload: string;
  /** Path of the program that cuts a file system off. */
  readonly fsShutdown: string;
};

/** Whether there is a compiler at all. */
export function hasCompiler(): boolean {
  return process.platform === "linux" && spawnSync("cc", ["--version"]).status === 0;
}

/** Undefined where they cannot be built. */
export function buildNative(dir: string): Native | undefined {
  const preload = join(dir, "preload.so");
  const fsShutdown = join(dir, "fs-shutdown");
  const source = (name: string) => join(import.meta.dirname, name);
  const flags = ["-O1", "-Wall"];
  const built =
    compile([...flags, "-shared", "-fPIC", "-o", preload, source("preload.c"), "-ldl"]) &&
    compile([...flags, "-o", fsShutdown, source("fs-shutdown.c")]);
  return built ? { preload, fsShutdown } : undefined;
}

function compile(args: readonly string[]): boolean {
  const { status, stderr } = spawnSync("cc", args, { encoding: "utf8" });
  if (status !== 0 && stderr) process.stderr.write(stderr);
  return status === 0;
}
