/**
 * Pages that page sync brings to a database that is open and being read: those that differ, collected in a file, and
 * then applied as one transaction of the served WAL. Readers see the old database or the new one.
 *
 * Nothing else is applied between `open` and `finish`; `finish` checks that.
 */

import type { FileHandle } from "node:fs/promises";
import { open, rm } from "node:fs/promises";
import { assert } from "../../base/assert.ts";
import type { Hash64 } from "../../base/hash.ts";
import { formatHash, pageHash, zeroHash } from "../../base/hash.ts";
import type { Pgno } from "../../vocabulary.ts";
import { layoutOf } from "./layout.ts";
import type { PageTable } from "./page-table.ts";
import type { Served } from "./served.ts";
import type { SyncedImage } from "./staging.ts";
import { assertChecksum, stored } from "./staging.ts";

export class StagedPatch {
  readonly #served: Served;
  readonly #path: string;
  readonly #handle: FileHandle;
  /** The served table with the collected pages put in. */
  readonly #table: PageTable;
  /** Checksum of the served database when we began. */
  readonly #before: Hash64;
  /** Where in the file the image of a page is, in pages. */
  readonly #slotByPgno = new Map<number, number>();

  /** `damaged`: pages whose content is not what the table of `served` says, as scrub found. They count as missing. */
  static async open(
    dir: string,
    served: Served,
    damaged: readonly Pgno[] = [],
  ): Promise<StagedPatch> {
    const path = layoutOf(dir).patch;
    const handle = await stored("open", () => open(path, "w+"));
    const patch = new StagedPatch(served, path, handle);
    for (const pgno of damaged) {
      if (pgno <= served.pageCount) patch.#table.set(pgno, zeroHash);
    }
    return patch;
  }

  private constructor(served: Served, path: string, handle: FileHandle) {
    this.#served = served;
    this.#path = path;
    this.#handle = handle;
    this.#table = served.table.clone();
    this.#before = served.checksum();
  }

  /** Hashes of the database as it would be with the pages so far. For reading only. */
  pageHashes(): PageTable {
    return this.#table;
  }

  /** Takes pages, in any order; a later image of the same page wins. */
  async write(pgnos: Uint32Array, pages: Uint8Array): Promise<void> {
    const size = this.#table.pageSize;
    for (let i = 0; i < pgnos.length; i++) {
      const pgno = pgnos[i] as Pgno;
      const page = pages.subarray(i * size, (i + 1) * size);
      const slot = this.#slotByPgno.get(pgno) ?? this.#slotByPgno.size;
      await stored("write", () => this.#handle.write(page, 0, size, slot * size));
      this.#slotByPgno.set(pgno, slot);
      this.#table.set(pgno, pageHash(pgno, page));
    }
  }

  /** Makes the pages part of the served database, all at once and durable. CorruptionError: nothing was changed. */
  async finish(wanted: SyncedImage): Promise<void> {
    assert(
      formatHash(this.#before) === formatHash(this.#served.checksum()),
      "served database changed under a staged patch",
    );
    this.#table.resize(wanted.pageCount);
    assertChecksum(this.#table.checksum(), wanted.checksum);
    const pgnos = Uint32Array.from(this.#slotByPgno.keys())
      .filter((pgno) => pgno <= wanted.pageCount)
      .sort();
    const change = {
      pageCount: wanted.pageCount,
      pgnos,
      hashes: this.#hashesOf(pgnos),
      read: (from: number, to: number) => this.#read(pgnos.subarray(from, to)),
    };
    await this.#served.install(change, wanted.position, wanted.checksum);
    await this.close();
  }

  /** Throws the collected pages away. */
  async close(): Promise<void> {
    await this.#handle.close();
    await rm(this.#path, { force: true });
  }

  #hashesOf(pgnos: Uint32Array): Uint32Array {
    const hashes = new Uint32Array(pgnos.length * 2);
    for (let i = 0; i < pgnos.length; i++) {
      const hash = this.#table.hashOf(pgnos[i]!);
      hashes[2 * i] = hash.high;
      hashes[2 * i + 1] = hash.low;
    }
    return hashes;
  }

  async #read(pgnos: Uint32Array): Promise<Uint8Array> {
    const size = this.#table.pageSize;
    const pages = new Uint8Array(pgnos.length * size);
    for (let i = 0; i < pgnos.length; i++) {
      const slot = this.#slotByPgno.get(pgnos[i]!)!;
      await stored("read", () => this.#handle.read(pages, i * size, size, slot * size));
    }
    return pages;
  }
}
