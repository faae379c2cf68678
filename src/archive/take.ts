/**
 * Takes a backup from a running node, whatever its role, while writes go on: a page sync into a file. Nobody is locked;
 * the image is that of one LSN; every page was checked on the way.
 */

import type { Clock } from "../host/clock.ts";
import { dialCopy } from "../peer/copying.ts";
import type { SyncProgress } from "../sync/progress.ts";
import { receivePages } from "../sync/receiver.ts";
import { Throttle } from "../sync/throttle.ts";
import { type BackupLabel, readImage } from "./backup-file.ts";
import { BackupDraft } from "./draft.ts";

export type TakeOptions = {
  /** `host:port` of the node. */
  readonly address: string;
  readonly clusterId: string;
  readonly path: string;
  /** At most so many bytes are taken per second; the node has a bound of its own. */
  readonly bytesPerSecond: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  onProgress(progress: SyncProgress): void;
};

export type TakeReport = {
  readonly label: BackupLabel;
  /** Pages that differed from the older backup or the interrupted run that it went on from. */
  readonly pagesMoved: number;
  readonly bytesMoved: number;
};

/**
 * Resolves when the backup is at `path`, durable, and has been read back. Throws ProtocolError when the node or the way
 * to it fails, CorruptionError when `path` is something else than a backup, and the system's errors.
 */
export async function takeBackup(options: TakeOptions): Promise<TakeReport> {
  const { address, clusterId, path, clock, signal } = options;
  const throttle = new Throttle(clock, options.bytesPerSecond);
  const draft = await BackupDraft.open(path, (bytes) => throttle.take(bytes));
  const takenAt = new Date(clock.wallMs()).toISOString();
  draft.origin = { clusterId, takenFrom: address, takenAt };
  try {
    const channel = await dialCopy(address, clock, signal);
    const report = await receivePages(channel, draft, {
      clock,
      signal,
      onProgress: (progress) => options.onProgress(progress),
    });
    await readImage(path, async () => {});
    return { label: draft.label!, pagesMoved: report.pagesDone, bytesMoved: report.bytesMoved };
  } finally {
    await draft.close();
  }
}
