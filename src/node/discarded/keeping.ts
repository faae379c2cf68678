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
 * A crash in between does the rest again, or finds the note. Followers that had got some of these entries do the same.
 */

import type { Clock } from "../../host/clock.ts";
import type { Disk } from "../../host/disk.ts";
import type { LogStore } from "../../log/log-store.ts";
import { formatPosition, type Lsn, type NodeId } from "../../vocabulary.ts";
import type { Applying } from "../applying.ts";
import type { Database } from "../database.ts";
import type { Identity } from "../identity.ts";
import type { Node } from "../node.ts";
import type { DiscardedStore } from "./discarded-store.ts";
import { writeRewindRecord } from "./rewind-record.ts";

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
  #running = false;

  constructor(ports: KeepingPorts) {
    this.#ports = ports;
  }

  /** Entries from `from` on are about to be replaced. Asked again while it is not done; that is harmless. */
  keep(from: Lsn): void {
    if (this.#running) return;
    this.#running = true;
    this.#keep(from)
      .catch((error: unknown) => {
        this.#ports.failed(error instanceof Error ? error : new Error(String(error)));
      })
      .finally(() => {
        this.#running = false;
      });
  }

  async #keep(from: Lsn): Promise<void> {
    const { self, dir, disk, clock, log, node, identity, database, applying } = this.#ports;
    const to = log.last.lsn;
    if (from > to || from <= log.base.lsn) return node.yieldFrom(from);
    const kept = await this.#ports.discarded.keep(log, {
      ...{ from, to, node: self, clusterId: identity.clusterId },
      nowWallMs: clock.wallMs(),
    });
    if (kept !== undefined) {
      this.#ports.onEvent(
        `the cluster lost ${kept.entries} entries of this node, ${kept.from} to ${kept.to}; they are kept ` +
          `in discarded/${kept.name}: see paceline discarded`,
      );
    }
    const wasPaused = await applying.pause();
    const position = database.served?.position();
    const isAhead = position !== undefined && position.lsn >= from;
    if (isAhead) {
      const why = `it has entries up to ${formatPosition(position)}, the cluster lost those from ${from} on`;
      await writeRewindRecord(disk, dir, { format: 1, from, why });
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
