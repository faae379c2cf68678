// Which entry an operator means, and what is refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../../base/errors.ts";
import { type EntryId, lsn, term } from "../../vocabulary.ts";
import { RollForward } from "./roll-forward.ts";
import { parseRollTarget } from "./roll-target.ts";
import { beginMs, DelayBed } from "./testbed.ts";

const hour = 3_600_000;
const minute = 60_000;

/**
 * Entries 1 to 3 are applied, a minute apart and older than the delay; 4 and 5 of the last hour, 6 begins term 2, and 7
 * is the accident.
 */
async function ground(options: { readonly leader?: boolean } = {}) {
  const bed = new DelayBed(hour);
  for (const minutes of [90, 89, 88, 30, 20]) bed.write(beginMs - minutes * minute);
  bed.write(undefined, 2);
  bed.write(beginMs - 10 * minute, 2);
  await bed.commit();
  const state = {
    written: undefined as EntryId | undefined,
    damage: undefined as string | undefined,
  };
  let isEarly = true;
  const roll = new RollForward({
    ...{
      clock: bed.clock,
      log: bed.log,
      delay: bed.delay,
      applied: bed.applied,
      onEvent: () => {},
    },
    damage: () => state.damage,
    changedBy: () => ({ lsn: lsn(3), term: term(1) }),
    readIndex: async () => {
      if (options.leader === false) throw new ClientError("NO_LEADER", "nobody");
      await bed.commit();
      return lsn(bed.entries.length);
    },
    write: async (hold) => {
      isEarly &&= bed.at < hold.lsn;
      state.written = hold;
    },
    remove: async () => {
      state.written = undefined;
    },
  });
  return { bed, roll, state, wasEarly: () => isEarly };
}

const refusedAs = (code: string) => (error: unknown) =>
  error instanceof ClientError && error.code === code;

test("it is written down before the first entry is applied for it", async () => {
  const { roll, wasEarly } = await ground();
  await roll.to("5@1");
  assert.ok(wasEarly());
});

test("to a position: that entry is the last one, and it is written down", async () => {
  const { bed, roll, state } = await ground();
  const answer = await roll.to("5@1");
  await bed.clock.pass(2 * hour);
  assert.equal(bed.at, 5);
  assert.equal(answer.target, "5@1");
  assert.equal(answer.nextAtMs, beginMs - 10 * minute);
  assert.deepEqual(state.written, { lsn: 5, term: 1 });
  await roll.resume();
  await bed.clock.pass(0);
  assert.equal(bed.at, 7);
  assert.equal(state.written, undefined);
});

test("to a time: up to the first change that was committed later", async () => {
  const { bed, roll } = await ground();
  const at = new Date(beginMs - 15 * minute).toISOString();
  assert.equal((await roll.to(at)).target, "6@2");
  assert.equal((await roll.to(String(beginMs - 10 * minute))).target, "7@2");
  await bed.clock.pass(0);
  assert.equal(bed.at, 7);
  const exact = await ground();
  assert.equal((await exact.roll.to(String(beginMs - 20 * minute))).target, "6@2");
  const before = await ground();
  assert.equal((await before.roll.to(String(beginMs - 20 * minute - 1))).target, "4@1");
  const between = await ground();
  assert.equal((await between.roll.to(String(beginMs - 60 * minute))).target, "3@1");
});

test("to now: what the cluster has committed when it is asked, and nothing after it", async () => {
  const { bed, roll } = await ground();
  bed.write(beginMs, 2);
  assert.equal((await roll.to("now")).target, "8@2");
  bed.write(beginMs, 2);
  await bed.commit();
  await bed.clock.pass(2 * hour);
  assert.equal(bed.at, 8);
});

test("a cluster that does not answer: what is known here can be chosen, and the answer says so", async () => {
  const { roll } = await ground({ leader: false });
  const late = await roll.to(new Date(beginMs - minute).toISOString());
  assert.deepEqual([late.target, late.leaderSilent], ["7@2", true]);
  const early = await ground({ leader: false });
  const sure = await early.roll.to(new Date(beginMs - 15 * minute).toISOString());
  assert.deepEqual([sure.target, sure.leaderSilent], ["6@2", false]);
});

test("where it is already: nothing more is applied", async () => {
  const { bed, roll } = await ground();
  assert.equal((await roll.to("3")).target, "3@1");
  await bed.clock.pass(3 * hour);
  assert.equal(bed.at, 3);
});

test("refused: passed, ahead, of another cluster, no moment at all, damaged; and the delay goes on", async () => {
  const { bed, roll, state } = await ground();
  for (const [to, code] of [
    ["2", "POSITION_PASSED"],
    ["2@1", "POSITION_PASSED"],
    [new Date(beginMs - 89 * minute).toISOString(), "POSITION_PASSED"],
    ["99", "POSITION_AHEAD"],
    ["99@7", "POSITION_AHEAD"],
    [new Date(beginMs + minute).toISOString(), "POSITION_AHEAD"],
    ["5@9", "POSITION_UNKNOWN"],
    ["2@9", "POSITION_UNKNOWN"],
    ["yesterday", "BAD_REQUEST"],
    ["2026-11-21T10:00:00", "BAD_REQUEST"],
    ["2026-13-41T10:00:00Z", "BAD_REQUEST"],
    ["", "BAD_REQUEST"],
    ["-1", "BAD_REQUEST"],
  ] as const) {
    await assert.rejects(roll.to(to), refusedAs(code), to);
  }
  state.damage = "pages differ";
  await assert.rejects(roll.to("5"), refusedAs("NOT_READY"));
  assert.equal(state.written, undefined);
  assert.equal(bed.at, 3);
  await bed.clock.pass(35 * minute);
  assert.equal(bed.at, 4);
});

test("an entry before others that are no change is not passed by those", async () => {
  const { bed, roll } = await ground();
  await bed.clock.pass(41 * minute);
  assert.equal(bed.at, 6);
  assert.equal((await roll.to("5@1")).target, "6@2");
  await assert.rejects(roll.to("4@1"), refusedAs("POSITION_PASSED"));
});

test("nobody knows how old copied pages are: a time is refused, a position is not", async () => {
  const { bed, roll } = await ground();
  bed.delay.jumpedTo(lsn(5));
  bed.base = { lsn: lsn(5), term: term(1) };
  await assert.rejects(
    new RollForward({ ...partsOf(bed), changedBy: () => ({ lsn: lsn(5), term: term(1) }) }).to(
      new Date(beginMs - 15 * minute).toISOString(),
    ),
    refusedAs("POSITION_PASSED"),
  );
  assert.equal((await roll.to("6")).target, "6@2");
});

function partsOf(bed: DelayBed) {
  return {
    ...{
      clock: bed.clock,
      log: bed.log,
      delay: bed.delay,
      applied: bed.applied,
      onEvent: () => {},
    },
    ...{ damage: () => undefined, readIndex: async () => lsn(7) },
    ...{ write: async () => {}, remove: async () => {} },
  };
}

test("an entry that it is held at and that the cluster lost is not waited for", async () => {
  const { bed, roll, state } = await ground();
  await roll.to("7");
  await bed.clock.pass(0);
  await roll.rewindTo(lsn(5));
  assert.deepEqual(state.written, { lsn: 4, term: 1 });
  bed.entries.splice(4);
  bed.write(beginMs, 3);
  await bed.commit();
  await bed.clock.pass(3 * hour);
  assert.equal(bed.delay.released, 4);
});

test("while the entry is looked for nothing becomes due", async () => {
  const { bed, roll } = await ground();
  bed.delay.freeze();
  await bed.clock.pass(3 * hour);
  assert.equal(bed.at, 3);
  await roll.to("5");
  await bed.clock.pass(0);
  assert.equal(bed.at, 5);
});

test("moments are read as people write them", () => {
  assert.deepEqual(parseRollTarget(" 42@3 "), { type: "position", id: { lsn: 42, term: 3 } });
  assert.deepEqual(parseRollTarget("42"), { type: "position", id: { lsn: 42, term: 0 } });
  assert.deepEqual(parseRollTarget("now"), { type: "now" });
  const time = { type: "time", atMs: beginMs };
  for (const text of [
    "2026-11-21T10:00:00Z",
    "2026-11-21 10:00Z",
    "2026-11-21T12:00:00.000+02:00",
    String(beginMs),
  ]) {
    assert.deepEqual(parseRollTarget(text), time, text);
  }
});
