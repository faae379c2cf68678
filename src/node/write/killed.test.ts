// What becomes of the units of a run whose writer ended: the one to blame is refused, all others run again.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClientError } from "../../base/errors.ts";
import { verdictOn } from "./killed.ts";

type Told = Parameters<typeof verdictOn>[2];

const run = { type: "killed", offender: -1, running: -1, message: "ended", inSession: false };

function verdicts(told: Partial<Told> & { units: number }, alone = false): string[] {
  const items = Array.from({ length: told.units }, () => ({ attempts: 0, alone }));
  const results = items.map((item, i) => verdictOn(item, i, { ...run, ...told } as Told));
  return results.map((result, i) => {
    const name = typeof result === "string" ? result : (result as ClientError).code;
    return items[i]!.alone && name === "again" ? "again alone" : name;
  });
}

test("too large together: each runs alone, and then the one that is too large is refused", () => {
  assert.deepEqual(verdicts({ reason: "too-large", units: 3 }), Array(3).fill("again alone"));
  assert.deepEqual(verdicts({ reason: "too-large", units: 1 }, true), ["TRANSACTION_TOO_LARGE"]);
  const inSession = { reason: "too-large", units: 1, inSession: true } as const;
  assert.deepEqual(verdicts(inSession), ["TRANSACTION_TOO_LARGE"]);
});

test("a unit that ends the transaction of all is found out in the same way", () => {
  assert.deepEqual(verdicts({ reason: "ended", units: 2 }), ["again alone", "again alone"]);
  assert.deepEqual(verdicts({ reason: "ended", units: 1 }), ["BLOCKED"]);
});

test("a disk that takes no more costs the lead, not a unit", () => {
  assert.deepEqual(verdicts({ reason: "disk", units: 2 }), ["lead-lost", "lead-lost"]);
});

test("a statement past its deadline is refused, its neighbours run again", () => {
  const told = { offender: 1, running: 1, units: 3 };
  assert.deepEqual(verdicts(told), ["again", "STATEMENT_TIMEOUT", "again"]);
});

test("a process that ends twice under the same unit is the unit's", () => {
  const item = { attempts: 0, alone: false };
  const told = { ...run, running: 0, units: 1 } as Told;
  assert.equal(verdictOn(item, 0, told), "again");
  const second = verdictOn(item, 0, told) as ClientError;
  assert.equal(second.code, "INTERNAL");
});
