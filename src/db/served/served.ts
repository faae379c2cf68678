/**
 * The served database: the file that every reader of this node sees. It holds exactly the entries up to `position`,
 * all of them committed, and it changes by whole entries only [D1].
 *
 * Invariants:
 *   1. `table` is what the pages are meant to be; `position` is that of the last `apply` or `install`.
 *   2. Apply, install, makeScratch and the short parts of a checkpoint never overlap (`#exclusive`). The long part
 *      of a checkpoint runs beside applies: it stops at the read mark.
 *   3. Whenever the write lock was free for a moment, the wal-index is compared with what we wrote. A difference is a
 *      foreign write: `onForeignWrite` is called, and nothing is applied any more.
 *   4. After a StorageError nothing is known about the files; every later call throws the same.
 *
 * Not here: when to checkpoint, and what to do about damage. The caller decides.
 */

import { mkdir, open, rename, rm } from "node:fs/promises";
import { setImmediate as turn } from "node:timers/promises";
import { assert } from "../../base/assert.ts";
import { CorruptionError, StorageError } from "../../base/errors.ts";
import type { Hash64 } from "../../base/hash.ts";
import { formatHash, pageHash } from "../../base/hash.ts";
import { limits } from "../../limits.ts";
import type { EntryId, Pgno } from "../../vocabulary.ts";
import { zeroEntryId } from "../../vocabulary.ts";
import type { PageSet } from "../../wal/page-set.ts";
import { ForeignWriteError } from "./applier.ts";
import type { DatabaseImage } from "./birth.ts";
import type { Layout } from "./layout.ts";
import { layoutOf, syncDirectory } from "./layout.ts";
import type { OpenedParts, PageProgress } from "./opening.ts";
import { openParts, walkPages } from "./opening.ts";
import type { PageRun } from "./page-reader.ts";
import { runsOf } from "./page-reader.ts";
import type { HashedChange, PageTable } from "./page-table.ts";
import { checkChange } from "./page-table.ts";
import { makeScratch } from "./scratch.ts";

/** Called on a foreign write to the served database. */
export type ForeignWriteListener = (error: CorruptionError) => void;
export type ServedOptions = {
  readonly onProgress?: ((progress: PageProgress) => void) | undefined;
  readonly onForeignWrite?: ForeignWriteListener | undefined;
};

export type CheckpointMode = "passive" | "restart" | "truncate";

/** After every change: which pages are different, and how many there are. */
export type PagesListener = (pgnos: Uint32Array, pageCount: number) => void;

/** Pages as they were applied. */
export type PagesRead = Pick<PageSet, "pgnos" | "pages" | "hashes">;

/** A change whose pages are fetched in slices: too large for memory perhaps. Range [from, to) of its `pgnos`. */
export type StagedChange = HashedChange & {
  readonly read: (from: number, to: number) => Promise<Uint8Array> | Uint8Array;
};

export class Served {
  readonly #layout: Layout;
  readonly #parts: OpenedParts;
  readonly #onForeignWrite: ForeignWriteListener | undefined;
  readonly #listeners = new Set<PagesListener>();
  #position: EntryId;
  #durablePosition: EntryId = zeroEntryId;
  /** Ends when all exclusive work that was asked for so far has ended. Never rejects. */
  #exclusiveTail: Promise<unknown> = Promise.resolve();
  /** The same for checkpoints. */
  #checkpointTail: Promise<unknown> = Promise.resolve();
  /** Why nothing works any more. */
  #failure: Error | undefined;
  #closed = false;

  /**
   * Opens `<dir>/db/main.sqlite` and hashes all of it. CorruptionError when it is not a database of ours,
   * StorageError when the machine refuses or another process has it.
   */
  static async open(dir: string, options: ServedOptions = {}): Promise<Served> {
    const layout = layoutOf(dir);
    const parts = await openParts(layout, options.onProgress);
    const served = new Served(layout, parts, options.onForeignWrite);
    await served.syncWal();
    return served;
  }

  /** Puts the first file of a new node into place; durable when it resolves. */
  static async create(dir: string, image: DatabaseImage): Promise<void> {
    const layout = layoutOf(dir);
    await mkdir(layout.dbDir, { recursive: true });
    const draft = `${layout.db}.draft`;
    const handle = await open(draft, "w");
    try {
      await handle.writeFile(image.pages);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rm(`${layout.db}-wal`, { force: true });
    await rm(`${layout.db}-shm`, { force: true });
    await rename(draft, layout.db);
    await syncDirectory(layout.dbDir);
    await syncDirectory(dir);
  }

  private constructor(
    layout: Layout,
    parts: OpenedParts,
    onForeignWrite: ForeignWriteListener | undefined,
  ) {
    this.#layout = layout;
    this.#parts = parts;
    this.#onForeignWrite = onForeignWrite;
    this.#position = parts.position;
  }

  /** Path that readers open. */
  get path(): string {
    return this.#layout.db;
  }

  get pageSize(): number {
    return this.#parts.table.pageSize;
  }

  get pageCount(): number {
    return this.#parts.table.pageCount;
  }

  /** Frames in the served WAL: what a checkpoint would empty. */
  get walFrames(): number {
    return this.#parts.applier.mxFrame;
  }

  /** Hash of every page. For reading only. */
  get table(): PageTable {
    return this.#parts.table;
  }

  checksum(): Hash64 {
    return this.#parts.table.checksum();
  }

  /** The last entry that was applied with pages. */
  position(): EntryId {
    return this.#position;
  }

  /** What survives a power cut. */
  durablePosition(): EntryId {
    return this.#durablePosition;
  }

  /** Returns a function that ends the subscription. */
  onPagesChanged(listener: PagesListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Makes an entry's pages visible, all at once. CorruptionError when the pages do not have the hashes they came
   * with, or the database would not have the checksum `expected`: nothing was published then.
   */
  apply(pages: PageSet, position: EntryId, expected: Hash64 | undefined): Promise<void> {
    const size = this.pageSize;
    const change = {
      pageCount: pages.pageCount,
      pgnos: pages.pgnos,
      hashes: pages.hashes,
      read: (from: number, to: number) => pages.pages.subarray(from * size, to * size),
    };
    return this.#exclusive(async () => {
      if (pages.pageSize !== size || pages.pages.byteLength !== pages.pgnos.length * size) {
        throw new CorruptionError(`pages of ${pages.pageSize} bytes for a database of ${size}`);
      }
      await this.#write(change, position, expected);
    });
  }

  /**
   * Applies the result of a page sync as one transaction and makes it durable. CorruptionError when the database does
   * not have this checksum then (nothing was published), or does not say that it is at `position`.
   */
  install(change: StagedChange, position: EntryId, expected: Hash64): Promise<void> {
    return this.#exclusive(async () => {
      if (change.pgnos.length > 0) await this.#write(change, position, expected);
      const found = this.#parts.checkpointer.readPosition();
      if (found.lsn !== position.lsn || found.term !== position.term) {
        throw new CorruptionError(
          `installed ${found.lsn}@${found.term} instead of ${position.lsn}@${position.term}`,
        );
      }
      this.#position = position;
      await this.#parts.files.syncWal();
      this.#durablePosition = position;
    });
  }

  /** Current content of the pages that exist, in the order asked. CorruptionError names a page that has rotted. */
  async readPages(wanted: readonly Pgno[]): Promise<PagesRead> {
    this.#assertUsable();
    const { reader, table } = this.#parts;
    const pages = new Uint8Array(wanted.length * this.pageSize);
    const runs = runsOf(wanted);
    for (const run of runs) await reader.read(run, this.#part(pages, run));
    // From here on within one turn of the event loop, so that all pages are of one moment.
    const kept: number[] = [];
    for (const run of runs) {
      const damaged = reader.settle(run, this.#part(pages, run), table);
      if (damaged.length > 0) throw new CorruptionError(`page ${damaged[0]} is damaged`);
    }
    for (let i = 0; i < wanted.length; i++) if (wanted[i]! <= table.pageCount) kept.push(i);
    const pgnos = new Uint32Array(kept.length);
    const hashes = new Uint32Array(2 * kept.length);
    for (const [to, from] of kept.entries()) {
      const hash = table.hashOf(wanted[from]!);
      pgnos[to] = wanted[from]!;
      hashes[2 * to] = hash.high;
      hashes[2 * to + 1] = hash.low;
      if (to !== from)
        pages.copyWithin(to * this.pageSize, from * this.pageSize, (from + 1) * this.pageSize);
    }
    return { pgnos, pages: pages.subarray(0, kept.length * this.pageSize), hashes };
  }

  /**
   * Copies the WAL into the database file. `passive` goes as far as readers allow; if no reader is in the WAL,
   * `restart` lets it start over in the file it has, and `truncate` empties the file as well, which takes longer.
   * `complete` says whether it got there; `frames` is what the WAL has now.
   */
  checkpoint(mode: CheckpointMode): Promise<{ complete: boolean; frames: number }> {
    const result = this.#checkpointTail.then(async () => {
      const complete = await this.#checkpointPassive();
      // A log that has started over has no frames, but its file is as long as ever: truncate goes on then.
      const isDone = mode === "passive" || (mode === "restart" && this.walFrames === 0);
      if (isDone) return { complete, frames: this.walFrames };
      return this.#exclusive(async () => {
        const copied = await this.#passiveFromNow();
        const emptied =
          copied && (mode === "truncate" ? await this.#truncate() : await this.#restart());
        return { complete: emptied, frames: this.walFrames };
      });
    });
    this.#checkpointTail = result.catch(() => undefined);
    return result;
  }

  /** Makes everything that was applied until now durable. Never repeated after a failure. */
  async syncWal(): Promise<void> {
    this.#assertUsable();
    const position = this.#position;
    try {
      await this.#parts.files.syncWal();
    } catch (error) {
      throw this.#fail(error);
    }
    this.#noteDurable(position);
  }

  /**
   * Makes a fresh scratch database for the writer process. The caller has ended the old writer, and has applied
   * everything that it ever committed.
   */
  makeScratch(): Promise<{ path: string }> {
    return this.#exclusive(async () => {
      const extent = { pageSize: this.pageSize, mxFrame: this.walFrames };
      await makeScratch(this.#layout, this.#parts.files, extent);
      return { path: this.#layout.scratch };
    });
  }

  /** Reads every page and compares it with the table. */
  async scrub(
    onProgress?: (progress: PageProgress) => void,
  ): Promise<{ pages: number; damaged: Pgno[] }> {
    this.#assertUsable();
    const { reader, table } = this.#parts;
    const damaged: Pgno[] = [];
    await walkPages(reader, table, (run, pages) => {
      damaged.push(...reader.settle(run, pages, table));
      onProgress?.({ pages: run.first + run.count - 1, of: table.pageCount });
    });
    return { pages: table.pageCount, damaged };
  }

  /** Empties the WAL if it can, and lets go of everything. */
  async close(): Promise<void> {
    if (this.#closed) return;
    if (this.#failure === undefined) await this.checkpoint("truncate").catch(() => undefined);
    this.#closed = true;
    await this.#checkpointTail;
    await this.#exclusiveTail;
    await this.#parts.checkpointer.close();
    this.#parts.lock.close();
    await this.#parts.files.close();
  }

  async #write(
    change: StagedChange,
    position: EntryId,
    expected: Hash64 | undefined,
  ): Promise<void> {
    const { applier, table } = this.#parts;
    checkChange(change, table);
    const checksum = table.checksumAfter(change);
    if (expected !== undefined && formatHash(checksum) !== formatHash(expected)) {
      throw new CorruptionError(
        `checksum ${formatHash(checksum)}, expected ${formatHash(expected)}`,
      );
    }
    await applier.begin();
    try {
      await this.#appendSlices(change, position);
    } catch (error) {
      applier.abandon();
      throw error;
    }
    for (const listener of this.#listeners) listener(change.pgnos, change.pageCount);
  }

  async #appendSlices(change: StagedChange, position: EntryId): Promise<void> {
    const { applier, table } = this.#parts;
    const total = change.pgnos.length;
    for (let from = 0; from < total; from += limits.applySliceFrames) {
      const to = Math.min(total, from + limits.applySliceFrames);
      if (from > 0) await turn();
      const pages = await change.read(from, to);
      this.#checkHashes(change, from, pages);
      const commitPageCount = to === total ? change.pageCount : 0;
      applier.append(change.pgnos.subarray(from, to), pages, commitPageCount);
    }
    // In the same turn as the publishing append: whoever reads must never see one without the other.
    table.apply(change);
    this.#position = position;
  }

  #part(pages: Uint8Array, run: PageRun): Uint8Array {
    return pages.subarray(run.at * this.pageSize, (run.at + run.count) * this.pageSize);
  }

  #checkHashes(change: HashedChange, from: number, pages: Uint8Array): void {
    const count = pages.byteLength / this.pageSize;
    for (let i = 0; i < count; i++) {
      const pgno = change.pgnos[from + i] as Pgno;
      const page = pages.subarray(i * this.pageSize, (i + 1) * this.pageSize);
      const hash = pageHash(pgno, page);
      const at = 2 * (from + i);
      if (hash.high !== change.hashes[at] || hash.low !== change.hashes[at + 1]) {
        throw new CorruptionError(`page ${pgno} does not have the hash it came with`);
      }
    }
  }

  /** The long part runs beside applies. True when everything up to its start is in the database file. */
  async #checkpointPassive(): Promise<boolean> {
    const start = await this.#exclusive(async () => {
      await this.#moveReadMark();
      return { frames: this.walFrames, position: this.#position };
    });
    return this.#runPassive(start.frames, start.position);
  }

  /** The same while no apply can run: whatever `#checkpointPassive` left is little. */
  async #passiveFromNow(): Promise<boolean> {
    await this.#moveReadMark();
    return this.#runPassive(this.walFrames, this.#position);
  }

  async #runPassive(frames: number, position: EntryId): Promise<boolean> {
    if (frames === 0) return true;
    let done: number;
    try {
      done = await this.#parts.checkpointer.passive();
    } catch (error) {
      throw this.#fail(error);
    }
    if (done < frames) return false;
    this.#noteDurable(position);
    return true;
  }

  async #moveReadMark(): Promise<void> {
    await this.#parts.lock.repin();
    this.#parts.applier.assertUntouched();
  }

  /**
   * The write lock is free for as long as SQLite needs to empty a WAL that has nothing left to copy. Nothing is
   * awaited until the applier knows that its frames are gone.
   */
  async #truncate(): Promise<boolean> {
    const { lock, checkpointer, applier } = this.#parts;
    let emptied = false;
    let held = false;
    lock.release();
    try {
      emptied = checkpointer.truncateNow();
    } finally {
      held = lock.acquireNow();
    }
    if (emptied) applier.restarted();
    if (!held) await lock.acquire();
    applier.assertUntouched();
    return emptied;
  }

  /** As `#truncate`; the log is started over by ourselves, once the lock is ours again and nobody has written. */
  async #restart(): Promise<boolean> {
    const { lock, checkpointer, applier } = this.#parts;
    let isFree = false;
    let held = false;
    lock.release();
    try {
      isFree = checkpointer.restartNow();
    } finally {
      held = lock.acquireNow();
    }
    if (!held) await lock.acquire();
    applier.assertUntouched();
    if (isFree) applier.startOver();
    return isFree;
  }

  /** Runs `action` when all exclusive work before it has ended. */
  #exclusive<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#exclusiveTail.then(async () => {
      this.#assertUsable();
      try {
        return await action();
      } catch (error) {
        throw this.#fail(error);
      }
    });
    this.#exclusiveTail = result.catch(() => undefined);
    return result;
  }

  /** Remembers errors after which the files are of unknown content. */
  #fail(error: unknown): unknown {
    if (this.#failure !== undefined) return error;
    if (error instanceof StorageError || error instanceof ForeignWriteError) this.#failure = error;
    if (error instanceof ForeignWriteError) this.#onForeignWrite?.(error);
    return error;
  }

  #assertUsable(): void {
    assert(!this.#closed, "served database is closed");
    if (this.#failure !== undefined) throw this.#failure;
  }

  #noteDurable(position: EntryId): void {
    if (position.lsn > this.#durablePosition.lsn) this.#durablePosition = position;
  }
}
