/**
 * A backup in the making: `FILE.partial`, beside the file that it will become. The receiving side of a page sync.
 *
 * It begins as a copy of an older backup of the same name if there is one, or as what an interrupted run left, so that
 * only the pages that differ travel. The old file stays as it is until the new one is complete and durable.
 */

import { constants } from "node:fs";
import { copyFile, type FileHandle, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { formatHash, pageHash } from "../base/hash.ts";
import { PageTable } from "../db/served/page-table.ts";
import { limits } from "../limits.ts";
import type { ImageId, PageBatch, PageSink } from "../sync/ports.ts";
import { type Pgno, pgno } from "../vocabulary.ts";
import { lockPage } from "../wal/page-size.ts";
import { type BackupLabel, encodeTrailer, readLabel } from "./backup-file.ts";

/** Called for each batch, before it is written: where a throttle waits. */
export type BeforeWrite = (bytes: number) => Promise<void>;

export class BackupDraft implements PageSink {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #table: PageTable;
  readonly #beforeWrite: BeforeWrite;
  #origin: Pick<BackupLabel, "clusterId" | "takenAt" | "takenFrom"> | undefined;
  /** Once complete. */
  label: BackupLabel | undefined;

  private constructor(
    path: string,
    handle: FileHandle,
    table: PageTable,
    beforeWrite: BeforeWrite,
  ) {
    this.#path = path;
    this.#handle = handle;
    this.#table = table;
    this.#beforeWrite = beforeWrite;
  }

  /** `path` is a backup that will be replaced, or does not exist. Hashes what is there to go on from. */
  static async open(path: string, beforeWrite: BeforeWrite): Promise<BackupDraft> {
    const handle = await openDraft(path);
    const table = new PageTable(limits.pageSize);
    await hashInto(table, handle);
    return new BackupDraft(path, handle, table, beforeWrite);
  }

  /** What the label will say beside the image itself. Needed before `finish`. */
  set origin(origin: Pick<BackupLabel, "clusterId" | "takenAt" | "takenFrom">) {
    this.#origin = origin;
  }

  pageSize(): number {
    return this.#table.pageSize;
  }

  pageCount(): number {
    return this.#table.pageCount;
  }

  hashesOf(from: Pgno, to: Pgno): Uint32Array {
    const words = new Uint32Array(2 * (to - from));
    for (let page = from; page < to; page++) {
      const { high, low } = this.#table.hashOf(page);
      words[2 * (page - from)] = high;
      words[2 * (page - from) + 1] = low;
    }
    return words;
  }

  async begin(): Promise<void> {}

  async write({ pgnos, pages, hashes }: PageBatch): Promise<void> {
    const size = this.#table.pageSize;
    await this.#beforeWrite(pages.byteLength);
    for (let at = 0; at < pgnos.length; ) {
      let end = at + 1;
      while (end < pgnos.length && pgnos[end] === pgnos[end - 1]! + 1) end += 1;
      const part = pages.subarray(at * size, end * size);
      await this.#handle.write(part, 0, part.byteLength, (pgnos[at]! - 1) * size);
      at = end;
    }
    for (let i = 0; i < pgnos.length; i++) {
      if (pgnos[i] === lockPage(size)) continue;
      this.#table.set(pgno(pgnos[i]!), { high: hashes[2 * i]!, low: hashes[2 * i + 1]! });
    }
  }

  async finish({ pageCount, checksum, snapshot }: ImageId): Promise<void> {
    const label: BackupLabel = {
      format: 1,
      ...this.#origin!,
      ...{ lsn: snapshot.lsn, term: snapshot.term, chain: snapshot.chain },
      ...{ pageSize: this.#table.pageSize, pageCount, checksum: formatHash(checksum) },
      membership: snapshot.membership,
      settings: snapshot.settings,
    };
    const end = pageCount * label.pageSize;
    const trailer = encodeTrailer(label);
    await this.#handle.truncate(end);
    await this.#handle.write(trailer, 0, trailer.byteLength, end);
    await this.#handle.sync();
    await this.#handle.close();
    await rename(partialOf(this.#path), this.#path);
    const directory = await open(dirname(this.#path), "r");
    await directory.sync();
    await directory.close();
    this.label = label;
  }

  /** Stops here; the partial file stays, and the next run goes on from it. */
  async close(): Promise<void> {
    if (this.label === undefined) await this.#handle.close();
  }
}

function partialOf(path: string): string {
  return `${path}.partial`;
}

/** What an interrupted run left, else a copy of the older backup, else an empty file. */
async function openDraft(path: string): Promise<FileHandle> {
  const partial = partialOf(path);
  try {
    return await open(partial, "r+");
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  try {
    const old = await open(path, "r");
    try {
      // Throws when it is no backup: somebody else's file is not to be replaced.
      await readLabel(old, path);
    } finally {
      await old.close();
    }
    await copyFile(path, partial, constants.COPYFILE_FICLONE);
    return await open(partial, "r+");
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  return open(partial, "wx+");
}

async function hashInto(table: PageTable, handle: FileHandle): Promise<void> {
  const size = table.pageSize;
  const pageCount = Math.floor((await handle.stat()).size / size);
  table.resize(pageCount);
  for (let first = 1; first <= pageCount; first += limits.applySliceFrames) {
    const count = Math.min(limits.applySliceFrames, pageCount - first + 1);
    const pages = new Uint8Array(count * size);
    await handle.read(pages, 0, pages.byteLength, (first - 1) * size);
    for (let i = 0; i < count; i++) {
      const page = pgno(first + i);
      if (page === lockPage(size)) continue;
      table.set(page, pageHash(page, pages.subarray(i * size, (i + 1) * size)));
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
