import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Prng } from "../../base/prng.ts";
import {
  decodeHistory,
  encodeHistory,
  HistoryError,
  type HistoryEvent,
  mergeHistories,
} from "./history.ts";
import { isWrite, pairHistory } from "./operations.ts";
import { byHand, runStore, tableEffect } from "./test-store.ts";

const event = (more: Partial<HistoryEvent>): HistoryEvent => ({
  process: 1,
  op: "read",
  key: "x",
  value: undefined,
  type: "invoke",
  atNs: 0,
  node: undefined,
  term: undefined,
  lsn: undefined,
  ...more,
});

describe("histories", () => {
  test("what was encoded is decoded", () => {
    const prng = new Prng(1);
    const wish = () => ({ op: prng.chance(0.5) ? "read" : "append", key: 'ä\n"', value: 1 });
    const events = runStore({
      prng,
      clients: 4,
      operations: 200,
      wish,
      effect: tableEffect,
      lost: 0.1,
    });
    const text = encodeHistory(events);
    assert.deepEqual(decodeHistory(text), JSON.parse(JSON.stringify(events), undefinedToo));
    assert.deepEqual(pairHistory(decodeHistory(text)), pairHistory(events));
  });

  test("a history cut at any byte still reads, and has no more operations than before", () => {
    const events = [event({}), event({ type: "ok", value: [1, 2], atNs: 5 }), event({ atNs: 7 })];
    const text = encodeHistory(events);
    for (let end = 0; end <= text.length; end++) {
      const operations = pairHistory(decodeHistory(text.slice(0, end)));
      assert.ok(operations.length <= 2);
    }
  });

  test("milliseconds of a simulated clock", () => {
    const line = JSON.stringify({ process: "c1", op: "read", type: "invoke", atMs: 1.5 });
    assert.equal(decodeHistory(`${line}\n`)[0]!.atNs, 1_500_000);
  });

  test("an operation without end, and one with info, return at infinity", () => {
    const operations = pairHistory([
      event({ process: 1 }),
      event({ process: 2 }),
      event({ process: 1, type: "info", atNs: 4 }),
      event({ process: 1, op: "write", value: 3, atNs: 5 }),
      event({ process: 1, op: "write", type: "ok", atNs: 6, term: 2, lsn: 7, node: "a" }),
    ]);
    assert.deepEqual(
      operations.map(({ outcome }) => outcome),
      ["info", "info", "ok"],
    );
    assert.equal(operations[0]!.returnedAt, Number.POSITIVE_INFINITY);
    assert.deepEqual(
      (({ input, invokedAt, returnedAt, lsn, node }) => ({
        input,
        invokedAt,
        returnedAt,
        lsn,
        node,
      }))(operations[2]!),
      { input: 3, invokedAt: 3, returnedAt: 4, lsn: 7, node: "a" },
    );
  });

  test("merging: equal times count as concurrent", () => {
    const first = [event({ atNs: 1 }), event({ type: "ok", atNs: 5 })];
    const second = [event({ process: 2, atNs: 5 }), event({ process: 2, type: "ok", atNs: 6 })];
    const [a, b] = pairHistory(mergeHistories([first, second]));
    assert.ok(a!.returnedAt > b!.invokedAt);
  });

  const bad: Record<string, () => unknown> = {
    "no JSON": () => decodeHistory("{\n"),
    "no object": () => decodeHistory("1\n"),
    null: () => decodeHistory("null\n"),
    "no process": () => decodeHistory('{"op":"read","type":"ok","atNs":1}\n'),
    "no op": () => decodeHistory('{"process":1,"type":"ok","atNs":1}\n'),
    "no time": () => decodeHistory('{"process":1,"op":"read","type":"ok"}\n'),
    "a time that is text": () =>
      decodeHistory('{"process":1,"op":"read","type":"ok","atNs":"1"}\n'),
    "no such type": () => decodeHistory('{"process":1,"op":"read","type":"okay","atNs":1}\n'),
    "an LSN that is text": () =>
      decodeHistory('{"process":1,"op":"read","type":"ok","atNs":1,"lsn":"4"}\n'),
    "a term with a fraction": () =>
      decodeHistory('{"process":1,"op":"read","type":"ok","atNs":1,"term":1.5}\n'),
    "a key that is a number": () =>
      decodeHistory('{"process":1,"op":"read","key":1,"type":"ok","atNs":1}\n'),
    "two things at a time": () => pairHistory([event({}), event({})]),
    "an end without start": () => pairHistory([event({ type: "ok" })]),
    "an end of something else": () => pairHistory([event({}), event({ op: "write", type: "ok" })]),
    "two ends": () => pairHistory([event({}), event({ type: "ok" }), event({ type: "ok" })]),
    "time runs backwards": () => pairHistory([event({ atNs: 2 }), event({ type: "ok", atNs: 1 })]),
    "time runs backwards in one of two": () =>
      mergeHistories([[event({ atNs: 2 }), event({ atNs: 1 })]]),
  };
  for (const [claim, act] of Object.entries(bad)) {
    test(`refused: ${claim}`, () => assert.throws(act, HistoryError));
  }

  test("what is a write", () => {
    const operations = byHand([
      { p: 1, op: "read", out: 1 },
      { p: 1, op: "cas", in: [1, 2], out: false },
      { p: 1, op: "cas", in: [1, 2], out: true },
      { p: 1, op: "txn", in: [["r", "x", null]], out: [["r", "x", 1]] },
      {
        p: 1,
        op: "txn",
        in: [
          ["r", "x", null],
          ["append", "x", 1],
        ],
      },
      { p: 1, op: "transfer", in: {} },
    ]);
    assert.deepEqual(operations.map(isWrite), [false, false, true, false, true, true]);
  });
});

/** JSON leaves undefined fields out; a decoded event has them. */
function undefinedToo(_name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("process" in value)) return value;
  return { ...event({}), key: undefined, ...value };
}
