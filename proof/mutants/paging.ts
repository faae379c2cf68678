/**
 * Mutants of the served database and its WAL (db/served, wal/), which stories on a model database do without. They are
 * hunted by random work beside stock SQLite ("pages") and by a foreign process that reads and tries to write
 * ("foreign"). Those of the scratch are in leading.ts.
 */

import { closeSync, openSync } from "node:fs";
import { Capture } from "../../src/db/scratch/capture.ts";
import { Applier } from "../../src/db/served/applier.ts";
import { Checkpointer } from "../../src/db/served/connections/checkpointer.ts";
import { WriteLock } from "../../src/db/served/connections/write-lock.ts";
import { Descriptors } from "../../src/db/served/descriptors.ts";
import { PageTable } from "../../src/db/served/page-table.ts";
import { Served } from "../../src/db/served/served.ts";
import { all, type Mutant, marked, replaced } from "../../src/sim/mutants/mutant.ts";
import { type EntryId, zeroEntryId } from "../../src/vocabulary.ts";
import { FrameEncoder } from "../../src/wal/frame-encoder.ts";
import { IndexBlock } from "../../src/wal/index-block.ts";
import type { PageSet } from "../../src/wal/page-set.ts";
import { checkpointStateAt } from "../../src/wal/wal-index.ts";
import { WalReader } from "../../src/wal/wal-reader.ts";

const pages = "pages" as const;

/** A change with one page less. */
function without(set: PageSet, index: number): PageSet {
  const size = set.pageSize;
  const kept = [...set.pgnos.keys()].filter((i) => i !== index);
  const pgnos = Uint32Array.from(kept, (i) => set.pgnos[i]!);
  const hashes = Uint32Array.from(
    kept.flatMap((i) => [set.hashes[2 * i]!, set.hashes[2 * i + 1]!]),
  );
  const bytes = new Uint8Array(kept.length * size);
  for (const [to, i] of kept.entries()) {
    bytes.set(set.pages.subarray(i * size, (i + 1) * size), to * size);
  }
  return { ...set, pgnos, hashes, pages: bytes };
}

/** A page of zeros: there, but not written by SQLite. */
function emptyPageOf({ pgnos, pages, pageSize }: PageSet): number {
  return pgnos.findIndex((_, i) =>
    pages.subarray(i * pageSize, (i + 1) * pageSize).every((byte) => byte === 0),
  );
}

/** Every change is taken for what `as` makes of it. */
function captured(as: (set: PageSet) => PageSet): () => void {
  return replaced(
    Capture.prototype,
    "capture",
    (original) =>
      function (this: Capture) {
        const set = original.call(this) as PageSet | undefined;
        return set && as(set);
      },
  );
}

/** SQLite's checkpoints say in a row that they were held up, and throw nothing. */
function answerIgnored(name: "truncateNow" | "restartNow"): () => void {
  return replaced(
    Checkpointer.prototype,
    name,
    (original) =>
      function (this: Checkpointer) {
        original.call(this);
        return true;
      },
  );
}

/** However far readers let a checkpoint go. */
function everythingCopied(): () => void {
  return replaced(
    Checkpointer.prototype,
    "passive",
    (original) =>
      async function (this: Checkpointer) {
        await original.call(this);
        return Number.MAX_SAFE_INTEGER;
      },
  );
}

function lockLetGo(): () => void {
  return replaced(
    Served.prototype,
    "apply",
    (original) =>
      async function (this: Served, ...args) {
        await original.apply(this, args);
        for (const lock of locks) lock.release();
      },
  );
}

export const pagingMutants: readonly Mutant[] = [
  {
    name: "a change of many pages loses one on the way",
    ground: pages,
    plant: () => captured((set) => (set.pgnos.length < 9 ? set : without(set, 4))),
  },
  {
    name: "pages beyond the new end are kept when a database shrinks",
    ground: pages,
    plant: () => {
      let largest = 0;
      return captured((set) => {
        largest = Math.max(largest, set.pageCount);
        return { ...set, pageCount: largest };
      });
    },
  },
  {
    name: "the header of the wal-index before the frames",
    ground: pages,
    plant: () =>
      replaced(
        Descriptors.prototype,
        "writeNow",
        (original) =>
          function (this: Descriptors, file, bytes, at) {
            if (file === "shm" || at === 0) return original.call(this, file, bytes, at);
            const copy = Uint8Array.from(bytes);
            setImmediate(() => original.call(this, file, copy, at));
          },
      ),
  },
  {
    name: "frames do not go on from the checksum of the frame before",
    ground: pages,
    plant: () =>
      replaced(
        FrameEncoder.prototype,
        "continueFrom",
        (original) =>
          function (this: FrameEncoder, salts) {
            original.call(this, salts, { s1: 1, s2: 2 });
          },
      ),
  },
  {
    name: "frames of another generation's salts",
    ground: pages,
    plant: () =>
      replaced(
        FrameEncoder.prototype,
        "continueFrom",
        (original) =>
          function (this: FrameEncoder, salts, checksum) {
            original.call(this, { ...salts, salt2: (salts.salt2 + 1) >>> 0 }, checksum);
          },
      ),
  },
  {
    name: "a transaction without a commit frame",
    ground: pages,
    plant: () =>
      replaced(
        FrameEncoder.prototype,
        "push",
        (original) =>
          function (this: FrameEncoder, pgno, page) {
            original.call(this, pgno, page, 0);
          },
      ),
  },
  {
    name: "every frame is a commit frame",
    ground: pages,
    plant: () =>
      replaced(FrameEncoder.prototype, "push", (original) => {
        let count = 1;
        return function (this: FrameEncoder, pgno, page, commit) {
          count = commit > 0 ? commit : count;
          original.call(this, pgno, page, count);
        };
      }),
  },
  {
    name: "frames of before a restart of the log are not forgotten",
    ground: pages,
    plant: () => {
      const over = marked(Applier.prototype, "startOver");
      const emptied = marked(Applier.prototype, "restarted");
      const clear = replaced(
        Map.prototype,
        "clear",
        (original) =>
          function (this: Map<unknown, unknown>) {
            if (!over.inside.is && !emptied.inside.is) original.call(this);
          },
      );
      return all(over.undo, emptied.undo, clear);
    },
  },
  {
    name: "the wal-index is not told of the last page of a transaction",
    ground: pages,
    plant: () =>
      replaced(IndexBlock.prototype, "push", (original) => {
        let n = 0;
        return function (this: IndexBlock, pgno) {
          original.call(this, n++ % 5 === 4 ? 1 : pgno);
        };
      }),
  },
  {
    name: "a checkpoint that readers held up counts as complete",
    ground: pages,
    plant: () =>
      all(
        everythingCopied(),
        replaced(Checkpointer.prototype, "restartNow", () => () => true),
      ),
  },
  {
    name: "the log starts over although a reader is in it",
    ground: pages,
    plant: () => replaced(Checkpointer.prototype, "restartNow", () => () => true),
  },
  {
    name: "nBackfill is kept when the log starts over",
    ground: pages,
    plant: () => {
      const over = marked(Applier.prototype, "startOver");
      const write = replaced(
        Descriptors.prototype,
        "writeNow",
        (original) =>
          function (this: Descriptors, file, bytes, at) {
            if (over.inside.is && at === checkpointStateAt.state) return;
            original.call(this, file, bytes, at);
          },
      );
      return all(over.undo, write);
    },
  },
  {
    name: "the answer of a TRUNCATE checkpoint is not looked at: busy counts as done",
    ground: pages,
    plant: () => answerIgnored("truncateNow"),
  },
  {
    name: "pages that SQLite does not write when a database grows are left out",
    ground: pages,
    plant: () =>
      captured((set) => {
        const at = emptyPageOf(set);
        return at < 0 ? set : without(set, at);
      }),
  },
  {
    name: "the position is kept beside the database: after a power cut pages go onto the wrong base",
    ground: pages,
    plant: () => {
      let kept: EntryId = zeroEntryId;
      const position = replaced(
        Served.prototype,
        "position",
        (original) =>
          function (this: Served) {
            const found = original.call(this) as EntryId;
            if (found.lsn > kept.lsn) kept = found;
            return kept;
          },
      );
      const apply = replaced(
        Served.prototype,
        "apply",
        (original) =>
          function (this: Served, set, at) {
            return original.call(this, set, at, undefined);
          },
      );
      return all(position, apply);
    },
  },
  {
    name: "what was applied counts as durable",
    ground: pages,
    plant: () =>
      replaced(
        Served.prototype,
        "durablePosition",
        () =>
          function (this: Served) {
            return this.position();
          },
      ),
  },
  {
    name: "the checksum of a database forgets what it was",
    ground: pages,
    plant: () =>
      replaced(
        PageTable.prototype,
        "set",
        (original) =>
          function (this: PageTable, pgno, hash) {
            original.call(this, pgno, {
              high: hash.high,
              low: hash.low ^ (pgno % 17 === 0 ? 1 : 0),
            });
          },
      ),
  },
  {
    name: "a log ends with a checksum of zero, whatever its frames are",
    ground: pages,
    plant: () => replaced(WalReader.prototype, "checksum", () => () => ({ s1: 0, s2: 0 })),
  },
  {
    name: "the write lock is let go after every change",
    ground: "foreign",
    plant: lockLetGo,
  },
  {
    name: "a descriptor of -shm is opened and closed again",
    ground: "foreign",
    plant: () =>
      replaced(
        Served.prototype,
        "apply",
        (original) =>
          async function (this: Served, ...args) {
            await original.apply(this, args);
            closeSync(openSync(`${this.path}-shm`, "r"));
          },
      ),
  },
  {
    name: "the answer of a RESTART checkpoint is not looked at, with a foreign reader in the log",
    ground: "foreign",
    plant: () => all(answerIgnored("restartNow"), everythingCopied()),
  },
  {
    name: "a foreign write is overlooked",
    ground: "foreign",
    plant: () =>
      all(
        lockLetGo(),
        replaced(Applier.prototype, "assertUntouched", () => () => {}),
      ),
  },
];

/** Locks of the databases that are open, for the mutant that lets go of them. */
const locks = new Set<WriteLock>();

/** Remembers locks; to be planted around a hunt. */
export function rememberLocks(): () => void {
  return replaced(
    WriteLock.prototype,
    "acquireNow",
    (original) =>
      function (this: WriteLock) {
        locks.add(this);
        return original.call(this);
      },
  );
}
