/** Real staging of pages (db/served) in a simulated world. */

import { StagedPatch } from "../../db/served/staged-patch.ts";
import { StagedImage, type SyncedImage } from "../../db/served/staging.ts";
import { limits } from "../../limits.ts";
import type { PageHashes, StagedDatabase } from "../../node/driver.ts";
import type { Pgno } from "../../vocabulary.ts";
import type { SqliteServed } from "./served.ts";
import type { SqliteWorld } from "./world.ts";

/** A new file for the database, or pages for the open one. */
export class SqliteStaged implements StagedDatabase {
  readonly #world: SqliteWorld;
  readonly real: StagedImage | StagedPatch;
  readonly #onInstalled: () => void;

  static async image(world: SqliteWorld): Promise<SqliteStaged> {
    const options = { pageSize: limits.pageSize, seed: "served-file" } as const;
    const real = await world.outside(() => StagedImage.open(world.files.dir, options));
    return new SqliteStaged(world, real, () => world.files.noteSynced());
  }

  static async patch(
    world: SqliteWorld,
    served: SqliteServed,
    damaged: readonly Pgno[],
  ): Promise<SqliteStaged> {
    const real = await world.outside(() => StagedPatch.open(world.files.dir, served.real, damaged));
    return new SqliteStaged(world, real, () => served.noteInstalled());
  }

  private constructor(
    world: SqliteWorld,
    real: StagedImage | StagedPatch,
    onInstalled: () => void,
  ) {
    this.#world = world;
    this.real = real;
    this.#onInstalled = onInstalled;
  }

  pageHashes(): PageHashes {
    return this.real.pageHashes();
  }

  async write(pgnos: Uint32Array, pages: Uint8Array): Promise<void> {
    await this.#world.pace("write");
    this.#world.onEffect("write");
    await this.#world.outside(() => this.real.write(pgnos, pages));
  }

  async finish(wanted: SyncedImage): Promise<void> {
    await this.#world.pace("sync");
    this.#world.onEffect("sync");
    await this.#world.outside(async () => {
      await this.real.finish(wanted);
      this.#onInstalled();
    });
    // Power may fail once the pages are in place and nothing else knows.
    this.#world.onEffect("rename");
  }

  async close(): Promise<void> {
    await this.#world.outside(() => this.real.close());
  }
}
