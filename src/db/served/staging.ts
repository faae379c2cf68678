/**
 * A database that page sync is building in a file of its own, beside the served one or where there is none yet.
 *
 * It may start as a copy of a damaged database, so that only the pages that differ travel. It survives a crash:
 * when it is opened again its pages are hashed as they are, and the sync goes on from there. `finish` proves by the
 * checksum that it is the wanted database, makes it durable, and puts it into place.
 *
 * Not here: pages for a database that is open and being read (staged-patch.ts), the protocol (sync/).
 */

import type { FileHandle } from "node:fs/promises";
import { copyFile, mkdir, open, rename, rm } from "node:fs/promises";
import { setImmediate as turn } from "node:timers/promises";
import { CorruptionError, messageOf, StorageError } from "../../base/errors.ts";
import type { Hash64 } from "../../base/hash.ts";
import { formatHash, pageHash } from "../../base/hash.ts";
import { limits } from "../../limits.ts";
import type { EntryId, Pgno } from "../../vocabulary.ts";
import { lockPage } from "../../wal/page-size.ts";
import type { Layout } from "./layout.ts";
import { layoutOf, putReadyIntoPlace, syncDirectory } from "./layout.ts";
import { runsOf } from "./page-reader.ts";
import { PageTable } from "./page-table.ts";

/** What page sync says about the database it has copied. */
export type SyncedImage = {
  readonly pageCount: number;
  readonly checksum: Hash64;
  readonly position: EntryId;
};

/** Where a new image starts if none is being built already: from nothing, or from the file that is to be replaced. */
export type StagedImageOptions = {
  readonly pageSize: number;
  readonly seed: "nothing" | "served-file";
};

export class StagedImage {
  readonly #layout: Layout;
  readonly #handle: FileHandle;
  readonly #table: PageTable;

  /** Opens or begins the image of `dir`. The served database there must not be open. Hashes what is there. */
  static async open(dir: string, options: StagedImageOptions): Promise<StagedImage> {
    const layout = layoutOf(dir);
    await mkdir(layout.stagingDir, { recursive: true });
    await mkdir(layout.dbDir, { recursive: true });
    const handle = await stored("open", () => openImage(layout, options.seed));
    const image = new StagedImage(layout, handle, options.pageSize);
    await stored("read", () => image.#hashAll());
    return image;
  }

  private constructor(layout: Layout, handle: FileHandle, pageSize: number) {
    this.#layout = layout;
    this.#handle = handle;
    this.#table = new PageTable(pageSize);
  }

  /** Hashes of what the image holds now. For reading only. */
  pageHashes(): PageTable {
    return this.#table;
  }

  /** Takes pages, in any order; a later image of the same page wins. */
  async write(pgnos: Uint32Array, pages: Uint8Array): Promise<void> {
    const size = this.#table.pageSize;
    for (const { at, count, first } of runsOf([...pgnos] as Pgno[])) {
      const part = pages.subarray(at * size, (at + count) * size);
      await stored("write", () => this.#handle.write(part, 0, part.length, (first - 1) * size));
    }
    for (let i = 0; i < pgnos.length; i++) {
      const pgno = pgnos[i] as Pgno;
      this.#table.set(pgno, pageHash(pgno, pages.subarray(i * size, (i + 1) * size)));
    }
  }

  /**
   * Puts the image into the place of the served database, which is not open. CorruptionError when it is not the
   * database that was promised; it is kept then, and can be opened and completed.
   */
  async finish(wanted: SyncedImage): Promise<void> {
    this.#table.resize(wanted.pageCount);
    assertChecksum(this.#table.checksum(), wanted.checksum);
    await stored("complete", async () => {
      await this.#handle.truncate(wanted.pageCount * this.#table.pageSize);
      await this.#handle.sync();
      await this.#handle.close();
      await rename(this.#layout.staged, this.#layout.ready);
      await syncDirectory(this.#layout.stagingDir);
      await putReadyIntoPlace(this.#layout);
    });
  }

  /** Stops here. The file stays and can be opened again, unless `discard` is called for it. */
  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** Throws away what was built. */
  static async discard(dir: string): Promise<void> {
    await rm(layoutOf(dir).staged, { force: true });
  }

  async #hashAll(): Promise<void> {
    const size = this.#table.pageSize;
    const pageCount = Math.floor((await this.#handle.stat()).size / size);
    this.#table.resize(pageCount);
    for (let first = 1; first <= pageCount; first += limits.applySliceFrames) {
      const count = Math.min(limits.applySliceFrames, pageCount - first + 1);
      const pages = new Uint8Array(count * size);
      await this.#handle.read(pages, 0, pages.byteLength, (first - 1) * size);
      for (let i = 0; i < count; i++) {
        const pgno = (first + i) as Pgno;
        if (pgno === lockPage(size)) continue;
        this.#table.set(pgno, pageHash(pgno, pages.subarray(i * size, (i + 1) * size)));
      }
      await turn();
    }
  }
}

/** Throws CorruptionError that names both. */
export function assertChecksum(found: Hash64, wanted: Hash64): void {
  if (formatHash(found) === formatHash(wanted)) return;
  throw new CorruptionError(`page sync: ${formatHash(found)} instead of ${formatHash(wanted)}`);
}

/** Runs file operations of the staging directory; their failures are StorageError. */
export async function stored<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    if (cause instanceof StorageError) throw cause;
    throw new StorageError(`cannot ${what} staged pages: ${messageOf(cause)}`, { cause });
  }
}

async function openImage(layout: Layout, seed: StagedImageOptions["seed"]): Promise<FileHandle> {
  try {
    return await open(layout.staged, "r+");
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  if (seed === "served-file") {
    try {
      await copyFile(layout.db, layout.staged);
      return await open(layout.staged, "r+");
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return open(layout.staged, "wx+");
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
