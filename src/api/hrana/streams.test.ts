// The life of streams, on a clock that the test turns.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../../base/errors.ts";
import { newConnection } from "../../db/stream/connection-state.ts";
import { limits } from "../../limits.ts";
import { nodeId } from "../../vocabulary.ts";
import type { Stream } from "./stream.ts";
import { Streams } from "./streams.ts";

function setup() {
  const clock = { now: 0, sweep: () => {} };
  const closed: string[] = [];
  const streams = new Streams({
    node: nodeId("a"),
    secret: "s",
    clock: {
      nowMs: () => clock.now,
      every: (_ms, f) => {
        clock.sweep = f;
        return () => {};
      },
    },
    closeSession: (session) => closed.push(session),
  });
  const pass = (ms: number) => {
    clock.now += ms;
    clock.sweep();
  };
  const found = (baton: string): Stream => {
    const result = streams.find(baton);
    assert.ok(result.type === "stream");
    return result.stream;
  };
  const opened = (session?: string): string => {
    const stream = streams.open();
    streams.admit(stream);
    stream.session = session;
    return streams.keep(stream);
  };
  const whyGone = (baton: string): string => {
    const result = streams.find(baton);
    assert.ok(result.type === "gone");
    return result.error.code;
  };
  return { streams, closed, pass, found, opened, whyGone };
}

test("an idle stream with something of its own ends, is remembered for a while, and then forgotten", () => {
  const { streams, pass, found, opened, whyGone } = setup();
  const stream = found(opened());
  stream.texts.store(1, "SELECT 1");
  const baton = streams.keep(stream);
  pass(limits.streamIdleMs - 1);
  assert.equal(streams.count, 1);
  pass(1);
  assert.equal(streams.count, 0);
  assert.equal(whyGone(baton), "STREAM_EXPIRED");
  pass(limits.streamTombstoneMs);
  assert.equal(whyGone(baton), "STREAM_EXPIRED");
});

test("an idle stream that has nothing of its own goes on as if it had never ended", () => {
  const { streams, pass, found, opened, whyGone } = setup();
  const old = opened();
  const used = found(old);
  const connection = { ...newConnection, settings: { busy_timeout: "7" }, lastInsertRowid: "5" };
  used.connection = connection;
  const baton = streams.keep(used);
  pass(limits.streamIdleMs);
  assert.equal(streams.count, 0);
  assert.equal(whyGone(old), "STREAM_EXPIRED", "it was used before");
  const stream = found(baton);
  assert.deepEqual(stream.connection, connection);
  streams.admit(stream);
  assert.throws(() => streams.find(baton), { code: "BATON_INVALID" }, "each is good once");
  const next = streams.keep(stream);
  assert.throws(() => streams.find(baton), { code: "BATON_INVALID" });
  // Longer than anyone remembers: connections of a pool come back after a night.
  pass(limits.streamIdleMs);
  pass(limits.streamTombstoneMs);
  assert.equal(found(next).id, stream.id);
});

test("what a stream has of its own keeps it from being opened anew", () => {
  const changes: ((stream: Stream) => void)[] = [
    (stream) => stream.texts.store(1, "SELECT 1"),
    (stream) => {
      stream.session = "s1";
    },
  ];
  for (const change of changes) {
    const { streams, pass, found, opened, whyGone } = setup();
    const stream = found(opened());
    change(stream);
    const baton = streams.keep(stream);
    pass(limits.streamIdleMs);
    assert.equal(whyGone(baton), "STREAM_EXPIRED");
  }
});

test("an idle transaction ends long before its stream, which remembers it", () => {
  const { closed, pass, found, opened } = setup();
  const baton = opened("s1");
  pass(limits.transactionIdleMs);
  assert.deepEqual(closed, ["s1"]);
  const stream = found(baton);
  assert.equal(stream.session, undefined);
  assert.equal(stream.lost?.code, "TRANSACTION_TIMEOUT");
});

test("a busy stream does not expire, and its idle time counts from its end", () => {
  const { streams, closed, pass, found, opened } = setup();
  const stream = found(opened("s1"));
  pass(limits.streamIdleMs * 2);
  assert.equal(streams.count, 1);
  assert.deepEqual(closed, []);
  streams.keep(stream);
  pass(limits.transactionIdleMs - 1);
  assert.deepEqual(closed, []);
  streams.close();
  assert.deepEqual(closed, ["s1"]);
});

test("a closed stream and a broken one", () => {
  const { streams, found, opened, whyGone } = setup();
  const batons = [opened(), opened()] as const;
  streams.end(found(batons[0]), "closed");
  streams.end(found(batons[1]), "broken");
  for (const baton of batons) assert.equal(whyGone(baton), "BATON_INVALID");
});

test("no more streams than the limit; refused before anything runs", () => {
  const { streams, opened } = setup();
  for (let i = 0; i < limits.streamsMax; i++) opened();
  assert.throws(
    () => streams.admit(streams.open()),
    (error) => error instanceof ClientError && error.code === "OVERLOADED",
  );
});
