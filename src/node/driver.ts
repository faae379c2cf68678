/**
 * What a node needs of the database and of the links, as interfaces: everything that is real files, processes and
 * sockets in a running node (real-driver.ts), and a model in a simulated one (sim/). The rest of node/ knows only
 * these.
 */

import type { CorruptionError } from "../base/errors.ts";
import type { Hash64 } from "../base/hash.ts";
import type { ContentOrPosition } from "../db/process/content/content.ts";
import type { Ask } from "../db/process/reader-messages.ts";
import type { ReadOutcome } from "../db/process/reader-pool.ts";
import type { RunRequest, WriterRun } from "../db/process/writer.ts";
import type { Recording } from "../db/record/recording.ts";
import type { Unit } from "../db/sql/request.ts";
import type { Channel, PageBatch } from "../sync/ports.ts";
import type { Entry, EntryId, Lsn, Membership, NodeId, Pgno } from "../vocabulary.ts";
import type { PageSet } from "../wal/page-set.ts";
import type { ReplayingProcess } from "./write/replaying.ts";

/** Hashes of pages, zero for a page that is not there. */
export type PageHashes = {
  readonly pageCount: number;
  hashOf(pgno: number): Hash64;
};

/** The served database, open. `db/served/served.ts` is the real one and says what each method promises. */
export interface ServedDatabase {
  readonly pageSize: number;
  readonly pageCount: number;
  readonly walFrames: number;
  readonly table: PageHashes;
  checksum(): Hash64;
  position(): EntryId;
  durablePosition(): EntryId;
  apply(pages: PageSet, position: EntryId, expected: Hash64 | undefined): Promise<void>;
  readPages(wanted: readonly Pgno[]): Promise<PageBatch>;
  onPagesChanged(listener: (pgnos: Uint32Array, pageCount: number) => void): () => void;
  checkpoint(
    mode: "passive" | "restart" | "truncate",
  ): Promise<{ complete: boolean; frames: number }>;
  syncWal(): Promise<void>;
  makeScratch(): Promise<{ path: string }>;
  scrub(): Promise<{ pages: number; damaged: Pgno[] }>;
  close(): Promise<void>;
}

/** Pages on their way into the database. `db/served/staging.ts` and `staged-patch.ts` are the real ones. */
export interface StagedDatabase {
  pageHashes(): PageHashes;
  write(pgnos: Uint32Array, pages: Uint8Array): Promise<void>;
  finish(wanted: {
    readonly pageCount: number;
    readonly checksum: Hash64;
    readonly position: EntryId;
  }): Promise<void>;
  close(): Promise<void>;
}

/** The processes that read. `db/process/reader-pool.ts`. */
export interface Readers {
  run(
    unit: Unit,
    options: {
      patienceMs: number | undefined;
      signal: AbortSignal;
      /** A larger answer is given up, and the outcome says `isCut`. */
      answerBytesMax?: number | undefined;
    },
  ): Promise<ReadOutcome>;
  /** Refused at once when all are in use; with a signal it waits in line, for a bounded time. */
  openSession(waiting?: AbortSignal): Promise<{
    /** `ask`: the unit as a whole [default], or piece by piece as a cursor. */
    run(unit: Unit, ask?: Ask): Promise<ReadOutcome>;
    close(): void;
  }>;
  close(): void;
}

/** The process that writes. `db/process/writer.ts`. */
export interface WriterProcess {
  readonly pid: number | undefined;
  open(scratchPath: string, recording?: Recording): Promise<void>;
  run(request: RunRequest): Promise<WriterRun>;
  kill(): void;
}

/** Files and processes of one data directory. */
export interface DatabaseDriver {
  /** Takes the directory for this process; returns what lets go of it. */
  lock(dir: string): () => void;
  exists(dir: string): boolean;
  open(dir: string, onForeignWrite: (error: CorruptionError) => void): Promise<ServedDatabase>;
  create(dir: string, image: { pageSize: number; pages: Uint8Array }): Promise<void>;
  genesisImage(dir: string): { pageSize: number; pages: Uint8Array };
  openReaders(dir: string): Readers;
  spawnWriter(): WriterProcess;
  spawnReplay(): ReplayingProcess;
  /** Checksums of the rows of every table, of one moment. */
  contentOf(dir: string, at?: Lsn): Promise<ContentOrPosition>;
  stageImage(dir: string): Promise<StagedDatabase>;
  /** `damaged` are pages whose content is not what the table says. */
  stagePatch(
    dir: string,
    served: ServedDatabase,
    damaged: readonly Pgno[],
  ): Promise<StagedDatabase>;
}

/** The links to the other nodes. `peer/links.ts`. */
export interface Links {
  setPeers(members: Membership): void;
  /** False when dropped. Never blocks. */
  send(to: NodeId, envelope: unknown, entries: readonly Entry[]): boolean;
  openSync(to: NodeId): Promise<Channel>;
  isUp(node: NodeId): boolean;
  /** Bytes of frames given to the network since the start. */
  readonly sentBytes: number;
  close(): void;
}

/** What the links tell. */
export type LinkEvents = {
  admits(node: NodeId): boolean;
  clusterId(): string | undefined;
  onMessage(from: NodeId, envelope: unknown, entries: readonly Entry[]): void;
  onLinkLost(node: NodeId): void;
  /** The lane for entries to a node has broken; what was on it may not have arrived. */
  onEntriesLost(node: NodeId): void;
  onSyncRequest(from: NodeId, channel: Channel): void;
};
