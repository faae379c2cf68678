import assert from "node:assert/strict";
import { test } from "node:test";
import { RealClock } from "../../host/clock.ts";
import { type Term, zeroEntryId } from "../../vocabulary.ts";
import type { WritePorts } from "./ports.ts";
import { Writes } from "./writes.ts";

test("who ends its hold does not end that of another", async () => {
  let runs = 0;
  const writer = {
    pid: 1,
    closed: new Promise<void>(() => {}),
    open: async () => {},
    kill: () => {},
    run: () => {
      runs++;
      return new Promise(() => {});
    },
  };
  const writes = new Writes({
    self: "a",
    clock: new RealClock(),
    randomHex: () => "00",
    last: () => zeroEntryId,
    drained: async () => {},
    makeScratch: async () => ({ path: "/nowhere" }),
    hashes: () => ({ pageCount: 1, checksum: () => 0n, hashOf: () => 0n }),
    spawnWriter: () => writer,
    recording: () => undefined,
    confirmLead: async () => {},
    onEvent: () => {},
    failed: (error: Error) => {
      throw error;
    },
  } as unknown as WritePorts);
  writes.lead(1 as Term);
  while (!writes.ready) await new Promise((resolve) => setTimeout(resolve, 1));
  await writes.hold(); // a node that leaves
  await writes.hold(); // a switchover meanwhile
  writes.release(); // which has failed
  const options = { bytes: 1, signal: new AbortController().signal, origin: undefined };
  writes
    .run({ steps: [] } as never, { ...options, session: undefined, ack: undefined } as never)
    .catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(runs, 0);
  assert.equal(writes.queued, 1);
  writes.release();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(runs, 1);
  writes.stepDown();
});
