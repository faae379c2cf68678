/**
 * The shop behind the real HAProxy with the configuration of examples/haproxy/. Where there is no haproxy the test says
 * so and is skipped; CI installs it (.ci/run).
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePorts, sleep, TestCluster } from "./cluster.ts";
import { shopUnderFire } from "./shop.ts";

const configuration = fileURLToPath(new URL("../../examples/haproxy/haproxy.cfg", import.meta.url));
const found = spawnSync("haproxy", ["-v"]).status === 0;
if (!found && process.env["CI"] !== undefined) throw new Error("CI needs haproxy; see .ci/run");
const skip = found
  ? false
  : "HAPROXY IS NOT INSTALLED, SO THIS IS NOT TESTED: apt-get install haproxy";

test("the shop behind HAProxy: leaders are killed, no confirmed order is missed", {
  timeout: 110_000,
  skip,
}, async () => {
  const cluster = await TestCluster.start();
  let haproxy: ChildProcess | undefined;
  try {
    const [writes, reads] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`);
    const [a, b, c] = cluster.nodes.map(({ port }) => `127.0.0.1:${port}`);
    haproxy = spawn("haproxy", ["-db", "-f", configuration], {
      env: { ...process.env, NODE_A: a, NODE_B: b, NODE_C: c, WRITES: writes, READS: reads },
      stdio: "ignore",
    });
    await answering(`http://${writes}/leader`);
    await answering(`http://${reads}/replica`);
    await shopUnderFire(cluster, { reads: `http://${reads}`, writes: `http://${writes}` });
  } finally {
    haproxy?.kill("SIGKILL");
    await cluster.stop();
  }
});

async function answering(url: string): Promise<void> {
  for (const until = Date.now() + 20_000; Date.now() < until; await sleep(50)) {
    const response = await fetch(url).catch(() => undefined);
    if (response?.status === 200) return;
  }
  throw new Error(`${url} does not answer`);
}
