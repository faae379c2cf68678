/** Routers as processes, for tests: started with the command that users type. */

import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { freePorts, sleep } from "./cluster.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export class TestRouter {
  readonly url: string;
  readonly #child: ChildProcess;
  #output = "";

  constructor(url: string, child: ChildProcess) {
    this.url = url;
    this.#child = child;
    const keep = (chunk: Buffer) => {
      this.#output = (this.#output + chunk.toString()).slice(-20_000);
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
  }

  get output(): string {
    return this.#output;
  }

  /** SIGTERM. Resolves with the exit status. */
  async stop(): Promise<number | undefined> {
    const child = this.#child;
    if (child.exitCode !== null) return child.exitCode;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    const late = setTimeout(() => child.kill("SIGKILL"), 15_000);
    child.kill("SIGTERM");
    await gone;
    clearTimeout(late);
    return child.exitCode ?? undefined;
  }
}

/** Resolves when the router knows a leader. */
export async function startRouter(
  nodes: readonly string[],
  ...more: readonly string[]
): Promise<TestRouter> {
  const [port] = await freePorts(1);
  const flags = ["router", "--listen", `127.0.0.1:${port}`, "--nodes", nodes.join(","), ...more];
  const child = spawn(process.execPath, [main, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  const router = new TestRouter(`http://127.0.0.1:${port}`, child);
  for (const until = Date.now() + 20_000; Date.now() < until; await sleep(30)) {
    try {
      const response = await fetch(`${router.url}/leader`, { signal: AbortSignal.timeout(500) });
      await response.arrayBuffer();
      if (response.status === 200) return router;
    } catch {
      // Not up yet.
    }
  }
  await router.stop();
  throw new Error(`the router does not find a leader\n${router.output}`);
}
