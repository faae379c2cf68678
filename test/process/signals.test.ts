// What a node and a router do when the terminal goes away, when nobody reads what they print, and when they are told to
// stop while they start.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePorts, sleep } from "./cluster.ts";
import { run } from "./command.ts";
import { eventually, ServingProcess } from "./node-process.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const dir = mkdtempSync(join(tmpdir(), "paceline-signals-"));
after(() => rmSync(dir, { recursive: true, force: true }));

async function answers(port: number, path = "/health"): Promise<true | undefined> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  await response.arrayBuffer();
  return response.ok ? true : undefined;
}

test("SIGHUP and SIGUSR1 do nothing to a node, SIGTERM stops it", async () => {
  const [port] = await freePorts(1);
  const listen = `127.0.0.1:${port}`;
  const node = new ServingProcess(
    ...["start", "--id", "a", "--dir", join(dir, "a"), "--listen", listen, "--readers", "1"],
  );
  await node.says(/serves at/);
  node.child.kill("SIGHUP");
  await node.says(/SIGHUP is ignored/);
  node.child.kill("SIGUSR1");
  await sleep(300);
  assert.equal(await answers(port!), true);
  assert.doesNotMatch(node.output, /Debugger listening/);
  assert.equal(await node.stop(), 0);
});

test("a router goes on after SIGHUP", async () => {
  const [port, none] = await freePorts(2);
  const router = new ServingProcess(
    ...["router", "--listen", `127.0.0.1:${port}`, "--nodes", `127.0.0.1:${none}`],
  );
  await router.says(/serves at/);
  router.child.kill("SIGHUP");
  await router.says(/SIGHUP is ignored/);
  assert.equal(await router.stop(), 0);
});

test("a node whose output nobody reads goes on, and says so once", async () => {
  const [port] = await freePorts(1);
  const args = ["start", "--id", "p", "--dir", join(dir, "p"), "--listen", `127.0.0.1:${port}`];
  const child = spawn(process.execPath, [main, ...args, "--readers", "1"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  child.stdout.destroy();
  await eventually("it answers", () => answers(port!));
  await eventually("it leads", () => answers(port!, "/leader"));
  child.kill("SIGHUP");
  await sleep(300);
  assert.equal(await answers(port!), true);
  assert.equal(said.match(/standard output cannot be written/g)?.length, 1, said);
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  assert.equal(await gone, 0);
});

test("a command that prints more than is read ends quietly", async () => {
  const ran = await run("sh", ["-c", `'${process.execPath}' '${main}' start --help | head -1`]);
  assert.deepEqual([ran.code, ran.stderr], [0, ""]);
});

test("a start that does not get anywhere can be stopped, and one without a directory fails", async () => {
  const [port] = await freePorts(1);
  const nowhere = new ServingProcess(
    ...["start", "--id", "n", "--dir", "/proc/nope", "--listen", `127.0.0.1:${port}`],
  );
  await assert.rejects(nowhere.says(/serves at/), /cannot make directory/);
  // A member that does not answer is asked for five seconds.
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await new Promise((resolve) => silent.once("listening", resolve));
  const at = `127.0.0.1:${(silent.address() as { port: number }).port}`;
  const joining = new ServingProcess(
    ...["start", "--id", "j", "--dir", join(dir, "j"), "--listen", `127.0.0.1:${port}`],
    ...["--join", at],
  );
  await sleep(1_000);
  assert.equal(await joining.stop("SIGINT"), 1);
  assert.match(joining.output, /was stopped before it had started/);
  silent.close();
});
