/** The simulated twin of db/served/served.ts: same promises, pages in memory. */

import { CorruptionError, StorageError } from "../../base/errors.ts";
import { formatHash, type Hash64, pageHash, xorHash, zeroHash } from "../../base/hash.ts";
import { limits } from "../../limits.ts";
import type { PageHashes, ServedDatabase } from "../../node/driver.ts";
import type { PageBatch } from "../../sync/ports.ts";
import type { EntryId, Pgno } from "../../vocabulary.ts";
import { zeroEntryId } from "../../vocabulary.ts";
import type { PageSet } from "../../wal/page-set.ts";
import type { StoreWorld } from "../store.ts";
import type { ModelFiles } from "./files.ts";
import { positionOf } from "./lists.ts";
import { changed, hashOf, type Image, setOf } from "./pages.ts";

export type ModelWorld = StoreWorld & { readonly files: ModelFiles };

export class ModelServed implements ServedDatabase {
  readonly pageSize: number = limits.pageSize;
  readonly #world: ModelWorld;
  /** What the pages are meant to be. */
  #hashes: Hash64[];
  #checksum: Hash64 = zeroHash;
  #position: EntryId;
  #durable: EntryId = zeroEntryId;
  #failure: Error | undefined;
  readonly #listeners = new Set<(pgnos: Uint32Array, pageCount: number) => void>();
  #exclusiveTail: Promise<unknown> = Promise.resolve();

  constructor(world: ModelWorld) {
    this.#world = world;
    const image = world.files.image;
    if (image === undefined) throw new CorruptionError("there is no database");
    this.#position = positionOf(image);
    this.#hashes = image.map((page, i) => hashOf(i + 1, page));
    for (const hash of this.#hashes) this.#checksum = xorHash(this.#checksum, hash);
  }

  /** For readers: the state that is visible now. */
  get image(): Image {
    return this.#world.files.image!;
  }

  get pageCount(): number {
    return this.#hashes.length;
  }

  get walFrames(): number {
    return this.#world.files.wal.length;
  }

  get table(): PageHashes {
    return {
      pageCount: this.#hashes.length,
      hashOf: (pgno) => this.#hashes[pgno - 1] ?? zeroHash,
    };
  }

  checksum(): Hash64 {
    return this.#checksum;
  }

  position(): EntryId {
    return this.#position;
  }

  durablePosition(): EntryId {
    return this.#durable;
  }

  apply(pages: PageSet, position: EntryId, expected: Hash64 | undefined): Promise<void> {
    return this.#exclusive(async () => {
      for (const [i, pgno] of pages.pgnos.entries()) {
        const page = pages.pages.subarray(i * this.pageSize, (i + 1) * this.pageSize);
        const hash = pageHash(pgno as Pgno, page);
        if (hash.high !== pages.hashes[2 * i] || hash.low !== pages.hashes[2 * i + 1]) {
          throw new CorruptionError(`page ${pgno} does not have the hash it came with`);
        }
      }
      const after = this.#after(pages);
      if (expected !== undefined && formatHash(after.checksum) !== formatHash(expected)) {
        throw new CorruptionError(
          `checksum ${formatHash(after.checksum)}, expected ${formatHash(expected)}`,
        );
      }
      await this.#world.pace("apply");
      this.#effect("write");
      const image = changed(this.image, pages);
      this.#world.files.wal.push({ image, position });
      this.#hashes = after.hashes;
      this.#checksum = after.checksum;
      this.#position = position;
      for (const listener of this.#listeners) listener(pages.pgnos, pages.pageCount);
    });
  }

  /** Result of a page sync: one change, durable. */
  install(pages: PageSet, position: EntryId, checksum: Hash64): Promise<void> {
    return this.#exclusive(async () => {
      const after = this.#after(pages);
      if (formatHash(after.checksum) !== formatHash(checksum)) {
        throw new CorruptionError("installed pages have another checksum");
      }
      const image = changed(this.image, pages);
      if (positionOf(image).lsn !== position.lsn) {
        throw new CorruptionError(`installed ${positionOf(image).lsn}, not ${position.lsn}`);
      }
      this.#effect("write");
      this.#world.files.wal.push({ image, position });
      this.#hashes = after.hashes;
      this.#checksum = after.checksum;
      this.#position = position;
      for (const listener of this.#listeners) listener(pages.pgnos, pages.pageCount);
      await this.#syncNow();
      // Power may fail once the pages are in place and nothing else knows.
      this.#world.onEffect("rename");
    });
  }

  async readPages(wanted: readonly Pgno[]): Promise<PageBatch> {
    this.#check();
    await this.#world.pace("read");
    const there = wanted.filter((pgno) => pgno <= this.pageCount);
    const set = setOf(this.image, there);
    for (const [i, pgno] of there.entries()) {
      const hash = this.#hashes[pgno - 1]!;
      if (hash.high !== set.hashes[2 * i] || hash.low !== set.hashes[2 * i + 1]) {
        throw new CorruptionError(`page ${pgno} is damaged`);
      }
    }
    return { pgnos: set.pgnos, pages: set.pages, hashes: set.hashes };
  }

  onPagesChanged(listener: (pgnos: Uint32Array, pageCount: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async checkpoint(): Promise<{ complete: boolean; frames: number }> {
    this.#check();
    await this.#world.pace("sync");
    return this.#exclusive(async () => {
      const { files } = this.#world;
      this.#effect("sync");
      files.synced = files.wal.length;
      this.#durable = this.#position;
      this.#effect("write");
      files.file = files.image;
      files.wal = [];
      files.synced = 0;
      return { complete: true, frames: 0 };
    });
  }

  syncWal(): Promise<void> {
    this.#check();
    return this.#syncNow();
  }

  makeScratch(): Promise<{ path: string }> {
    return this.#exclusive(async () => {
      this.#world.onEffect("write");
      return { path: "scratch" };
    });
  }

  async scrub(): Promise<{ pages: number; damaged: Pgno[] }> {
    this.#check();
    await this.#world.pace("read");
    const damaged: Pgno[] = [];
    for (const [i, page] of this.image.entries()) {
      if (formatHash(hashOf(i + 1, page)) !== formatHash(this.#hashes[i]!)) {
        damaged.push((i + 1) as Pgno);
      }
    }
    return { pages: this.pageCount, damaged };
  }

  async close(): Promise<void> {
    await this.#exclusiveTail;
    if (this.#failure === undefined) await this.checkpoint();
    this.#failure ??= new StorageError("the database is closed");
  }

  async #syncNow(): Promise<void> {
    const { files } = this.#world;
    const { length } = files.wal;
    const position = this.#position;
    const first = files.wal[0];
    await this.#world.pace("sync");
    this.#effect("sync");
    // A checkpoint in between has made it durable already.
    if (files.wal[0] === first) files.synced = Math.max(files.synced, length);
    if (position.lsn > this.#durable.lsn) this.#durable = position;
  }

  #after(pages: PageSet): { readonly hashes: Hash64[]; readonly checksum: Hash64 } {
    const hashes = this.#hashes.slice(0, pages.pageCount);
    while (hashes.length < pages.pageCount) hashes.push(zeroHash);
    for (const [i, pgno] of pages.pgnos.entries()) {
      hashes[pgno - 1] = { high: pages.hashes[2 * i]!, low: pages.hashes[2 * i + 1]! };
    }
    let checksum = zeroHash;
    for (const hash of hashes) checksum = xorHash(checksum, hash);
    return { hashes, checksum };
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#exclusiveTail.then(() => {
      this.#check();
      return work();
    });
    this.#exclusiveTail = result.catch(() => undefined);
    return result;
  }

  #effect(what: "write" | "sync"): void {
    try {
      this.#world.onEffect(what);
    } catch (error) {
      this.#failure = error as Error;
      throw error;
    }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}
