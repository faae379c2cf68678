/**
 * Where a data node that the log no longer reaches gets pages, a witness gets a beginning: it has no database, so all
 * it needs is to know from which entry on to keep the log.
 *
 *   leader    note "logBegins": the base of its own log, which is committed
 *   witness   forgets what it has, unless its log has reached that entry by itself; tells the leader so
 *
 * The promises that the witness gave for entries at or below that base are kept by the databases that hold them: a
 * leader drops entries only after they are durable in its own database [upkeep.ts].
 */

import type { LogStore } from "../../log/log-store.ts";
import type { NodeId, SnapshotId } from "../../vocabulary.ts";
import type { Applying } from "../applying.ts";
import type { Identity } from "../identity.ts";
import type { Node } from "../node.ts";

export type LogStartPorts = {
  readonly identity: Identity;
  readonly node: Node;
  readonly log: LogStore;
  readonly applying: Applying;
  /** The log may be thrown away for this snapshot; keeps what would be lost with it, durable. */
  beforeInstall(snapshot: SnapshotId): Promise<void>;
  /** The log begins after the snapshot; tells the leader. */
  begun(leader: NodeId, snapshot: SnapshotId): void;
  /** The disk failed. The node must stop. */
  failed(error: Error): void;
};

export class LogStart {
  readonly #ports: LogStartPorts;
  #running = false;

  constructor(ports: LogStartPorts) {
    this.#ports = ports;
  }

  /** On a witness. Harmless when asked again, and while one is under way. */
  take(leader: NodeId, clusterId: string, snapshot: SnapshotId): void {
    if (this.#running) return;
    this.#running = true;
    this.#take(leader, clusterId, snapshot)
      .catch((error: unknown) => {
        this.#ports.failed(error instanceof Error ? error : new Error(String(error)));
      })
      .finally(() => {
        this.#running = false;
      });
  }

  async #take(leader: NodeId, clusterId: string, snapshot: SnapshotId): Promise<void> {
    const { identity, node, log, applying, begun } = this.#ports;
    if (clusterId !== "") await identity.adopt(clusterId);
    await applying.pause();
    await this.#ports.beforeInstall(snapshot);
    await node.install(snapshot);
    const { base } = log;
    applying.resumeAt(
      applying.applied.lsn < base.lsn ? { lsn: base.lsn, term: base.term } : applying.applied,
    );
    begun(leader, snapshot);
  }
}
