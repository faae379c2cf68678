// When a delayed node applies what, on clocks that are moved by hand.

import assert from "node:assert/strict";
import { test } from "node:test";
import { lsn, term } from "../../vocabulary.ts";
import { beginMs, DelayBed } from "./testbed.ts";

const hour = 3_600_000;
const minute = 60_000;

test("an entry is applied when the delay has passed since its commit, not before and not much after", async () => {
  const bed = new DelayBed(hour);
  bed.write(beginMs);
  await bed.commit();
  await bed.clock.pass(10 * minute);
  bed.write(beginMs + 10 * minute);
  await bed.commit();
  await bed.clock.pass(50 * minute - 1);
  assert.equal(bed.at, 0);
  await bed.clock.pass(11);
  assert.equal(bed.at, 1);
  await bed.clock.pass(10 * minute - 100);
  assert.equal(bed.at, 1);
  await bed.clock.pass(100);
  assert.equal(bed.at, 2);
});

test("what is no change goes with what comes before it, and never past what waits", async () => {
  const bed = new DelayBed(hour);
  bed.write(undefined);
  bed.write(undefined);
  await bed.commit();
  assert.equal(bed.at, 2);
  bed.write(beginMs);
  bed.write(undefined);
  await bed.commit();
  await bed.clock.pass(minute);
  bed.write(beginMs + minute);
  await bed.commit();
  assert.equal(bed.at, 2);
  await bed.clock.pass(hour - minute);
  assert.equal(bed.at, 4);
});

test("after a restart it goes on counting from the commits; what is older than the delay is applied at once", async () => {
  const bed = new DelayBed(hour, 1);
  for (const minutes of [90, 80, 70, 65, 30, 20]) bed.write(beginMs - minutes * minute);
  await bed.commit();
  assert.equal(bed.at, 4);
  await bed.clock.pass(30 * minute);
  assert.equal(bed.at, 5);
  await bed.clock.pass(10 * minute);
  assert.equal(bed.at, 6);
});

test("many entries that wait are not read again and again", async () => {
  const bed = new DelayBed(minute);
  for (let i = 0; i < 100; i++) {
    bed.write(beginMs + i * 100);
    await bed.commit();
    await bed.clock.pass(100);
  }
  assert.equal(bed.reads, 1);
  await bed.clock.pass(minute + 100);
  assert.equal(bed.at, 100);
  assert.ok(bed.reads <= 40, `${bed.reads} reads of up to 3 entries`);
});

test("a leader whose clock is ahead delays by no more than the delay, and a little", async () => {
  const bed = new DelayBed(hour);
  for (let i = 0; i < 10; i++) bed.write(beginMs + 24 * hour + i);
  await bed.commit();
  await bed.clock.pass(hour - minute);
  assert.equal(bed.at, 0);
  await bed.clock.pass(2 * minute + hour / 64);
  assert.equal(bed.at, 10);
});

test("our wall clock set forward makes nothing due early; set back, nothing later than the delay after it came", async () => {
  const ahead = new DelayBed(hour);
  ahead.write(beginMs);
  await ahead.commit();
  ahead.clock.stepWall(24 * hour);
  await ahead.clock.pass(hour - 1_000);
  assert.equal(ahead.at, 0);
  await ahead.clock.pass(1_000);
  assert.equal(ahead.at, 1);
  const behind = new DelayBed(hour);
  behind.write(beginMs);
  await behind.commit();
  behind.clock.stepWall(-24 * hour);
  await behind.clock.pass(hour + 1_000);
  assert.equal(behind.at, 1);
});

test("held: everything up to the entry, at once, and nothing after it, however old", async () => {
  const bed = new DelayBed(hour);
  for (let i = 0; i < 8; i++) bed.write(beginMs + i);
  await bed.commit();
  bed.delay.hold({ lsn: lsn(5), term: term(1) });
  await bed.clock.pass(0);
  assert.equal(bed.at, 5);
  await bed.clock.pass(5 * hour);
  assert.equal(bed.at, 5);
  bed.delay.resume();
  await bed.clock.pass(0);
  assert.equal(bed.at, 8);
});

test("held over a restart, also on the way there", async () => {
  const bed = new DelayBed(hour, 2, { lsn: lsn(5), term: term(1) });
  for (let i = 0; i < 3; i++) bed.write(beginMs - 3 * hour);
  await bed.commit();
  assert.equal(bed.at, 3);
  for (let i = 0; i < 3; i++) bed.write(beginMs - 3 * hour);
  await bed.commit();
  assert.equal(bed.at, 5);
  await bed.clock.pass(hour);
  assert.equal(bed.at, 5);
});

test("the lag is the time since the first commit that is not shown, and none when there is none", async () => {
  const bed = new DelayBed(hour);
  assert.equal(bed.delay.lagMs(lsn(bed.at), 0), undefined);
  bed.write(beginMs);
  await bed.commit();
  await bed.clock.pass(20 * minute);
  bed.write(beginMs + 20 * minute);
  await bed.commit();
  await bed.clock.pass(30 * minute);
  assert.equal(bed.delay.lagMs(lsn(bed.at), 0), 50 * minute);
  await bed.clock.pass(10 * minute);
  assert.equal(bed.delay.lagMs(lsn(bed.at), beginMs), 40 * minute);
  bed.delay.hold({ lsn: lsn(1), term: term(1) });
  await bed.clock.pass(2 * hour);
  assert.equal(bed.delay.lagMs(lsn(bed.at), beginMs), 160 * minute);
  bed.delay.resume();
  await bed.clock.pass(0);
  assert.equal(bed.delay.lagMs(lsn(bed.at), beginMs), undefined);
});

test("entries that gave way are forgotten, and those in their place wait on their own", async () => {
  const bed = new DelayBed(hour);
  bed.write(beginMs);
  bed.write(beginMs);
  await bed.commit();
  await bed.clock.pass(30 * minute);
  bed.delay.rewindTo(lsn(2));
  bed.entries.pop();
  bed.write(beginMs + 30 * minute, 2);
  await bed.commit();
  await bed.clock.pass(31 * minute);
  assert.equal(bed.at, 1);
  await bed.clock.pass(hour);
  assert.equal(bed.at, 2);
});

test("page sync goes past what waited", async () => {
  const bed = new DelayBed(hour);
  for (let i = 0; i < 4; i++) bed.write(beginMs);
  await bed.commit();
  bed.delay.jumpedTo(lsn(3));
  await bed.clock.pass(minute);
  assert.equal(bed.at, 0, "what page sync did is not for applying to do");
  assert.equal(bed.delay.released, 3);
  await bed.clock.pass(hour);
  assert.equal(bed.at, 4);
});
