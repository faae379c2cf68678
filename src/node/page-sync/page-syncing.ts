/**
 * Page sync at work [D7]: a node whose log cannot bring it up to date, or whose pages are damaged, fetches the pages
 * that differ from the leader and goes on from there with the log.
 *
 *   receiving  applying stops · staged pages · install record · database · log reset if need be · applying goes on
 *   sending    beside everything else, throttled
 *
 * It is repeated until it succeeds: with another leader, after a restart, from what is there already.
 */

import { messageOf } from "../../base/errors.ts";
import { formatHash } from "../../base/hash.ts";
import type { Clock } from "../../host/clock.ts";
import type { Disk } from "../../host/disk.ts";
import type { LogStore } from "../../log/log-store.ts";
import type { Channel, ImageId } from "../../sync/ports.ts";
import type { SyncProgress } from "../../sync/progress.ts";
import { receivePages } from "../../sync/receiver.ts";
import { sendPages } from "../../sync/sender.ts";
import type { NodeId, SnapshotId } from "../../vocabulary.ts";
import { formatPosition } from "../../vocabulary.ts";
import type { Applying } from "../applying.ts";
import type { Database } from "../database.ts";
import { rewindRecord } from "../discarded/rewind-record.ts";
import type { DatabaseDriver } from "../driver.ts";
import type { Identity } from "../identity.ts";
import type { Node } from "../node.ts";
import { removeInstallRecord, writeInstallRecord } from "./install-record.ts";
import { writeKeptTables } from "./kept-tables.ts";
import { writeKnownChecksum } from "./known-checksum.ts";
import { StagedPages } from "./page-sink.ts";
import { ServedPages } from "./page-source.ts";

export type PageSyncPorts = {
  readonly dir: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: LogStore;
  readonly node: Node;
  readonly identity: Identity;
  readonly driver: DatabaseDriver;
  readonly database: Database;
  readonly applying: Applying;
  readonly bytesPerSecond: number;
  openSync(to: NodeId): Promise<Channel>;
  /** Tables whose rows this node keeps; all when undefined. */
  readonly tables: readonly string[] | undefined;
  /** Whether pages are of use now: not while the log cannot be taken in behind them. */
  mayReceive(): boolean;
  /** The log may be thrown away for this snapshot; keeps what would be lost with it, durable. */
  beforeInstall(snapshot: SnapshotId): Promise<void>;
  /** Tells the leader how it ended. */
  ended(leader: NodeId, image: ImageId | undefined): void;
  /** The database and the log are now at the image. */
  installed(image: ImageId): void;
  /** The disk failed. The node must stop. */
  failed(error: Error): void;
  onEvent(line: string): void;
};

/** Between two attempts. */
const retryMs = 500;
/** Between two lines that tell how far it is. */
const tellMs = 2_000;

export class PageSyncing {
  readonly #ports: PageSyncPorts;
  readonly #stop = new AbortController();
  #receiving = false;
  #progress: SyncProgress | undefined;
  /** Bytes moved by page syncs that this node received, ever. */
  bytesReceived = 0;

  constructor(ports: PageSyncPorts) {
    this.#ports = ports;
  }

  /** How far a running page sync to this node is. */
  get progress(): SyncProgress | undefined {
    return this.#progress;
  }

  /** Fetches pages from the leader until the database is whole. Harmless while one is under way. */
  receive(clusterId: string | undefined): void {
    if (this.#receiving) return;
    this.#receiving = true;
    void this.#receiveUntilDone(clusterId).finally(() => {
      this.#receiving = false;
      this.#progress = undefined;
    });
  }

  /** Another node, or somebody else who is named here for people, asks for pages. */
  send(to: string, channel: Channel): void {
    const { database, applying, log, clock, bytesPerSecond, onEvent } = this.#ports;
    const served = database.whole;
    if (served === undefined) return channel.close();
    const tell = this.#teller(`page sync to ${to}`);
    const source = new ServedPages(served, applying, log);
    sendPages(channel, source, {
      clock,
      bytesPerSecond,
      onProgress: tell,
      signal: this.#stop.signal,
    }).then(
      (report) => {
        onEvent(
          `page sync to ${to} done at ${formatPosition(report.image.snapshot)}: ` +
            `${report.pagesDone} pages, ${report.bytesMoved} bytes`,
        );
      },
      (error: unknown) => onEvent(`page sync to ${to} broke off: ${messageOf(error)}`),
    );
  }

  close(): void {
    this.#stop.abort();
  }

  async #receiveUntilDone(clusterId: string | undefined): Promise<void> {
    const { node, clock, applying, database, onEvent } = this.#ports;
    const { signal } = this.#stop;
    node.setElectable(false);
    while (!signal.aborted) {
      const { leader, leading } = node.leadership;
      const isThere = leader !== undefined && !leading && !this.#isWitness(leader);
      if (isThere && this.#ports.mayReceive()) {
        try {
          await applying.pause();
          await this.#receiveOnce(leader, clusterId);
          // More may have been found to be damaged meanwhile.
          if (database.damage !== undefined) continue;
          node.setElectable(true);
          return;
        } catch (error) {
          if (signal.aborted) return;
          onEvent(`page sync from ${leader} broke off: ${messageOf(error)}; trying again`);
          this.#ports.ended(leader, undefined);
        }
      }
      await new Promise<void>((resolve) => clock.after(retryMs, resolve));
    }
  }

  /** A witness has no pages; it hands the lead to a node that has. */
  #isWitness(id: NodeId): boolean {
    const { membership } = this.#ports.node.status();
    return membership.find((member) => member.id === id)?.kind === "witness";
  }

  async #receiveOnce(leader: NodeId, clusterId: string | undefined): Promise<void> {
    const { dir, disk, driver, clock, database, identity, onEvent } = this.#ports;
    const cluster = clusterId ?? identity.clusterId ?? "";
    const { findings } = database;
    const sink = await StagedPages.open({ dir, driver, database }, async (image) => {
      const { snapshot, position } = image;
      const checksum = formatHash(image.checksum);
      await this.#ports.beforeInstall(snapshot);
      await writeInstallRecord(disk, dir, {
        clusterId: cluster,
        snapshot,
        position,
        checksum,
      });
    });
    let finished = false;
    try {
      const channel = await this.#ports.openSync(leader);
      onEvent(`page sync from ${leader} begins with ${sink.pageCount()} pages here`);
      const tell = this.#teller(`page sync from ${leader}`);
      const report = await receivePages(channel, sink, {
        clock,
        signal: this.#stop.signal,
        onProgress: (progress) => {
          this.#progress = progress;
          tell(progress);
        },
      });
      finished = true;
      this.bytesReceived += report.bytesMoved;
      await this.#install({ leader, clusterId: cluster, findings }, report.image);
      onEvent(
        `page sync from ${leader} done at ${formatPosition(report.image.snapshot)}: ` +
          `${report.pagesDone} pages differed, ${report.bytesMoved} bytes moved`,
      );
    } finally {
      if (!finished) await sink.close().catch(() => {});
      // A failed sync is never tried again [sqlite-facts 5].
      if (sink.failedBy !== undefined) this.#ports.failed(sink.failedBy);
    }
  }

  async #install(
    { leader, clusterId, findings }: { leader: NodeId; clusterId: string; findings: number },
    image: ImageId,
  ): Promise<void> {
    const { dir, disk, identity, database, node, applying, tables } = this.#ports;
    if (clusterId !== "") await identity.adopt(clusterId);
    await writeKnownChecksum(disk, dir, image.position, image.checksum);
    // It has the rows of all tables now, and loses those of the others with the next entry.
    await writeKeptTables(disk, dir, tables);
    await database.reopen(findings);
    await node.install(image.snapshot);
    if (!node.holds(image.snapshot)) {
      // Pages of a leader that lost the lead meanwhile, and what it had committed by a weak rule.
      database.markDamaged(
        `${formatPosition(image.snapshot)}, where the pages are, is not in the log`,
      );
    } else await rewindRecord.remove(disk, dir);
    await removeInstallRecord(disk, dir);
    this.#ports.installed(image);
    applying.resumeAt({ lsn: image.snapshot.lsn, term: image.snapshot.term });
    this.#ports.ended(leader, image);
  }

  #teller(what: string): (progress: SyncProgress) => void {
    const { clock, onEvent } = this.#ports;
    let nextMs = clock.nowMs() + tellMs;
    return (progress) => {
      if (clock.nowMs() < nextMs) return;
      nextMs = clock.nowMs() + tellMs;
      const { pagesDone, pagesTotal, bytesMoved, round } = progress;
      const percent = pagesTotal === 0 ? 100 : Math.floor((100 * pagesDone) / pagesTotal);
      onEvent(
        `${what}: ${percent} % (${pagesDone} of ${pagesTotal} pages, ` +
          `${Math.round(bytesMoved / 1e6)} MB, round ${round})`,
      );
    };
  }
}
