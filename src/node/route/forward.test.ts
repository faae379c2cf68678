// How long another node may take to answer is a matter of what it is asked.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { limits } from "../../limits.ts";
import { nodeId } from "../../vocabulary.ts";
import { Forwarder } from "./forward.ts";

test("a slow answer is waited for as long as the call says, whatever its path", async (t) => {
  const before = limits.forwardMs;
  Object.assign(limits, { forwardMs: 100 });
  t.after(() => Object.assign(limits, { forwardMs: before }));
  const server = createServer((_request, response) => {
    // Longer than undici's own timers take to notice anything.
    setTimeout(() => response.end(JSON.stringify({ identical: true })), 2_500);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const forwarder = new Forwarder({ token: "t", self: nodeId("a") });
  t.after(() => forwarder.close());
  const verify = { method: "POST", path: "/admin/verify", body: "{}" } as const;
  const [patient, hasty] = await Promise.allSettled([
    forwarder.ask(address, verify, limits.verifyMs),
    forwarder.ask(address, verify, 100),
  ]);
  assert.deepEqual(patient.status === "fulfilled" && patient.value, { identical: true });
  assert.equal(hasty.status, "rejected");
});
