// Bounds that must fit together: what can be written can be read back, sent on, and kept.

import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "./limits.ts";

const asBase64 = (bytes: number) => Math.ceil(bytes / 3) * 4;
/** Room for the SQL and the JSON around a value. */
const aroundBytes = 1024 * 1024;

test("one value of the largest size fits into a request and into an answer", () => {
  const bytes = asBase64(limits.valueBytesMax) + aroundBytes;
  assert.ok(bytes <= limits.requestBytesMax, "a request holds it");
  assert.ok(bytes <= limits.responseBytesMax, "an answer holds it");
});

test("what a client may send, a node may send on to another", () => {
  const emptyListsBytes = 40 * limits.batchStepsMax;
  const bytes = limits.requestBytesMax + limits.expandedSqlBytesMax + emptyListsBytes;
  assert.ok(bytes <= limits.internalBytesMax);
});

test("a budget admits the largest thing that it counts", () => {
  assert.ok(limits.internalBytesMax <= limits.largeBodiesBytesMax);
  assert.ok(limits.responseBytesMax <= limits.largeAnswersBytesMax);
  assert.ok(limits.smallBodyBytes < limits.requestBytesMax);
});

test("one value, and one statement's text, fit into a transaction, and that into a frame", () => {
  assert.ok(limits.sqlBytesMax <= limits.expandedSqlBytesMax);
  assert.ok(limits.expandedSqlBytesMax <= limits.requestBytesMax);
  assert.ok(limits.valueBytesMax < limits.transactionBytesMax);
  assert.ok(limits.transactionBytesMax < limits.peerFrameBytesMax);
});

test("a stalled client of a cursor is cut off before the cursor is too old", () => {
  assert.ok(2 * limits.httpStalledMs < limits.cursorMs);
});
