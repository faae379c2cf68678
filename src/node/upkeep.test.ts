import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "../limits.ts";
import type { LogStore } from "../log/log-store.ts";
import { type EntryId, lsn, term } from "../vocabulary.ts";
import type { ServedDatabase } from "./driver.ts";
import { Upkeep } from "./upkeep.ts";

const at = (n: number): EntryId => ({ lsn: lsn(n), term: term(1) });

/** A log of twenty entries that is over its bound, and a database of which so much is durable. */
function ground(durable: number, afterSync: number) {
  const state = { durable, dropped: 0, synced: 0, frames: 0, pauseMs: -1 };
  const served = {
    get walFrames() {
      return state.frames;
    },
    checkpoint: async () => {},
    ...{ position: () => at(20), checksum: () => ({ high: 0, low: 0 }) },
    durablePosition: () => at(state.durable),
    syncWal: async () => {
      state.synced += 1;
      state.durable = afterSync;
    },
  };
  const upkeep = new Upkeep({
    ...{ logRetentionBytes: 1, witness: false, onEvent: () => {} },
    log: {
      ...{ bytes: 2 ** 40, firstLsn: lsn(1), lsnAtBytesFromEnd: () => lsn(15) },
      dropBefore: async (to: number) => {
        state.dropped = to;
      },
    } as unknown as LogStore,
    served: () => served as unknown as ServedDatabase,
    committedLsn: () => lsn(20),
    neededFrom: () => lsn(20),
    keepChecksum: async () => {},
    logStartsAt: () => {},
    pauseViews: (ms) => {
      state.pauseMs = ms;
    },
    failed: (error) => {
      throw error;
    },
  });
  return { state, upkeep };
}

test("entries are dropped only when the database has them for good", async () => {
  const made = ground(9, 20);
  await made.upkeep.round();
  assert.equal(made.state.synced, 1);
  assert.equal(made.state.dropped, 15);
  const stuck = ground(9, 12);
  await stuck.upkeep.round();
  assert.equal(stuck.state.dropped, 12);
  const fine = ground(16, 16);
  await fine.upkeep.round();
  assert.deepEqual([fine.state.synced, fine.state.dropped], [0, 15]);
});

test("the longer a view keeps the WAL from starting over, the longer no transaction begins", async () => {
  const { upkeep, state } = ground(20, 20);
  const pausesAt = async (frames: number) => {
    state.frames = frames;
    await upkeep.round();
    return state.pauseMs;
  };
  const { checkpointFrames, viewPauseMs, transactionIdleMs } = limits;
  assert.equal(await pausesAt(2 * checkpointFrames - 1), 0);
  assert.equal(await pausesAt(2 * checkpointFrames), viewPauseMs);
  assert.equal(await pausesAt(4 * checkpointFrames), transactionIdleMs);
});
