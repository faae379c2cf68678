/**
 * The receiving side of page sync: a staged image where there is no database to go on from, a staged patch where one is
 * open and being read. Either takes effect at once and as a whole.
 */

import { StorageError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import type { ImageId, PageBatch, PageSink } from "../../sync/ports.ts";
import type { Pgno } from "../../vocabulary.ts";
import type { Database } from "../database.ts";
import type { DatabaseDriver, StagedDatabase } from "../driver.ts";

export class StagedPages implements PageSink {
  readonly #staged: StagedDatabase;
  readonly #beforeFinish: (image: ImageId) => Promise<void>;
  /** Set when the disk failed while the pages took effect: nobody knows what it holds now. */
  failedBy: StorageError | undefined;

  private constructor(staged: StagedDatabase, beforeFinish: (image: ImageId) => Promise<void>) {
    this.#staged = staged;
    this.#beforeFinish = beforeFinish;
  }

  /** `beforeFinish` runs when the image is complete and before it takes effect. */
  static async open(
    { dir, driver, database }: { dir: string; driver: DatabaseDriver; database: Database },
    beforeFinish: (image: ImageId) => Promise<void>,
  ): Promise<StagedPages> {
    const { served } = database;
    const staged =
      served === undefined
        ? await driver.stageImage(dir)
        : await driver.stagePatch(dir, served, database.damagedPages);
    return new StagedPages(staged, beforeFinish);
  }

  pageSize(): number {
    return limits.pageSize;
  }

  pageCount(): number {
    return this.#staged.pageHashes().pageCount;
  }

  hashesOf(from: Pgno, to: Pgno): Uint32Array {
    const table = this.#staged.pageHashes();
    const hashes = new Uint32Array(2 * (to - from));
    for (let pgno = from; pgno < to && pgno <= table.pageCount; pgno++) {
      const { high, low } = table.hashOf(pgno);
      hashes[2 * (pgno - from)] = high;
      hashes[2 * (pgno - from) + 1] = low;
    }
    return hashes;
  }

  async begin(): Promise<void> {}

  write(batch: PageBatch): Promise<void> {
    return this.#staged.write(batch.pgnos, batch.pages);
  }

  async finish(image: ImageId): Promise<void> {
    try {
      await this.#beforeFinish(image);
      await this.#staged.finish(image);
    } catch (error) {
      if (error instanceof StorageError) this.failedBy = error;
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#staged.close();
  }
}
