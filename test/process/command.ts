/** Runs a verb of the command line as its users do: a process, its output, its exit status. */

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string };

export function paceline(...args: string[]): Promise<Ran> {
  return run(process.execPath, [main, ...args]);
}

export function run(program: string, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(program, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 127;
      resolve({ code, stdout, stderr });
    });
  });
}
