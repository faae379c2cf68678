// How a cursor ends: with its last piece, with its client, or because it took too long; and that its session ends too.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReadOutcome } from "../../db/process/reader-pool.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import { lsn, term } from "../../vocabulary.ts";
import { ReadCursor } from "./read-cursor.ts";

const unit = { requests: [] };

/** A session of three pieces; the next one is made only when it is asked for. */
function scripted({ open = false, hangs = false } = {}) {
  const asked: string[] = [];
  let closed = 0;
  let fail: (error: Error) => void = () => {};
  let pieces = 0;
  const session = {
    run: (_unit: unknown, ask = "run"): Promise<ReadOutcome> => {
      asked.push(ask);
      const more = ++pieces < 3;
      if (hangs && pieces > 1) return new Promise((_, reject) => (fail = reject));
      const piece = { bytes: Buffer.from(`${pieces}\n`), more };
      const position = { lsn: lsn(7), term: term(1) };
      return Promise.resolve({
        ...{ results: [], wrote: false, hasRead: true, inTransaction: open, ...position, piece },
      });
    },
    close: () => {
      closed++;
      fail(new Error("the process was killed"));
    },
  };
  const timers: { ms: number; f: () => void }[] = [];
  const clock = {
    after: (ms: number, f: () => void) => {
      const timer = { ms, f };
      timers.push(timer);
      return () => void timers.splice(timers.indexOf(timer), 1);
    },
  } as unknown as Clock;
  return { session, clock, asked, timers, closed: () => closed };
}

const never = new AbortController().signal;

async function read(cursor: ReadCursor): Promise<string> {
  let text = "";
  for await (const piece of cursor.pieces()) text += Buffer.from(piece).toString();
  return text;
}

test("it makes one piece ahead of its client, and no more", async () => {
  const { session, clock, asked, closed, timers } = scripted();
  const cursor = await ReadCursor.open(session, unit, { clock, signal: never });
  assert.equal(cursor.first.lsn, 7);
  const pieces = cursor.pieces();
  await pieces.next();
  assert.deepEqual(asked, ["cursor", "next"]);
  await pieces.next();
  assert.deepEqual(asked, ["cursor", "next", "next"]);
  await pieces.next();
  assert.equal(closed(), 0);
  const last = await pieces.next();
  assert.ok(last.done === true && !last.value.inTransaction);
  assert.deepEqual([asked.length, closed(), timers.length], [3, 1, 0]);
});

test("a transaction that is open at its end keeps its session", async () => {
  const { session, clock, closed } = scripted({ open: true });
  const cursor = await ReadCursor.open(session, unit, { clock, signal: never });
  assert.equal(await read(cursor), "1\n2\n3\n");
  assert.equal(closed(), 0);
});

test("a client that hangs up ends it in the middle of a step, read or not", async () => {
  for (const isRead of [true, false]) {
    const { session, clock, closed } = scripted({ hangs: true });
    const abort = new AbortController();
    const cursor = await ReadCursor.open(session, unit, { clock, signal: abort.signal });
    const reading = isRead ? assert.rejects(read(cursor), /hung up/) : undefined;
    await new Promise((resolve) => setImmediate(resolve));
    abort.abort();
    await reading;
    assert.equal(closed(), 1);
  }
});

test("who leaves off early, or takes too long, gives the session back", async () => {
  const early = scripted();
  const left = await ReadCursor.open(early.session, unit, { clock: early.clock, signal: never });
  for await (const _ of left.pieces()) break;
  assert.equal(early.closed(), 1);

  const late = scripted({ hangs: true });
  const cursor = await ReadCursor.open(late.session, unit, { clock: late.clock, signal: never });
  const reading = assert.rejects(read(cursor), { code: "STATEMENT_TIMEOUT" });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(late.timers[0]!.ms, limits.cursorMs);
  late.timers[0]!.f();
  await reading;
  assert.equal(late.closed(), 1);
});
