/**
 * Entries of the logical log kinds, taken in: what the leader recorded is run again on a scratch database of this node
 * [D2], and the pages that come out are applied like any others. [D5]
 *
 * The scratch has everything that is applied, as long as everything goes through it. So it is thrown away whenever
 * pages come from elsewhere: an entry of kind pages, page sync, entries that this node proposed itself, a new writer.
 */

import type { Replayed } from "../../db/process/replay/replay.ts";
import { limits } from "../../limits.ts";
import type { EntryId } from "../../vocabulary.ts";

/** The process. `db/process/replay/replay.ts`. */
export interface ReplayingProcess {
  open(scratchPath: string): Promise<void>;
  replay(position: EntryId, section: Uint8Array): Promise<Replayed>;
  kill(): void;
}

export type ReplayingPorts = {
  spawn(): ReplayingProcess;
  makeScratch(): Promise<{ path: string }>;
};

export class Replaying {
  readonly #ports: ReplayingPorts;
  #process: ReplayingProcess | undefined;

  constructor(ports: ReplayingPorts) {
    this.#ports = ports;
  }

  /** Encoded pages that the entry changes here. Throws CorruptionError when this copy differs from the leader's. */
  async pagesOf(position: EntryId, section: Uint8Array): Promise<Uint8Array> {
    const replay = this.#process ?? (await this.#start());
    try {
      const { pages, frames } = await replay.replay(position, section);
      if (frames > limits.scratchFramesMax) this.drop();
      return pages;
    } catch (error) {
      this.drop();
      throw error;
    }
  }

  /** The scratch lacks something that is applied, or is about to be another's. */
  drop(): void {
    this.#process?.kill();
    this.#process = undefined;
  }

  async #start(): Promise<ReplayingProcess> {
    const replay = this.#ports.spawn();
    try {
      const { path } = await this.#ports.makeScratch();
      await replay.open(path);
    } catch (error) {
      replay.kill();
      throw error;
    }
    this.#process = replay;
    return replay;
  }
}
