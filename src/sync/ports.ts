/**
 * What page sync needs of the world: a channel to the other node, pages to send, a place to put them.
 *
 * A `PageBatch` is n pages in ascending order of their numbers. A hash of two zero words means "never written"; such
 * a page reads as zeros.
 */

import type { Hash64 } from "../base/hash.ts";
import type { EntryId, Pgno, SnapshotId } from "../vocabulary.ts";

/** Whole messages both ways, in order, none lost while it is open. */
export interface Channel {
  /** Begins to read. While a promise returned by `onMessage` is pending nothing more is read. */
  listen(listener: {
    onMessage(message: Uint8Array): void | Promise<void>;
    onClose(why: string): void;
  }): void;
  /** Queues; the bytes must not change afterwards. */
  send(message: Uint8Array): void;
  /** Resolves when little is queued; rejects when the channel is closed. */
  drained(): Promise<void>;
  close(): void;
}

export type PageBatch = {
  /** Ascending, unique. */
  readonly pgnos: Uint32Array;
  /** One page after the other. */
  readonly pages: Uint8Array;
  /** High and low word of each page's hash. */
  readonly hashes: Uint32Array;
};

/** A database image: what it is, and of which moment. */
export type ImageId = {
  readonly pageCount: number;
  /** XOR of the hashes of all pages. */
  readonly checksum: Hash64;
  /** What the image itself says in its position row. */
  readonly position: EntryId;
  /** Where a log goes on from this image. Not before `position`. */
  readonly snapshot: SnapshotId;
};

export type Cut = { readonly pages: PageBatch; readonly image: ImageId };

/** The sending side's database, as applied, which goes on changing. */
export interface PageSource {
  pageSize(): number;
  pageCount(): number;
  /** Hashes of the pages [from, to) from memory, two words each; pages that do not exist have zero words. */
  hashesOf(from: Pgno, to: Pgno): Uint32Array;
  /** The pages as they are at some moment between call and answer. Those that no longer exist are left out. */
  readPages(pgnos: Uint32Array): Promise<PageBatch>;
  /**
   * Calls the listener after every change, once the change is what `hashesOf` and `readPages` give, with the pages
   * that changed and the number of pages since then. Returns what ends it.
   */
  onPagesChanged(listener: (pgnos: Uint32Array, pageCount: number) => void): () => void;
  /**
   * Chooses a moment, calls `pick` at it, and gives the picked pages and the image's identity as of that same moment.
   * All changes up to it have been told before. Picked pages that do not exist are left out.
   */
  cut(pick: () => Uint32Array): Promise<Cut>;
}

/** The receiving side: an image in the making. Nothing of it counts before `finish`. */
export interface PageSink {
  /** Of the pages that are there; 0 when there are none. */
  pageSize(): number;
  pageCount(): number;
  /** As in PageSource. Asked before `begin` only. */
  hashesOf(from: Pgno, to: Pgno): Uint32Array;
  /** Called once, before the first `write`. With a page size that is not its own the sink drops what it has. */
  begin(image: { readonly pageSize: number; readonly pageCount: number }): Promise<void>;
  /** Pages may come again, newer. What is written should survive a failed sync: it need not be sent again. */
  write(batch: PageBatch): Promise<void>;
  /** The image is complete and its checksum holds: pages above `pageCount` go, and it may take effect. */
  finish(image: ImageId): Promise<void>;
}
