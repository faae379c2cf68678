import assert from "node:assert/strict";
import { test } from "node:test";
import { RealClock } from "./clock.ts";

test("timers run when they should, and not once cancelled", async () => {
  const clock = new RealClock();
  const startMs = clock.nowMs();
  const seen: string[] = [];
  const cancelEvery = clock.every(5, () => seen.push("every"));
  const cancelAfter = clock.after(5, () => seen.push("never"));
  cancelAfter();
  await new Promise<void>((resolve) => clock.after(30, resolve));
  cancelEvery();
  assert.ok(clock.nowMs() - startMs >= 29);
  assert.ok(seen.length >= 2 && !seen.includes("never"), seen.join());
  const count = seen.length;
  await new Promise<void>((resolve) => clock.after(15, resolve));
  assert.equal(seen.length, count);
  cancelEvery();
  assert.ok(Number.isInteger(clock.wallMs()) && clock.wallMs() > 1.7e12);
});
