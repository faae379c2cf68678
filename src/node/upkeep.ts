/**
 * What must be done now and then so that space stays bounded: checkpoints of the served WAL, and dropping log entries
 * that nobody needs.
 *
 * Retention [D7]: the log keeps what the slowest reachable member lacks, but never more than `logRetentionBytes`; a
 * member that is behind even that gets its pages by page sync. It never drops an entry that a power cut could
 * still ask for: everything above the durable position of the database stays. A witness keeps `logRetentionBytes`
 * whatever the others have: it may be the only one left that can bring a data node up to date.
 */

import { messageOf } from "../base/errors.ts";
import type { Hash64 } from "../base/hash.ts";
import { limits } from "../limits.ts";
import type { LogStore } from "../log/log-store.ts";
import type { EntryId, Lsn, SnapshotId } from "../vocabulary.ts";
import type { ServedDatabase } from "./driver.ts";

export type UpkeepPorts = {
  readonly log: LogStore;
  readonly logRetentionBytes: number;
  served(): ServedDatabase | undefined;
  /** This node has a log and no database. */
  readonly witness: boolean;
  committedLsn(): Lsn;
  /** Highest LSN that every member has which the log should still serve. */
  neededFrom(): Lsn;
  /** Writes down what the log will no longer say. */
  keepChecksum(position: EntryId, checksum: Hash64): Promise<void>;
  logStartsAt(base: SnapshotId): void;
  /** Lets no further read transaction begin for so long; 0: all may begin. */
  pauseViews(ms: number): void;
  onEvent(line: string): void;
  failed(error: Error): void;
};

/** Kept in any case, so that a short absence never costs a page sync. */
const keepBytesMin = 32 * 1024 * 1024;

export class Upkeep {
  readonly #ports: UpkeepPorts;
  #running = false;

  constructor(ports: UpkeepPorts) {
    this.#ports = ports;
  }

  /** Does what is due. One round at a time; called every few hundred milliseconds. */
  async round(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      await this.#checkpoint();
      await this.#dropEntries();
    } catch (error) {
      this.#ports.onEvent(`upkeep failed: ${messageOf(error)}`);
      this.#ports.failed(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#running = false;
    }
  }

  async #checkpoint(): Promise<void> {
    const served = this.#ports.served();
    if (served === undefined || served.walFrames < limits.checkpointFrames) return;
    // Readers that hold an old view keep the WAL from starting over; a later round finds them gone.
    await served.checkpoint("restart");
    this.#ports.pauseViews(pauseFor(served.walFrames));
  }

  async #dropEntries(): Promise<void> {
    const { log, logRetentionBytes, witness } = this.#ports;
    const served = this.#ports.served();
    if (witness) return this.#dropUpTo(log.lsnAtBytesFromEnd(logRetentionBytes));
    if (served === undefined) return;
    const keep = Math.min(keepBytesMin, logRetentionBytes);
    if (log.bytes <= keep + limits.segmentBytesMax) return;
    const byCap = log.lsnAtBytesFromEnd(logRetentionBytes);
    const byNeed = Math.min(this.#ports.neededFrom(), log.lsnAtBytesFromEnd(keep));
    let from = Math.max(byCap, byNeed) as Lsn;
    if (served.durablePosition().lsn < from) {
      await served.syncWal();
      from = Math.min(from, served.durablePosition().lsn) as Lsn;
    }
    // The entry that says what the database should be may be among those that go.
    const position = served.position();
    if (position.lsn <= from) await this.#ports.keepChecksum(position, served.checksum());
    await this.#dropUpTo(from);
  }

  async #dropUpTo(from: Lsn): Promise<void> {
    const { log, logStartsAt, committedLsn } = this.#ports;
    const to = Math.min(from, committedLsn()) as Lsn;
    if (to <= log.firstLsn) return;
    logStartsAt(await log.dropBefore(to));
  }
}

/**
 * While transactions overlap, one of them always holds an old view, and the WAL grows as long as there are writes. So
 * none begins for a moment, the longer the WAL is. Views of programs that read the file are not ours to end.
 */
function pauseFor(frames: number): number {
  if (frames < 2 * limits.checkpointFrames) return 0;
  return frames < 4 * limits.checkpointFrames ? limits.viewPauseMs : limits.transactionIdleMs;
}
