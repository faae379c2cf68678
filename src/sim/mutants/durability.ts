/** Mutants of what reaches the disk, and of what a start makes of it (log/, wal/, disks). */

import type { Disk } from "../../host/disk.ts";
import { HardStateFile } from "../../log/hard-state.ts";
import { LogStore } from "../../log/log-store.ts";
import { Segment } from "../../log/segment.ts";
import { Database } from "../../node/database.ts";
import { Upkeep } from "../../node/upkeep.ts";
import { ModelServed } from "../model/served.ts";
import { SlowDisk } from "../slow-disk.ts";
import { type Mutant, replaced } from "./mutant.ts";

/** Syncs of files whose path ends like this do nothing. */
function withoutSync(isMeant: (path: string) => boolean): () => void {
  return replaced(
    SlowDisk.prototype,
    "open",
    (original) =>
      async function (this: unknown, path: string, mode: string) {
        const file = await (original.call(this, path, mode) as ReturnType<Disk["open"]>);
        return isMeant(path) ? { ...file, syncData: async () => {} } : file;
      },
  );
}

/** Replacing files of this name does nothing. */
function withoutFile(name: string): () => void {
  return replaced(
    SlowDisk.prototype,
    "replaceFile",
    (original) =>
      async function (this: unknown, path: string, bytes: Uint8Array) {
        if (!path.endsWith(name)) await original.call(this, path, bytes);
      },
  );
}

export const durabilityMutants: readonly Mutant[] = [
  {
    name: "entries are acknowledged before they are written",
    plant: () =>
      replaced(LogStore.prototype, "persist", (original) => {
        const queues = new WeakMap<object, Promise<unknown>>();
        return function (this: LogStore, step) {
          const before = queues.get(this) ?? Promise.resolve();
          queues.set(
            this,
            before.then(() => original.call(this, step)).catch(() => {}),
          );
          return Promise.resolve();
        };
      }),
  },
  {
    name: "entries are written and not synced",
    plant: () => withoutSync((path) => path.endsWith(".segment")),
  },
  {
    name: "term and vote are not written",
    plant: () =>
      replaced(
        LogStore.prototype,
        "persist",
        (original) =>
          function (this: unknown, step) {
            return original.call(this, { ...step, hardState: undefined });
          },
      ),
  },
  {
    name: "term and vote are written and not synced",
    plant: () => withoutSync((path) => path.endsWith("hard-state")),
  },
  {
    name: "a failed fsync is overlooked",
    plant: () =>
      replaced(
        SlowDisk.prototype,
        "open",
        (original) =>
          async function (this: unknown, path: string, mode: string) {
            const file = await (original.call(this, path, mode) as ReturnType<Disk["open"]>);
            return { ...file, syncData: () => file.syncData().catch(() => {}) };
          },
      ),
  },
  {
    name: "a start does not write the log's end again",
    plant: () => replaced(Segment.prototype, "secureTail", () => async () => {}),
  },
  {
    name: "a vote is forgotten at a start",
    plant: () =>
      replaced(
        HardStateFile.prototype,
        "write",
        (original) =>
          function (this: unknown, state) {
            return original.call(this, { ...state, vote: undefined });
          },
      ),
  },
  {
    name: "the log is dropped before the database is durable",
    plant: () =>
      replaced(
        ModelServed.prototype,
        "durablePosition",
        () =>
          function (this: ModelServed) {
            return this.position();
          },
      ),
  },
  { name: "a page sync leaves no record", plant: () => withoutFile("install.json") },
  { name: "the identity is not written", plant: () => withoutFile("identity.json") },
  {
    name: "a database is not compared with the log at a start",
    plant: () =>
      replaced(
        Database.prototype,
        "open",
        (original) =>
          function (this: unknown) {
            return original.call(this, async () => undefined);
          },
      ),
  },
  {
    name: "nothing is ever checkpointed or dropped",
    plant: () => replaced(Upkeep.prototype, "round", () => async () => {}),
  },
];
