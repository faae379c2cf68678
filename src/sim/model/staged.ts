/** The simulated twins of db/served/staging.ts and staged-patch.ts. */

import { assert } from "../../base/assert.ts";
import { CorruptionError } from "../../base/errors.ts";
import { formatHash, type Hash64, zeroHash } from "../../base/hash.ts";
import type { PageHashes, StagedDatabase } from "../../node/driver.ts";
import type { EntryId, Pgno } from "../../vocabulary.ts";
import { changed, checksumOf, hashOf, type Image, setOf } from "./pages.ts";
import type { ModelServed, ModelWorld } from "./served.ts";

type Wanted = {
  readonly pageCount: number;
  readonly checksum: Hash64;
  readonly position: EntryId;
};

/** A database file in the making, seeded from a damaged one. Survives a stop. */
export class ModelStagedImage implements StagedDatabase {
  readonly #world: ModelWorld;
  #image: Image;

  constructor(world: ModelWorld) {
    this.#world = world;
    this.#image = world.files.staged ?? world.files.image ?? [];
  }

  pageHashes(): PageHashes {
    return hashesOf(this.#image);
  }

  async write(pgnos: Uint32Array, pages: Uint8Array): Promise<void> {
    await this.#world.pace("write");
    this.#world.onEffect("write");
    const pageCount = Math.max(this.#image.length, ...pgnos);
    this.#image = changed(this.#image, { pgnos, pages, pageCount });
    this.#world.files.staged = this.#image;
  }

  async finish(wanted: Wanted): Promise<void> {
    this.#image = this.#image.slice(0, wanted.pageCount);
    assertChecksum(this.#image, wanted);
    await this.#world.pace("sync");
    this.#world.onEffect("sync");
    this.#world.onEffect("rename");
    const { files } = this.#world;
    files.file = this.#image;
    files.wal = [];
    files.synced = 0;
    files.staged = undefined;
    // Power may fail once the file is in place and nothing else knows.
    this.#world.onEffect("rename");
  }

  async close(): Promise<void> {}
}

/** Pages for a database that is open. */
export class ModelStagedPatch implements StagedDatabase {
  readonly #world: ModelWorld;
  readonly #served: ModelServed;
  readonly #before: Hash64;
  readonly #missing: Set<Pgno>;
  /** Pages that were written. */
  readonly written = new Set<number>();
  #image: Image;

  constructor(world: ModelWorld, served: ModelServed, damaged: readonly Pgno[]) {
    this.#world = world;
    this.#served = served;
    this.#before = served.checksum();
    this.#missing = new Set(damaged);
    this.#image = served.image;
  }

  pageHashes(): PageHashes {
    const { table } = this.#served;
    return {
      pageCount: this.#image.length,
      hashOf: (pgno) => {
        if (this.written.has(pgno)) return hashOf(pgno, this.#image[pgno - 1]!);
        return this.#missing.has(pgno as Pgno) ? zeroHash : table.hashOf(pgno);
      },
    };
  }

  async write(pgnos: Uint32Array, pages: Uint8Array): Promise<void> {
    await this.#world.pace("write");
    this.#world.onEffect("write");
    for (const pgno of pgnos) this.written.add(pgno);
    const pageCount = Math.max(this.#image.length, ...pgnos);
    this.#image = changed(this.#image, { pgnos, pages, pageCount });
  }

  async finish(wanted: Wanted): Promise<void> {
    assert(
      formatHash(this.#before) === formatHash(this.#served.checksum()),
      "served database changed under a staged patch",
    );
    const pgnos = [...this.written].filter((pgno) => pgno <= wanted.pageCount);
    pgnos.sort((a, b) => a - b);
    const image = this.#image.slice(0, wanted.pageCount);
    await this.#served.install(
      { ...setOf(image, pgnos), pageCount: wanted.pageCount },
      wanted.position,
      wanted.checksum,
    );
  }

  async close(): Promise<void> {}
}

function hashesOf(image: Image): PageHashes {
  return {
    pageCount: image.length,
    hashOf: (pgno) => {
      const page = image[pgno - 1];
      return page === undefined ? zeroHash : hashOf(pgno, page);
    },
  };
}

function assertChecksum(image: Image, wanted: Wanted): void {
  const found = formatHash(checksumOf(image));
  if (found === formatHash(wanted.checksum)) return;
  throw new CorruptionError(`page sync: ${found} instead of ${formatHash(wanted.checksum)}`);
}
