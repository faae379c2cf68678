/** Windows are complete, and nothing stays behind. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { HistoryEvent } from "../../src/sim/checkers/history.ts";
import { type Window, Windows } from "./windows.ts";

function event(process: string, key: string, type: HistoryEvent["type"]): HistoryEvent {
  const none = { value: undefined, node: undefined, term: undefined, lsn: undefined };
  return { process, op: "read", key, type, atNs: 0, ...none };
}

function cut(events: readonly HistoryEvent[]): { handed: Window[]; atEnd: Window[] } {
  const all: Window[] = [];
  const windows = new Windows((window) => all.push(window));
  for (const one of events) windows.add(one);
  const handed = [...all];
  windows.finish();
  return { handed, atEnd: all.slice(handed.length) };
}

test("a window is handed on when the next has begun and nothing of its own is open", () => {
  const { handed, atEnd } = cut([
    event("a", "list/0", "invoke"),
    event("b", "list/0", "invoke"),
    event("a", "list/0", "ok"),
    event("a", "list/1", "invoke"),
    event("b", "list/0", "info"),
    event("a", "list/1", "ok"),
  ]);
  assert.deepEqual(
    handed.map(({ key, events }) => [key, events.length]),
    [["list/0", 4]],
  );
  assert.deepEqual(
    atEnd.map(({ key, events }) => [key, events.length]),
    [["list/1", 2]],
  );
});

test("a window with something open waits for it, also past others", () => {
  const { handed } = cut([
    event("slow", "cell-0/0", "invoke"),
    event("a", "cell-0/1", "invoke"),
    event("a", "cell-0/1", "ok"),
    event("a", "cell-0/2", "invoke"),
    event("slow", "cell-0/0", "ok"),
  ]);
  assert.deepEqual(
    handed.map(({ key }) => key),
    ["cell-0/1", "cell-0/0"],
  );
});

test("families do not touch each other, and rows need no window", () => {
  const { handed, atEnd } = cut([
    event("a", "bank/0", "invoke"),
    event("a", "bank/0", "ok"),
    event("b", "session/5", "invoke"),
    event("c", "row/1", "invoke"),
  ]);
  assert.equal(handed.length, 0);
  assert.deepEqual(
    atEnd.map(({ key }) => key),
    ["bank/0", "session/5"],
  );
});
