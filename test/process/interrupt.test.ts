// Ctrl-C in a terminal reaches every process of the foreground group: the shop checks its orders first all the same, and
// a local cluster stops in order.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePorts, sleep } from "./cluster.ts";

const bootstrap = fileURLToPath(new URL("../../tools/bootstrap.js", import.meta.url));
const dir = mkdtempSync(join(tmpdir(), "paceline-interrupt-"));
after(() => rmSync(dir, { recursive: true, force: true }));

type Ended = { readonly status: number | null; readonly output: string };

/** Runs a script as npm does, and presses Ctrl-C some time after it has said `ready`. */
async function pressed(script: string, args: readonly string[], ready: RegExp): Promise<Ended> {
  const child = spawn(process.execPath, [bootstrap, script, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    // The head of a group, like a command in a terminal.
    detached: true,
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  for (const until = Date.now() + 60_000; !ready.test(output); await sleep(50)) {
    if (Date.now() > until || child.exitCode !== null) throw new Error(`not ready:\n${output}`);
  }
  await sleep(1_500);
  process.kill(-child.pid!, "SIGINT");
  return { status: await ended, output };
}

test("the shop looks for every order after Ctrl-C", { timeout: 100_000 }, async () => {
  const [port] = await freePorts(1);
  const flags = ["--port", String(port), "--dir", join(dir, "shop"), "--customers", "2"];
  const { status, output } = await pressed("examples/shop/main.ts", flags, /Open the shop/);
  assert.match(output, /checking every order/);
  assert.match(output, /[1-9]\d* orders confirmed, 0 missing, 0 doubled, 0 complaints/);
  assert.equal(status, 0, output);
});

test("npm start stops its nodes in order after Ctrl-C", { timeout: 100_000 }, async () => {
  const [port] = await freePorts(1);
  const flags = ["--port", String(port), "--dir", join(dir, "cluster")];
  const { status, output } = await pressed("src/cli/cluster.ts", flags, /Ready\./);
  assert.match(output, /stopping the nodes/);
  assert.match(output, /stopped\. The data stay/);
  assert.doesNotMatch(output, /has ended/);
  assert.equal(status, 0, output);
});
