// What a follower that is far behind is sent: entries that are no longer in memory.

import assert from "node:assert/strict";
import { test } from "node:test";
import { StorageError } from "../base/errors.ts";
import { limits } from "../limits.ts";
import type { Envelope } from "../raft/messages.ts";
import { type Entry, type Lsn, nodeId, type Term } from "../vocabulary.ts";
import { type EntrySource, Outbox } from "./outbox.ts";

test("a range that crosses the end of a segment is sent whole", async () => {
  const { sent, outbox } = outboxOver({ segmentEnds: 5 });
  outbox.send([append(3, 8)], []);
  await settled();
  assert.deepEqual(sent, [{ range: { from: 3, to: 8 }, lsns: [3, 4, 5, 6, 7] }]);
});

test("a range that is too large for one message leaves as its beginning", async () => {
  const bodyBytes = limits.appendBytesMax / 2;
  const { sent, outbox } = outboxOver({ bodyBytes });
  outbox.send([append(3, 8)], []);
  await settled();
  assert.deepEqual(sent, [{ range: { from: 3, to: 5 }, lsns: [3, 4] }]);
});

test("what is not in the log yet does not hold back what is", async () => {
  const { sent, outbox } = outboxOver({ last: 6 });
  outbox.send([append(3, 9)], []);
  await settled();
  assert.deepEqual(sent, [{ range: { from: 3, to: 7 }, lsns: [3, 4, 5, 6] }]);
});

test("a range that is gone from the log is dropped", async () => {
  const { sent, outbox } = outboxOver({ last: 2 });
  outbox.send([append(3, 9)], []);
  await settled();
  assert.deepEqual(sent, []);
});

test("a log that cannot be read ends the node, which would lead and never bring anyone up to date", async () => {
  const failures: Error[] = [];
  const source: EntrySource = {
    cached: () => undefined,
    read: async () => {
      throw new StorageError("cannot read: EIO");
    },
  };
  const events = { onProblem: () => {}, failed: (error: Error) => failures.push(error) };
  new Outbox(source, () => assert.fail(), events).send([append(3, 8)], []);
  await settled();
  assert.deepEqual(
    failures.map(({ name }) => name),
    ["StorageError"],
  );
});

type Shape = {
  /** A read does not go on behind this entry, unless it begins there. */
  readonly segmentEnds?: number;
  readonly bodyBytes?: number;
  readonly last?: number;
};

type Sent = { readonly range: unknown; readonly lsns: readonly number[] };

/** A log of which nothing is in memory. */
function outboxOver({ segmentEnds = 1_000, bodyBytes = 8, last = 1_000 }: Shape) {
  const sent: Sent[] = [];
  const source: EntrySource = {
    cached: () => undefined,
    read: async (from, to, bytesMax) => {
      const entries: Entry[] = [];
      const end = Math.min(to, last + 1, from <= segmentEnds ? segmentEnds + 1 : to);
      for (let lsn: number = from; lsn < end; lsn++) {
        if (entries.length > 0 && (entries.length + 1) * bodyBytes > bytesMax) break;
        entries.push(entry(lsn, bodyBytes));
      }
      return entries;
    },
  };
  const send = ({ message }: Envelope, entries: readonly Entry[]) => {
    assert(message.type === "append");
    sent.push({ range: message.range, lsns: entries.map(({ lsn }) => lsn) });
  };
  return {
    sent,
    outbox: new Outbox(source, send, { onProblem: assert.fail, failed: assert.fail }),
  };
}

function entry(lsn: number, bodyBytes: number): Entry {
  const body = new Uint8Array(bodyBytes);
  return { lsn: lsn as Lsn, term: 1 as Term, kind: "payload", chain: "0".repeat(16), body };
}

function append(from: number, to: number): Envelope {
  return {
    from: nodeId("a"),
    to: nodeId("b"),
    term: 1 as Term,
    message: {
      type: "append",
      prev: { lsn: (from - 1) as Lsn, term: 1 as Term },
      range: { from: from as Lsn, to: to as Lsn },
      committedLsn: 0 as Lsn,
      stamp: { round: 1, sentMs: 0 },
    },
  };
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
