/**
 * The real served database (db/served) in a simulated world: takes virtual time, fails when the world says so, and
 * notes what is durable, so that a power cut can take the rest.
 */

import type { CorruptionError } from "../../base/errors.ts";
import { StorageError } from "../../base/errors.ts";
import type { Hash64 } from "../../base/hash.ts";
import { Served } from "../../db/served/served.ts";
import type { PageHashes, ServedDatabase } from "../../node/driver.ts";
import type { PageBatch } from "../../sync/ports.ts";
import type { EntryId, Pgno } from "../../vocabulary.ts";
import type { PageSet } from "../../wal/page-set.ts";
import type { SqliteWorld } from "./world.ts";

export class SqliteServed implements ServedDatabase {
  readonly real: Served;
  readonly #world: SqliteWorld;
  #failure: Error | undefined;
  #exclusiveTail: Promise<unknown> = Promise.resolve();
  /** Before the connections of the process are closed, those of its readers are. */
  readonly #onClose: () => void;

  static async open(
    world: SqliteWorld,
    onClose: () => void,
    onForeignWrite: (error: CorruptionError) => void,
  ): Promise<SqliteServed> {
    await world.pace("read");
    const real = await world.outside(async () => {
      const served = await Served.open(world.files.dir, { onForeignWrite });
      world.files.noteSynced();
      return served;
    });
    return new SqliteServed(world, real, onClose);
  }

  private constructor(world: SqliteWorld, real: Served, onClose: () => void) {
    this.#world = world;
    this.real = real;
    this.#onClose = onClose;
  }

  get pageSize(): number {
    return this.real.pageSize;
  }

  get pageCount(): number {
    return this.real.pageCount;
  }

  get walFrames(): number {
    return this.real.walFrames;
  }

  get table(): PageHashes {
    return this.real.table;
  }

  checksum(): Hash64 {
    return this.real.checksum();
  }

  position(): EntryId {
    return this.real.position();
  }

  durablePosition(): EntryId {
    return this.real.durablePosition();
  }

  apply(pages: PageSet, position: EntryId, expected: Hash64 | undefined): Promise<void> {
    return this.#exclusive(async () => {
      await this.#world.pace("apply");
      this.effect("write");
      const { files } = this.#world;
      await this.#world.outside(async () => {
        const before = this.walFrames === 0 ? files.wal() : undefined;
        await this.real.apply(pages, position, expected);
        files.noteApplied(before);
      });
      // Power may fail between the first frame and the end of it.
      this.effect("write");
    });
  }

  async readPages(wanted: readonly Pgno[]): Promise<PageBatch> {
    this.#check();
    await this.#world.pace("read");
    return this.#world.outside(() => this.real.readPages(wanted));
  }

  onPagesChanged(listener: (pgnos: Uint32Array, pageCount: number) => void): () => void {
    return this.real.onPagesChanged(listener);
  }

  async checkpoint(
    mode: "passive" | "restart" | "truncate",
  ): Promise<{ complete: boolean; frames: number }> {
    this.#check();
    await this.#world.pace("sync");
    this.effect("sync");
    const { files } = this.#world;
    const result = await this.#world.outside(async () => {
      const before = { db: files.db(), wal: files.wal() };
      const done = await this.real.checkpoint(mode);
      files.noteCheckpoint(before, done.complete);
      return done;
    });
    this.effect("write");
    return result;
  }

  async syncWal(): Promise<void> {
    this.#check();
    await this.#world.pace("sync");
    this.effect("sync");
    await this.#world.outside(async () => {
      await this.real.syncWal();
      this.#world.files.noteSynced();
    });
  }

  makeScratch(): Promise<{ path: string }> {
    return this.#exclusive(async () => {
      this.effect("write");
      return this.#world.outside(() => this.real.makeScratch());
    });
  }

  async scrub(): Promise<{ pages: number; damaged: Pgno[] }> {
    this.#check();
    await this.#world.pace("read");
    return this.#world.outside(() => this.real.scrub());
  }

  async close(): Promise<void> {
    await this.#exclusiveTail;
    if (this.#failure !== undefined) return;
    this.#failure = new StorageError("the database is closed");
    await this.#world.outside(async () => {
      this.#onClose();
      await this.real.close();
      this.#world.files.noteSynced();
    });
  }

  /** What a page sync has put into the open database is durable. */
  noteInstalled(): void {
    this.#world.files.noteSynced();
  }

  /** Throws what the world wants to fail. Nothing works afterwards. */
  effect(what: "write" | "sync" | "rename"): void {
    try {
      this.#world.onEffect(what);
    } catch (error) {
      this.#failure = error as Error;
      throw error;
    }
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#exclusiveTail.then(() => {
      this.#check();
      return work();
    });
    this.#exclusiveTail = result.catch(() => undefined);
    return result;
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}
