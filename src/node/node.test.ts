// What a node takes after it has stopped: news is ignored, requests are refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../base/errors.ts";
import { limits } from "../limits.ts";
import { type Lsn, nodeId, type Term } from "../vocabulary.ts";
import { Node } from "./node.ts";

test("a message or a lost link after a failed fsync does not throw into the link's code", () => {
  const node = stoppedNode();
  node.tick();
  node.step({} as never, []);
  node.linkLost(nodeId("b"));
  node.setElectable(false);
  node.pageSyncEnded(nodeId("b"), undefined);
});

test("a proposal after the stop is refused", () => {
  assert.throws(() => stoppedNode().propose("payload", new Uint8Array()), ClientError);
});

test("heartbeats and answers leave beside a long fsync, but not beside a disk that hangs", async () => {
  const story: string[] = [];
  let nowMs = 0;
  const entries = [{ body: new Uint8Array(1_000) }];
  const rounds = [{ hardState: undefined, entries, messagesNow: [], messages: [] }];
  const parts = {
    raft: {
      status: () => ({ term: 1, role: "follower", leader: undefined, committedLsn: 0 }),
      tick: () => {},
      step: () => {},
      ready: () => rounds.shift(),
      beside: () => [`beside at ${nowMs}`],
    },
    log: { persist: () => new Promise(() => {}) },
    outbox: { send: (messages: string[]) => story.push(...messages) },
    clock: { nowMs: () => nowMs },
    events: { stepped: () => {} },
    addressById: new Map(),
  };
  const node = new Node(parts as unknown as ConstructorParameters<typeof Node>[0]);
  node.tick();
  await new Promise((resolve) => setImmediate(resolve));
  for (nowMs of [limits.heartbeatMs - 1, limits.heartbeatMs]) node.step({} as never, []);
  assert.deepEqual(story.splice(0), [`beside at ${limits.heartbeatMs}`]);
  nowMs = 2 * limits.electionTimeoutMaxMs + 1_000 / limits.slowBytesPerMs + 1;
  node.step({} as never, []);
  node.tick();
  assert.deepEqual(story, []);
});

test("promises leave after the fsync that makes them true, a leader's appends beside it", async () => {
  const story: string[] = [];
  const disk = Promise.withResolvers<void>();
  const ready = {
    hardState: undefined,
    entries: [{ body: new Uint8Array() }],
    messagesNow: ["append"],
    messages: ["ack"],
  };
  const rest = { committedLsn: 0, reads: [], snapshotsWanted: [] };
  const rounds = [{ ...ready, ...rest }];
  const status = () => ({ term: 1, role: "follower", leader: undefined, committedLsn: 0 });
  const parts = {
    raft: {
      status,
      tick: () => {},
      ready: () => rounds.shift(),
      advance: () => story.push("advance"),
    },
    log: {
      persist: async () => {
        story.push("fsync begins");
        await disk.promise;
        story.push("fsync ends");
      },
    },
    outbox: { send: (messages: string[]) => story.push(...messages) },
    clock: { nowMs: () => 0 },
    events: {},
    addressById: new Map(),
  };
  const node = new Node(parts as unknown as ConstructorParameters<typeof Node>[0]);
  node.tick();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(story, ["append", "fsync begins"]);
  disk.resolve();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(story, ["append", "fsync begins", "fsync ends", "ack", "advance"]);
});

function stoppedNode(): Node {
  const status = () => ({
    term: 1 as Term,
    role: "follower",
    leader: undefined,
    committedLsn: 0 as Lsn,
  });
  const parts = {
    raft: { status },
    log: {},
    outbox: {},
    clock: { nowMs: () => 0 },
    events: {},
    addressById: new Map(),
  };
  const node = new Node(parts as unknown as ConstructorParameters<typeof Node>[0]);
  node.stop();
  return node;
}
