// What a node takes after it has stopped: news is ignored, requests are refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../base/errors.ts";
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

function stoppedNode(): Node {
  const status = () => ({
    term: 1 as Term,
    role: "follower",
    leader: undefined,
    committedLsn: 0 as Lsn,
  });
  const parts = { raft: { status }, log: {}, outbox: {}, clock: { nowMs: () => 0 }, events: {} };
  const node = new Node(parts as unknown as ConstructorParameters<typeof Node>[0]);
  node.stop();
  return node;
}
