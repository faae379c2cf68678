// Bodies between nodes: the same in one go and in parts, and no long turn for large ones.

import assert from "node:assert/strict";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { test } from "node:test";
import type { Unit } from "../db/sql/request.ts";
import { accessOf } from "../db/stream/access.ts";
import { newConnection } from "../db/stream/connection-state.ts";
import type { RunOptions } from "../node/route/run.ts";
import { encodeRun } from "../node/route/run-body.ts";
import { RequestDecoder } from "./hrana/decode.ts";
import { SqlTexts } from "./hrana/sql-texts.ts";

const options: RunOptions = {
  consistency: { type: "session" },
  minPosition: undefined,
  session: "w.a.1",
  deadlineMs: 7,
  signal: new AbortController().signal,
};

const insert = (i: number, base64: string) => ({
  sql: `INSERT INTO t VALUES (?, :b, 'é\u{1f600}"\\ ${i}')`,
  args: [
    { type: "integer" as const, value: String(i) },
    { type: "text" as const, value: 'a "text"\n' },
    { type: "float" as const, value: 1.5 },
    { type: "float" as const, value: -0 },
    { type: "null" as const },
  ],
  namedArgs: [{ name: ":b", value: { type: "blob" as const, base64 } }],
  wantRows: i % 2 === 0,
});

function unitOf(steps: number, base64: string): Unit {
  const batch = Array.from({ length: steps }, (_, i) => ({
    stmt: insert(i, base64),
    condition: i === 0 ? undefined : { type: "ok" as const, step: i - 1 },
  }));
  return {
    connection: newConnection,
    requests: [
      { type: "execute", stmt: insert(0, base64) },
      { type: "batch", steps: batch },
      { type: "sequence", sql: "SELECT 1; SELECT 2" },
      { type: "get_autocommit" },
    ],
  };
}

test("a large unit arrives as a small one does", async () => {
  for (const [steps, base64] of [
    [1, "AAAA"],
    [3, "AQID".repeat(200_000)],
    [5_000, "AAAA"],
  ] as const) {
    const unit = unitOf(steps, base64);
    const body = JSON.parse(Buffer.from(await encodeRun(unit, options, true)).toString());
    const { requests, ...head } = body;
    assert.deepEqual(head, {
      ...{ onwards: true, consistency: "session", session: "w.a.1", deadlineMs: 7 },
      connection: newConnection,
    });
    const decoded = new RequestDecoder(new SqlTexts({ usedChars: 0 })).pipeline(requests);
    assert.deepEqual(
      decoded.map((each) => each.type === "sql" && each.request),
      unit.requests,
    );
  }
});

test("50,000 statements and 50 MB are made into a body without a long turn", async () => {
  for (const unit of [unitOf(50_000, "AAAA"), unitOf(1, "A".repeat(60_000_000))]) {
    const startedMs = performance.now();
    await encodeRun(unit, options, false);
    const wholeMs = performance.now() - startedMs;
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = delay.max;
    delay.reset();
    await encodeRun(unit, options, false);
    delay.disable();
    const maxMs = delay.max / 1e6;
    assert.ok(
      maxMs < Math.max(150, wholeMs * 0.6),
      `${maxMs} ms of ${wholeMs}, ${before / 1e6} idle`,
    );
  }
});

test("what a batch is, is known after its first write, whatever comes behind", () => {
  const sql = `INSERT INTO t VALUES ${"(1, 'some text', 2.5),".repeat(20_000)} (1, 2, 3)`;
  const stmt = { sql, args: [], namedArgs: [], wantRows: false };
  const first = { stmt: { ...stmt, sql: "DELETE FROM t" }, condition: undefined };
  const rest = Array.from({ length: 200 }, () => ({ stmt, condition: undefined }));
  const unit: Unit = { requests: [{ type: "batch", steps: [first, ...rest] }] };
  const startedMs = performance.now();
  assert.equal(accessOf(unit), "write");
  assert.ok(performance.now() - startedMs < 20);
});
