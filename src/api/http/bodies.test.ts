// Bodies at and beyond their bounds, over real connections.

import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "../../limits.ts";
import { post, ScriptedBackend, serve } from "../scripted-backend.test.ts";
import { ByteBudget } from "./byte-budget.ts";

const signal = new AbortController().signal;
const soon = () => new Promise((resolve) => setTimeout(resolve, 20));

test("a client that sends too much reads why, whichever way it sends", async (t) => {
  const { url } = await serve(t, new ScriptedBackend());
  const body = Buffer.alloc(limits.requestBytesMax + 1024 * 1024, "x");
  const chunked = new ReadableStream({
    start(controller) {
      for (let at = 0; at < body.length; at += 1 << 20) {
        controller.enqueue(body.subarray(at, at + (1 << 20)));
      }
      controller.close();
    },
  });
  for (const sent of [body, chunked]) {
    const init = { method: "POST", body: sent, duplex: "half" } as RequestInit;
    const response = await fetch(`${url}/v3/pipeline`, init);
    const { code, message } = (await response.json()) as { code: string; message: string };
    assert.equal(response.status, 413);
    assert.equal(code, "BODY_TOO_LARGE");
    assert.match(message, new RegExp(`limit of ${limits.requestBytesMax} bytes`));
  }
  const small = await post(`${url}/v3/pipeline`, '{"requests":[]}');
  assert.equal(small.status, 200, "the node goes on");
});

test("a budget: the next one waits, in line, and is refused after a while", async () => {
  const budget = new ByteBudget(100, 60);
  const giveFirst = await budget.take(80, "large requests", signal);
  const order: string[] = [];
  const second = budget.take(90, "large requests", signal).then((give) => {
    order.push("second");
    return give;
  });
  const third = budget.take(10, "large requests", signal).then((give) => {
    order.push("third");
    return give;
  });
  await soon();
  assert.deepEqual(order, [], "the third fits, but does not pass the second");
  giveFirst();
  giveFirst();
  await Promise.all([second, third]);
  assert.deepEqual(order, ["second", "third"]);
  assert.equal(budget.used, 100);
  await assert.rejects(
    budget.take(1, "large requests", signal),
    /OVERLOADED|have more than 100 bytes/,
  );
  (await second)();
  (await third)();
  assert.equal(budget.used, 0);
});

test("who hangs up leaves the line", async () => {
  const budget = new ByteBudget(100, 10_000);
  const give = await budget.take(100, "large requests", signal);
  const abort = new AbortController();
  const waiting = budget.take(50, "large requests", abort.signal);
  abort.abort();
  await assert.rejects(waiting, /hung up/);
  give();
  assert.equal(budget.used, 0);
});

test("large bodies that never end do not keep small requests waiting", async (t) => {
  const { url, server } = await serve(t, new ScriptedBackend());
  const { connect } = await import("node:net");
  const declared = limits.requestBytesMax;
  const sockets = Array.from({ length: 4 }, () => {
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(`POST /v3/pipeline HTTP/1.1\r\nhost: x\r\ncontent-length: ${declared}\r\n\r\n{`);
    return socket;
  });
  await soon();
  assert.equal((await post(`${url}/v3/pipeline`, '{"requests":[]}')).status, 200);
  // Nobody knows beforehand that this one is small.
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(Buffer.from('{"requests":[]}'));
      controller.close();
    },
  });
  const init = { method: "POST", body, duplex: "half" } as RequestInit;
  const answer = await fetch(`${url}/v3/pipeline`, init);
  assert.equal(answer.status, 200);
  for (const socket of sockets) socket.destroy();
});

test("a path with another method is 405 with Allow; gRPC is told in its own words", async (t) => {
  const { url } = await serve(t, new ScriptedBackend());
  const wrong = await fetch(`${url}/v3/pipeline`, { method: "PUT", body: "{}" });
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.get("allow"), "POST");
  assert.equal(((await wrong.json()) as { code: string }).code, "METHOD_NOT_ALLOWED");
  assert.equal((await fetch(`${url}/nowhere`)).status, 404);
  const grpc = await fetch(`${url}/wal_log.ReplicationLog/Hello`, {
    method: "POST",
    headers: { "content-type": "application/grpc-web+proto" },
    body: "x",
  });
  assert.equal(grpc.status, 200);
  assert.equal(grpc.headers.get("grpc-status"), "12");
  assert.match(grpc.headers.get("grpc-message") ?? "", /gRPC/);
});
