import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../../host/clock.ts";
import type { Envelope, Message } from "../../raft/messages.ts";
import { lsn, nodeId, term } from "../../vocabulary.ts";
import type { Links } from "../driver.ts";
import { leaseMs, Relay } from "./relay.ts";
import { Tree } from "./tree.ts";
import { Upstream, upstreamId } from "./upstream.ts";

const self = nodeId("b");
const child = nodeId("x");

function ground(last = 10, base = 0) {
  const state = { nowMs: 1_000, last, committed: last, sent: [] as Envelope[], wanted: 0 };
  const clock: Clock = {
    nowMs: () => state.nowMs,
    wallMs: () => state.nowMs,
    every: () => () => {},
    after: () => () => {},
    turn: (f) => f(),
  };
  const relay = new Relay({
    self,
    clock,
    log: {
      base: { lsn: lsn(base), term: term(1) },
      get last() {
        return { lsn: lsn(state.last), term: term(1) };
      },
      termAt: (at) => (at >= base && at <= state.last ? term(1) : undefined),
      bytesAfter: (at) => 100 * (state.last - at),
    },
    term: () => term(1),
    committedLsn: () => lsn(state.committed),
    send: (envelope) => state.sent.push(envelope),
    wantPageSync: () => {
      state.wanted += 1;
    },
    readIndex: async () => lsn(state.committed),
  });
  const say = (message: Message) =>
    relay.onMessage(child, { from: child, to: upstreamId, term: 1, message });
  return { state, relay, say, clock };
}

const stamp = { round: 1, sentMs: 1_000 };

test("a child is brought up from where it says it is, and gets nothing that is not committed", () => {
  const { state, relay, say } = ground();
  state.committed = 8;
  relay.register(child, "h:1");
  relay.tick();
  say({
    type: "append-refused",
    prevLsn: lsn(8),
    hint: { lsn: lsn(3), term: term(1) },
    stamp,
    born: false,
  });
  const [, probe] = state.sent;
  assert.deepEqual(probe?.message.type === "append" && probe.message.range, { from: 4, to: 9 });
  say({ type: "appended", matchLsn: lsn(8), stamp, born: false });
  state.sent.length = 0;
  state.committed = 10;
  relay.onCommitted();
  const [next] = state.sent;
  assert.deepEqual(next?.message.type === "append" && next.message.range, { from: 9, to: 11 });
  assert.equal(relay.neededFrom(), 8);
});

test("a child that the log does not reach is told to fetch pages, again and again until it has", () => {
  const { state, relay, say } = ground(10, 5);
  relay.register(child, "h:1");
  relay.tick();
  say({
    type: "append-refused",
    prevLsn: lsn(10),
    hint: { lsn: lsn(2), term: term(1) },
    stamp,
    born: false,
  });
  assert.equal(state.wanted, 1);
  state.nowMs += 2_000;
  relay.tick();
  assert.equal(state.wanted, 2);
  relay.pageSyncEnded(child, lsn(10));
  state.nowMs += 2_000;
  relay.tick();
  assert.equal(state.wanted, 2);
});

test("a child that knows more than this node waits for it", () => {
  const { state, relay, say } = ground(10);
  relay.register(child, "h:1");
  relay.tick();
  say({ type: "appended", matchLsn: lsn(12), stamp, born: false });
  assert.equal(relay.neededFrom(), 0);
  state.last = 12;
  state.committed = 12;
  say({ type: "appended", matchLsn: lsn(12), stamp, born: false });
  assert.equal(relay.neededFrom(), 12);
});

test("a child that no longer registers is forgotten", () => {
  const { state, relay } = ground();
  assert.equal(relay.register(child, "h:1"), true);
  assert.equal(relay.register(child, "h:1"), false);
  state.nowMs += leaseMs + 1;
  assert.deepEqual(relay.tick(), [child]);
  assert.equal(relay.has(child), false);
});

test("nobody follows itself over others, takes a member's name, or another follower's", async () => {
  const { relay, clock } = ground();
  const links = { setPeers: () => {}, isUp: () => true } as unknown as Links;
  const upstream = new Upstream({
    ...{ self, clock, named: ["h:9"] },
    clusterId: () => "c",
    members: () => [],
    register: async () => ({
      clusterId: "c",
      way: [
        { id: nodeId("a"), address: "h:7" },
        { id: child, address: "h:9" },
      ],
    }),
    changed: () => {},
    onEvent: () => {},
  });
  const tree = new Tree({
    ...{ self: { id: self, address: "h:2" }, links, relay, upstream, hasPages: true },
    ...{ isPartial: false, logKind: () => "pages" as const },
    clusterId: () => "c",
    membership: () => [{ id: nodeId("m"), kind: "voter", address: "h:3" }],
    onEvent: () => {},
  });
  assert.throws(
    () => tree.register({ id: nodeId("y"), address: "h:4", isPartial: false }),
    /nobody to follow itself/,
  );
  upstream.tick();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(upstream.current?.id, child);
  assert.throws(
    () => tree.register({ id: child, address: "h:9", isPartial: false }),
    /follows it itself/,
  );
  assert.throws(
    () => tree.register({ id: nodeId("m"), address: "h:8", isPartial: false }),
    /is a member/,
  );
  const answer = tree.register({ id: nodeId("y"), address: "h:4", isPartial: false });
  assert.deepEqual(
    answer.way.map((step) => step.id),
    ["a", "x", "b"],
  );
  assert.throws(
    () => tree.register({ id: nodeId("y"), address: "h:5", isPartial: false }),
    /follows b already/,
  );
  // Its rows could not be told from pages.
  const part = { id: nodeId("z"), address: "h:6", isPartial: true };
  assert.throws(() => tree.register(part), { code: "SETTINGS_REFUSED" });
});
