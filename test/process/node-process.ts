/** One `paceline` process that serves, started with the words that users type, and what it printed. */

import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { sleep } from "./cluster.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export class ServingProcess {
  readonly child: ChildProcess;
  output = "";

  constructor(...args: readonly string[]) {
    this.child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    const keep = (chunk: Buffer) => {
      this.output += chunk.toString();
    };
    this.child.stdout?.on("data", keep);
    this.child.stderr?.on("data", keep);
  }

  /** Resolves with the first match of `pattern` in what it printed. */
  async says(pattern: RegExp, timeoutMs = 15_000): Promise<RegExpExecArray> {
    for (const until = Date.now() + timeoutMs; Date.now() < until; ) {
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      if (this.child.exitCode !== null || this.child.signalCode !== null) break;
      await sleep(20);
    }
    throw new Error(`${pattern} was not said:\n${this.output}`);
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves with the exit status. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    if (this.isRunning) {
      const gone = new Promise((resolve) => this.child.once("exit", resolve));
      this.child.kill(signal);
      const timer = setTimeout(() => this.child.kill("SIGKILL"), 12_000);
      await gone;
      clearTimeout(timer);
    }
    return this.child.exitCode;
  }
}

/** Asks until `ask` gives something. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined>,
  timeoutMs = 15_000,
): Promise<T> {
  let last: unknown;
  for (const until = Date.now() + timeoutMs; Date.now() < until; await sleep(50)) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`${what}: not within ${timeoutMs} ms (${last})`);
}
