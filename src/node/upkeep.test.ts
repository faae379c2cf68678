import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogStore } from "../log/log-store.ts";
import { type EntryId, lsn, term } from "../vocabulary.ts";
import type { ServedDatabase } from "./driver.ts";
import { Upkeep } from "./upkeep.ts";

const at = (n: number): EntryId => ({ lsn: lsn(n), term: term(1) });

/** A log of twenty entries that is over its bound, and a database of which so much is durable. */
function ground(durable: number, afterSync: number) {
  const state = { durable, dropped: 0, synced: 0 };
  const served = {
    ...{ walFrames: 0, position: () => at(20), checksum: () => ({ high: 0, low: 0 }) },
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
