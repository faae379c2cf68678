import { strict as assert } from "node:assert";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import { ByteWriter } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { RealClock } from "../host/clock.ts";
import { limits } from "../limits.ts";
import { nodeId } from "../vocabulary.ts";
import { encodeFrame, frameTypes } from "./frames.ts";
import { dialNode } from "./greeting.ts";
import type { PeerLinksOptions } from "./links.ts";
import { entryOf, eventually, join, pause, StallProxy, TestNode, testLimits } from "./testbed.ts";

const a = nodeId("a");
const b = nodeId("b");

async function startNode(t: TestContext, id: string, options: Partial<PeerLinksOptions> = {}) {
  const node = await TestNode.start(id, options);
  t.after(() => node.stop());
  return node;
}

async function startPair(t: TestContext, options: Partial<PeerLinksOptions> = {}) {
  const pair = [await startNode(t, "a", options), await startNode(t, "b", options)] as const;
  join(...pair);
  await eventually("both up", () => pair[0].links.isUp(b) && pair[1].links.isUp(a));
  return pair;
}

test("two nodes connect, and messages with and without entries arrive whole", async (t) => {
  const [nodeA, nodeB] = await startPair(t);
  await eventually("data lane", () => nodeA.links.send(b, { n: 2 }, [entryOf(0), entryOf(9, 2)]));
  assert.equal(nodeA.links.send(b, { n: 1, text: "ü" }, []), true);
  await eventually("messages", () => nodeB.received.length === 2);
  const byN = nodeB.received.toSorted((x, y) => numberOf(x.envelope) - numberOf(y.envelope));
  assert.deepEqual(byN[0]?.envelope, { n: 1, text: "ü" });
  assert.deepEqual(byN[1]?.entries, [entryOf(0), entryOf(9, 2)]);
  assert.equal(byN[1]?.from, a);
  assert.deepEqual(nodeA.story, ["up b"]);
  assert.deepEqual(nodeB.story, ["up a"]);
  assert.equal(performance.now() - (nodeB.links.heardMs(a) ?? 0) < 500, true);
});

test("a refusal is told to the dialler by its reason, once", async (t) => {
  const cases: readonly [string, Partial<PeerLinksOptions>, string][] = [
    ["wrong secret", { secret: "open" }, "wrong-secret"],
    ["other cluster", { clusterId: () => "cluster-2" }, "other-cluster"],
    ["not a member", {}, "not-a-member"],
    ["wrong node", {}, "wrong-node"],
  ];
  const fast = { ...testLimits, redialMinMs: 5, redialMaxMs: 20 };
  const nodeB = await startNode(t, "b", { admits: (id) => id === a && admitsA });
  let admitsA = true;
  for (const [name, options, reason] of cases) {
    admitsA = name !== "not a member";
    const nodeA = await TestNode.start("a", { ...options, limits: fast });
    const peer = reason === "wrong-node" ? nodeId("c") : b;
    nodeA.links.setPeers([{ id: peer, kind: "voter", address: nodeB.address }]);
    await eventually(name, () => nodeA.links.refusal(peer) === reason);
    await pause(100);
    assert.equal(nodeA.lines.length, 1, name);
    assert.ok(nodeA.lines[0]!.startsWith(`link to ${peer} is refused: ${reason}`), name);
    assert.deepEqual(nodeA.story, [], name);
    nodeA.stop();
  }
  const told = nodeB.lines.filter((line) => line.startsWith("refused"));
  assert.deepEqual(told.length, 4, told.join("\n"));
});

test("a side that does not know its cluster yet connects", async (t) => {
  const nodeA = await startNode(t, "a", { clusterId: () => undefined });
  const nodeB = await startNode(t, "b");
  join(nodeA, nodeB);
  await eventually("up", () => nodeA.links.isUp(b) && nodeB.links.isUp(a));
});

test("a second instance of a node id is refused while the first is alive, and let in after", async (t) => {
  const [first, nodeB] = await startPair(t);
  const second = await startNode(t, "a", { instance: "another" });
  second.links.setPeers([{ id: b, kind: "voter", address: nodeB.address }]);
  await eventually("refused", () => second.links.refusal(b) === "duplicate-id");
  assert.equal(nodeB.links.isUp(a), true);
  first.stop();
  nodeB.links.setPeers([{ id: a, kind: "voter", address: second.address }]);
  await eventually("the second is in", () => second.links.isUp(b) && nodeB.links.isUp(a));
});

test("the death of a node is known at once, told once, and it is back soon after its return", async (t) => {
  const [nodeA, nodeB] = await startPair(t);
  const { port } = nodeA;
  const diedMs = performance.now();
  nodeA.stop();
  await eventually("lost", () => nodeB.story.includes("lost a"));
  assert.ok(performance.now() - diedMs < 100);
  await pause(60);
  assert.deepEqual(nodeB.story, ["up a", "lost a"]);
  assert.equal(nodeB.links.send(a, {}, []), false);
  const again = await TestNode.start("a", {}, port);
  t.after(() => again.stop());
  again.links.setPeers([{ id: b, kind: "voter", address: nodeB.address }]);
  await eventually("back", () => nodeB.links.isUp(a) && again.links.isUp(b));
  assert.deepEqual(nodeB.story, ["up a", "lost a", "up a"]);
});

test("either direction's end alone is a lost link", async (t) => {
  const [nodeA, nodeB] = await startPair(t);
  // Sockets that B accepted are the ones that A dialled: B's own dials stay whole.
  for (const socket of nodeB.sockets) socket.resetAndDestroy();
  await eventually("lost at A", () => nodeA.story.includes("lost b"));
  await eventually("lost at B", () => nodeB.story.includes("lost a"));
  await eventually("healed", () => nodeA.links.isUp(b) && nodeB.links.isUp(a));
  assert.equal(nodeA.story.at(-1), "up b");
});

test("a link that goes dead without an end is closed within the silence limit", async (t) => {
  const nodeA = await startNode(t, "a");
  const nodeB = await startNode(t, "b");
  const proxy = await StallProxy.start(nodeB.port);
  t.after(() => proxy.stop());
  nodeA.links.setPeers([{ id: b, kind: "voter", address: proxy.address }]);
  nodeB.links.setPeers([{ id: a, kind: "voter", address: nodeA.address }]);
  await eventually("up", () => nodeA.links.isUp(b) && nodeB.links.isUp(a));
  await pause(2 * testLimits.peerSilentMs);
  assert.deepEqual(nodeA.story, ["up b"], "an idle link stays");
  proxy.stall();
  const stalledMs = performance.now();
  await eventually("lost", () => nodeA.story.includes("lost b") && nodeB.story.includes("lost a"));
  const tookMs = performance.now() - stalledMs;
  assert.ok(tookMs > testLimits.peerSilentMs / 2 && tookMs < 3 * testLimits.peerSilentMs);
});

test("a peer that speaks but does not read is hung up on", async (t) => {
  const node = await startNode(t, "a");
  const to = { node: a, lane: "control" as const };
  const self = { id: b, instance: "ib", clusterId: undefined, secret: "sesame" };
  const ground = { clock: new RealClock(), limits: testLimits };
  const { signal } = new AbortController();
  const greeting = await dialNode(self, { ...to, address: node.address }, ground, signal);
  assert.ok(greeting.type === "opened");
  const { wire } = greeting;
  // The same number again and again: what the node sends is never received.
  const pulse = encodeFrame(frameTypes.pulse, [new ByteWriter(8).u64(1).finish()]);
  const stop = ground.clock.every(testLimits.peerPulseMs, () => wire.write(pulse));
  t.after(stop);
  const startedMs = performance.now();
  await eventually("hung up", () => node.story.includes("lost b"));
  assert.ok(performance.now() - startedMs > testLimits.peerSilentMs);
  assert.ok(
    node.lines.includes(`link from b is lost: has not read for ${testLimits.peerSilentMs} ms`),
  );
});

test("an entry of 64 MiB does not hold up heartbeats", async (t) => {
  const [nodeA, nodeB] = await startPair(t, { limits });
  await eventually("data lane", () => nodeA.links.send(b, { warm: true }, [entryOf(1)]));
  const body = entryOf(64 * 1024 * 1024);
  assert.equal(nodeA.links.send(b, { big: true }, [body]), true);
  let worstMs = 0;
  const isThere = () => nodeB.received.some((m) => m.entries[0]?.body.byteLength === 64 << 20);
  for (let beat = 0; beat < 200 && !isThere(); beat++) {
    nodeA.links.send(b, { sentMs: performance.now() }, []);
    await pause(10);
  }
  await eventually("the entry", isThere);
  for (const { envelope, atMs } of nodeB.received) {
    const { sentMs } = envelope as { sentMs?: number };
    if (sentMs !== undefined) worstMs = Math.max(worstMs, atMs - sentMs);
  }
  assert.ok(worstMs < 100, `worst heartbeat took ${worstMs} ms`);
  const big = nodeB.received.find((m) => m.entries[0]?.body.byteLength === 64 << 20)?.entries[0];
  assert.equal(Buffer.compare(big!.body, body.body), 0);
});

test("a peer that does not read costs a bounded buffer, and messages are dropped, not queued", async (t) => {
  const patient = { ...testLimits, peerSilentMs: 60_000, peerBufferBytesMax: 1 << 20 };
  const nodeA = await startNode(t, "a", { limits: patient });
  const nodeB = await startNode(t, "b", { limits: patient });
  const proxy = await StallProxy.start(nodeB.port);
  t.after(() => proxy.stop());
  nodeA.links.setPeers([{ id: b, kind: "voter", address: proxy.address }]);
  const entry = entryOf(256 * 1024);
  await eventually("data lane", () => nodeA.links.send(b, {}, [entry]));
  proxy.stall();
  let sent = 0;
  await eventually("dropped", () => {
    const isSent = nodeA.links.send(b, {}, [entry]);
    if (isSent) sent += 1;
    return !isSent;
  });
  // The kernel's buffers and ours, not more.
  assert.ok(sent * 256 * 1024 < 64 << 20, `${sent} messages were taken`);
});

test("a member that moves is dialled at its new address, one that goes is hung up on", async (t) => {
  const [nodeA, nodeB] = await startPair(t);
  const moved = await startNode(t, "b", { instance: "instance-of-b" });
  nodeB.stop();
  join(nodeA, moved);
  await eventually("up again", () => nodeA.links.isUp(b) && moved.links.isUp(a));
  nodeA.links.setPeers([]);
  assert.equal(nodeA.links.isUp(b), false);
  assert.equal(nodeA.links.send(b, {}, []), false);
  await eventually("lost at the other", () => moved.story.includes("lost a"));
});

test("a channel carries whole messages both ways, waits for its reader and ends at both sides", async (t) => {
  const [nodeA, nodeB] = await startPair(t);
  const ours = await nodeA.links.openSync(b);
  await eventually("request", () => nodeB.channels.length === 1);
  const theirs = nodeB.channels[0]!;
  const ends: string[] = [];
  const sizes: number[] = [];
  let busy = 0;
  // Sent before the other side listens: it must wait, not be lost.
  ours.send(new Uint8Array(3_000_000));
  ours.listen({ onMessage: () => {}, onClose: () => void ends.push("ours") });
  theirs.listen({
    onMessage: async (message) => {
      busy += 1;
      assert.equal(busy, 1, "one message at a time");
      await pause(20);
      sizes.push(message.byteLength);
      busy -= 1;
    },
    onClose: () => void ends.push("theirs"),
  });
  for (const size of [0, 1, 70_000]) ours.send(new Uint8Array(size));
  await ours.drained();
  await eventually("all messages", () => sizes.length === 4);
  assert.deepEqual(sizes, [3_000_000, 0, 1, 70_000]);
  ours.close();
  await eventually("end", () => ends.includes("theirs"));
  assert.deepEqual(ends, ["theirs"]);
  await assert.rejects(ours.drained(), ProtocolError);
});

test("a channel's reader may take longer than the silence limit", async (t) => {
  const [nodeA, nodeB] = await startPair(t);
  const ours = await nodeA.links.openSync(b);
  await eventually("request", () => nodeB.channels.length === 1);
  const ends: string[] = [];
  let messages = 0;
  ours.listen({ onMessage: () => {}, onClose: (why) => void ends.push(why) });
  nodeB.channels[0]!.listen({
    onMessage: async () => {
      await pause(2.5 * testLimits.peerSilentMs);
      messages += 1;
    },
    onClose: (why) => void ends.push(why),
  });
  ours.send(new Uint8Array(10));
  ours.send(new Uint8Array(10));
  await eventually("both", () => messages === 2, 4000);
  assert.deepEqual(ends, []);
});

test("open channels end when the node hangs up, and nobody can be synced without an address", async (t) => {
  const [nodeA, nodeB] = await startPair(t);
  const ours = await nodeA.links.openSync(b);
  const ends: string[] = [];
  ours.listen({ onMessage: () => {}, onClose: () => void ends.push("ours") });
  await eventually("request", () => nodeB.channels.length === 1);
  nodeB.channels[0]!.listen({ onMessage: () => {}, onClose: () => void ends.push("theirs") });
  nodeA.links.setPeers([]);
  await eventually("ends", () => ends.length === 2);
  await assert.rejects(nodeA.links.openSync(b), ProtocolError);
});

test("strangers hold a bounded number of connections, for a bounded time", async (t) => {
  const strict = { ...testLimits, handshakeMs: 150, peerPendingMax: 3 };
  const node = await startNode(t, "a", { limits: strict });
  let closed = 0;
  const connections = Array.from({ length: 6 }, () => {
    const socket = connect(node.port, "127.0.0.1", () =>
      socket.write(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: paceline-peer\r\n\r\n",
      ),
    );
    socket.on("error", () => {});
    socket.on("close", () => {
      closed += 1;
    });
    socket.resume();
    return socket;
  });
  await eventually("three too many", () => closed === 3, 120);
  await eventually("the others too slow", () => closed === 6, 500);
  for (const socket of connections) socket.destroy();
});

function numberOf(envelope: unknown): number {
  return (envelope as { n: number }).n;
}
