import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "../../test/process/cluster.ts";
import { startNode } from "./serve.ts";

test("a node that is stopped no longer asks to be taken in", { timeout: 30_000 }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "paceline-serve-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  let asked = 0;
  const member = createServer((request, response) => {
    response.setHeader("content-type", "application/json");
    if (request.method === "POST") {
      asked++;
      response.statusCode = 503;
      response.end(JSON.stringify({ code: "NO_LEADER", message: "nobody leads" }));
    } else {
      const members = [{ id: "b", kind: "voter", address: "127.0.0.1:9" }];
      response.end(JSON.stringify({ members }));
    }
  });
  await new Promise<void>((resolve) => member.listen(0, "127.0.0.1", resolve));
  t.after(() => member.close());
  const [port] = await freePorts(1);
  const lines: string[] = [];
  const node = await startNode({
    ...{ id: "a", dir, cluster: undefined, secret: undefined },
    listen: { host: "127.0.0.1", port: port! },
    join: `127.0.0.1:${(member.address() as AddressInfo).port}`,
    ...{ logRetentionBytes: 2 ** 26, statementMs: 5_000, syncBytesPerSecond: 2 ** 23, readers: 1 },
    onEvent: (line) => lines.push(line),
  });
  for (let i = 0; asked === 0 && i < 200; i++) await sleep(50);
  assert.ok(asked > 0, lines.join("\n"));
  await node.stop();
  const before = asked;
  await sleep(1_500);
  assert.equal(asked, before);
});
