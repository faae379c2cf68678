// What `npm start` rests on: free ports, and a secret that is made once and is nobody else's to read.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { busyPorts, freePorts, LocalCluster } from "./local-cluster.ts";

test("a port that someone listens on is busy", async () => {
  const [taken, free] = (await freePorts(2)) as [number, number];
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(taken, "127.0.0.1", resolve));
  assert.deepEqual(await busyPorts([taken, free]), [taken]);
  server.close();
});

test("the secret is made once, for its owner only", () => {
  const dir = mkdtempSync(join(tmpdir(), "paceline-local-"));
  const events = { onExit: () => {} };
  const cluster = new LocalCluster(join(dir, "cluster"), [7101, 7102, 7103], events);
  const path = join(dir, "cluster", "secret");
  const secret = readFileSync(path, "utf8");
  assert.match(secret, /^[0-9a-f]{64}\n$/);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  new LocalCluster(join(dir, "cluster"), [7101, 7102, 7103], events);
  assert.equal(readFileSync(path, "utf8"), secret);
  assert.deepEqual(
    cluster.nodes.map(({ id, url }) => `${id} ${url}`),
    ["a http://127.0.0.1:7101", "b http://127.0.0.1:7102", "c http://127.0.0.1:7103"],
  );
  rmSync(dir, { recursive: true });
});
