/**
 * The old leader's return, in a cluster whose commit rule may lose writes: the new leader has other entries than this
 * node, and ours may have been acknowledged. Before they give way,
 *
 *   1. what they say is kept in discarded/, durable              discarded-store.ts
 *   2. if the database has them too, a note is left, durable     rewind-record.ts
 *   3. the database counts as damaged: nobody reads it, it does not lead, and page sync brings it back, moving only the
 *      pages that differ
 *   4. consensus may replace them, and does with the next append
 *
 * Where even the beginning of the difference is gone from the new leader's log, pages come in place of entries
 * (page-sync/), and what may be lost is kept before they take effect.
 *
 * A crash in between does the rest again, or finds the note. Followers that had got some of these entries do the same.
 */

import type { Clock } from "../../host/clock.ts";
import type { Disk } from "../../host/disk.ts";
import type { LogStore } from "../../log/log-store.ts";
import { formatPosition, type Lsn, type NodeId, type SnapshotId } from "../../vocabulary.ts";
import type { Applying } from "../applying.ts";
import type { Database } from "../database.ts";
import type { Identity } from "../identity.ts";
import type { Node } from "../node.ts";
import type { DiscardedStore } from "./discarded-store.ts";
import { rewindRecord } from "./rewind-record.ts";

export type KeepingPorts = {
  readonly self: NodeId;
  readonly dir: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: LogStore;
  readonly node: Node;
  readonly identity: Identity;
  readonly database: Database;
  readonly applying: Applying;
  readonly discarded: DiscardedStore;
  /** Positions from there on stand for something else from now on. */
  rewound(from: Lsn): void;
  failed(error: Error): void;
  onEvent(line: string): void;
};

export class Keeping {
  readonly #ports: KeepingPorts;
  /** What is being kept. One at a time: both ways here may be about the same entries, and so the same files. */
  #running: Promise<void> | undefined;

  constructor(ports: KeepingPorts) {
    this.#ports = ports;
  }

  /** Entries from `from` on are about to be replaced. Asked again while it is not done; that is harmless. */
  keep(from: Lsn): void {
    if (this.#running !== undefined) return;
    this.#alone(() => this.#keep(from)).catch((error: unknown) => {
      this.#ports.failed(error instanceof Error ? error : new Error(String(error)));
    });
  }

  /**
   * The log is about to be thrown away for copied pages, because nobody's log reaches back to it. Which of its entries
   * the cluster has, nobody can tell any more: those that were not known to be on a majority are kept.
   */
  async beforeInstall(snapshot: SnapshotId): Promise<void> {
    while (this.#running !== undefined) await this.#running.catch(() => {});
    await this.#alone(async () => {
      const from = this.#ports.node.losesFrom(snapshot);
      if (from !== undefined) await this.#store(from, true);
    });
  }

  #alone(keep: () => Promise<void>): Promise<void> {
    const kept = keep().finally(() => {
      this.#running = undefined;
    });
    this.#running = kept;
    return kept;
  }

  async #store(from: Lsn, maybe: boolean): Promise<void> {
    const { self, clock, log, identity, discarded, onEvent } = this.#ports;
    const kept = await discarded.keep(log, {
      ...{ from, to: log.last.lsn, node: self, clusterId: identity.clusterId, maybe },
      nowWallMs: clock.wallMs(),
    });
    if (kept === undefined) return;
    onEvent(
      `the cluster ${maybe ? "may have lost" : "lost"} ${kept.entries} entries of this node, ${kept.from} to ` +
        `${kept.to}; they are kept in discarded/${kept.name}: see paceline discarded`,
    );
  }

  async #keep(from: Lsn): Promise<void> {
    const { dir, disk, log, node, database, applying } = this.#ports;
    if (from > log.last.lsn || from <= log.base.lsn) return node.yieldFrom(from);
    await this.#store(from, false);
    const wasPaused = await applying.pause();
    const position = database.served?.position();
    const isAhead = position !== undefined && position.lsn >= from;
    if (isAhead) {
      const why = `it has entries up to ${formatPosition(position)}, the cluster lost those from ${from} on`;
      await rewindRecord.write(disk, dir, { format: 1, from, why });
      this.#ports.rewound(from);
      node.yieldFrom(from);
      applying.rewindTo(from);
      database.markDamaged(why);
      return;
    }
    this.#ports.rewound(from);
    node.yieldFrom(from);
    applying.rewindTo(from);
    if (!wasPaused) applying.resumeAt(applying.applied);
  }
}
