/** The files of a machine on the model database. */

import type { Hash64 } from "../../base/hash.ts";
import type { Prng } from "../../base/prng.ts";
import type { DatabaseDriver } from "../../node/driver.ts";
import type { Lsn } from "../../vocabulary.ts";
import type { Content, NodeStore, RotWhere, StoreWorld } from "../store.ts";
import { modelDriver } from "./driver.ts";
import { ModelFiles } from "./files.ts";
import { listCount, listOf, positionOf } from "./lists.ts";
import { checksumOf, type Image } from "./pages.ts";

export class ModelStore implements NodeStore {
  readonly files = new ModelFiles();

  content(): Content | undefined {
    const { image } = this.files;
    return image && new ModelContent(image);
  }

  unsafeLsn(): Lsn | undefined {
    const { wal, synced, file } = this.files;
    const kept = synced > 0 ? wal[synced - 1]!.image : file;
    const keptLsn = kept === undefined ? 0 : positionOf(kept).lsn;
    return wal.slice(synced).find(({ position }) => position.lsn > keptLsn)?.position.lsn;
  }

  async checksum(): Promise<Hash64 | undefined> {
    const { image } = this.files;
    return image && checksumOf(image);
  }

  end(how: "kill" | "power", prng: Prng): void {
    if (how === "power") this.files.crash(prng);
  }

  wipe(): void {
    this.files.wipe();
  }

  /** Never a bit of the position, which has no second copy. Readers are shown lists. */
  rot(prng: Prng, where: RotWhere): number | undefined {
    const { image } = this.files;
    if (image === undefined) return undefined;
    const first = where === "anywhere" ? 1 : 1 + listCount(image);
    if (where === "unread" && image.length <= first) return undefined;
    const index = prng.integer(Math.min(first, image.length - 1), image.length);
    const bit = prng.integer(0, image[index]!.byteLength * 8);
    this.files.replace((pages) => {
      const page = pages[index]!.slice();
      page[bit >>> 3]! ^= 1 << (bit & 7);
      return pages.with(index, page);
    });
    return index + 1;
  }

  driver(world: StoreWorld): DatabaseDriver {
    return modelDriver({ ...world, files: this.files });
  }

  async problems(): Promise<readonly string[]> {
    return [];
  }

  async dispose(): Promise<void> {}
}

/** Looked at only when somebody wants to know. */
class ModelContent implements Content {
  readonly #image: Image;

  constructor(image: Image) {
    this.#image = image;
  }

  get lsn() {
    return positionOf(this.#image).lsn;
  }

  get lists() {
    return Array.from({ length: listCount(this.#image) }, (_, list) => listOf(this.#image, list));
  }
}
