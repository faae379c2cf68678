/**
 * What page sync tells while it runs and when it has ended; the same words on both sides.
 */

import type { Clock } from "../host/clock.ts";
import type { ImageId } from "./ports.ts";

export type SyncProgress = {
  /** From 1; 0 while the two sides compare. */
  readonly round: number;
  /** Pages moved so far, those that were moved again included. */
  readonly pagesDone: number;
  /** Pages moved and to be moved, as far as known. */
  readonly pagesTotal: number;
  /** Bytes of all messages, both ways. */
  readonly bytesMoved: number;
};

export type SyncReport = SyncProgress & { readonly image: ImageId };

export type SyncOptions = {
  readonly clock: Clock;
  /** Sender only. `limits.syncBytesPerSecond` when undefined. */
  readonly bytesPerSecond?: number | undefined;
  /** Called for every message of pages, and at the start of a round. */
  readonly onProgress?: ((progress: SyncProgress) => void) | undefined;
  /** Ends the sync: the channel is closed and the call throws. */
  readonly signal?: AbortSignal | undefined;
};
