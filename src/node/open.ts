/**
 * How a node begins, always as after a crash: who am I, what does the log say, what does the database say, finish what
 * a page sync left, then join the conversation. Nothing else distinguishes a first start from a later one.
 */

import { ClientError } from "../base/errors.ts";
import { type Hash64, formatHash } from "../base/hash.ts";
import { Prng } from "../base/prng.ts";
import { Writer } from "../db/process/writer.ts";
import { lockDirectory } from "../db/served/dir-lock.ts";
import type { Clock } from "../host/clock.ts";
import type { Disk } from "../host/disk.ts";
import { LogStore } from "../log/log-store.ts";
import { pagesHeader } from "../payload/pages.ts";
import { PeerLinks } from "../peer/links.ts";
import { decodeEnvelope } from "../raft/messages.ts";
import { Raft } from "../raft/raft.ts";
import type { EntryId, Lsn, Member, Membership, NodeId, SnapshotId, Term } from "../vocabulary.ts";
import { Applying } from "./applying.ts";
import { Database } from "./database.ts";
import { Forwarder } from "./forward.ts";
import { Identity } from "./identity.ts";
import { readInstallRecord, removeInstallRecord } from "./install-record.ts";
import { Lag } from "./lag.ts";
import { Members } from "./members.ts";
import { Node } from "./node.ts";
import { decodeNote } from "./notes.ts";
import { Outbox } from "./outbox.ts";
import { PageSyncing } from "./page-syncing.ts";
import { Reads } from "./reads.ts";
import { Routing } from "./routing.ts";
import { RunningNode } from "./running-node.ts";
import { StatusReport } from "./status-report.ts";
import { Upkeep } from "./upkeep.ts";
import { Waiters } from "./waiters.ts";
import { Writes } from "./write/writes.ts";

/** What must be known to open a node. All of it is settled before anything is touched. */
export type OpenOptions = {
  readonly self: NodeId;
  readonly dir: string;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly seed: number;
  readonly secret: string;
  readonly token: string;
  /** Members of a new cluster; empty for a node that joins one. Ignored when the log knows better. */
  readonly initial: Membership;
  /** Members to talk to before the log names any. */
  readonly contacts: Membership;
  readonly logRetentionBytes: number;
  readonly statementMs: number;
  readonly syncBytesPerSecond: number;
  readonly readers: number;
  onEvent(line: string): void;
  /** The node cannot go on. The process should end. */
  onFatal(error: Error): void;
};

/** Everything a running node consists of. */
export type NodeParts = {
  readonly self: NodeId;
  readonly dir: string;
  readonly clock: Clock;
  readonly node: Node;
  readonly log: LogStore;
  readonly links: PeerLinks;
  readonly identity: Identity;
  readonly database: Database;
  readonly applying: Applying;
  readonly applied: Waiters;
  readonly lag: Lag;
  readonly writes: Writes;
  readonly reads: Reads;
  readonly routing: Routing;
  readonly forwarder: Forwarder;
  readonly members: Members;
  readonly upkeep: Upkeep;
  readonly pageSyncing: PageSyncing;
  readonly report: StatusReport;
  onEvent(line: string): void;
  onFatal(error: Error): void;
  /** Lets another process have the directory. */
  unlock(): void;
};

const writerMain = new URL("writer-main.ts", import.meta.url).pathname;
const readerMain = new URL("reader-main.ts", import.meta.url).pathname;

/**
 * Opens the data directory and puts the node together. It does nothing by itself until `begin`.
 *
 * Throws ClientError for a directory that is in use or another node's, CorruptionError for a damaged log.
 */
export async function openNode(options: OpenOptions): Promise<RunningNode> {
  const { disk, dir, self } = options;
  await disk.makeDirectory(dir);
  const unlock = lockDirectory(dir);
  try {
    const identity = await Identity.open(disk, dir, self);
    const base = {
      lsn: 0 as Lsn,
      term: 0 as Term,
      chain: "0".repeat(16),
      membership: options.initial,
    };
    const log = await LogStore.open(disk, `${dir}/log`, base, {
      onRecovered: (line) => options.onEvent(line),
    });
    const database = openDatabase(options, () => running);
    await database.open((position) => expectedChecksum(log, position));
    await finishInstall(options, { log, database, identity });
    const applied = appliedAtStart(log, database);
    const running = assemble(options, { identity, log, database, applied, unlock });
    return running;
  } catch (error) {
    unlock();
    throw error;
  }
}

function openDatabase(options: OpenOptions, running: () => RunningNode): Database {
  return new Database({
    dir: options.dir,
    readers: options.readers,
    readerMain,
    statementMs: options.statementMs,
    onEvent: options.onEvent,
    onState: () => running().onDatabaseState(),
    onForeignWrite: (error) => running().onFailed(error),
  });
}

/** The checksum that the log recorded for the entry at `position`; undefined when the log does not reach back. */
async function expectedChecksum(log: LogStore, position: EntryId): Promise<Hash64 | undefined> {
  if (log.termAt(position.lsn) !== position.term) return undefined;
  const to = (position.lsn + 1) as Lsn;
  const entry = (await log.read(position.lsn, to, 1))[0];
  return entry?.kind === "payload" ? pagesHeader(entry.body).checksumAfter : undefined;
}

/** Completes a page sync that had changed the database when the last run ended [install-record.ts]. */
async function finishInstall(
  { disk, dir, onEvent }: OpenOptions,
  { log, database, identity }: Pick<NodeParts, "log" | "database" | "identity">,
): Promise<void> {
  const record = await readInstallRecord(disk, dir);
  if (record === undefined) return;
  const { served } = database;
  const isInstalled = served !== undefined && formatHash(served.checksum()) === record.checksum;
  if (isInstalled) {
    const { snapshot } = record;
    if (record.clusterId !== "") await identity.adopt(record.clusterId);
    if (log.termAt(snapshot.lsn) !== snapshot.term) await log.reset(snapshot);
    if (database.damage !== undefined) await database.reopen();
    onEvent(`finished the page sync that the last run began, at LSN ${snapshot.lsn}`);
  }
  await removeInstallRecord(disk, dir);
}

/** Where applying goes on: at the database's own position, or at the base of the log if that is later. */
function appliedAtStart(log: LogStore, database: Database): EntryId {
  const position = database.served?.position() ?? { lsn: 0 as Lsn, term: 0 as Term };
  if (position.lsn > log.last.lsn) {
    throw new ClientError(
      "STORAGE",
      `the database is at LSN ${position.lsn}, but the log ends at ${log.last.lsn}: the log was lost. ` +
        "Move the data directory aside and start the node with an empty one",
    );
  }
  // A database that page sync put in place has the position of its last change, which may be before the base.
  const base: SnapshotId = log.base;
  if (database.served !== undefined && base.lsn > position.lsn) {
    return { lsn: base.lsn, term: base.term };
  }
  return position;
}

type Opened = Pick<NodeParts, "identity" | "log" | "database" | "unlock"> & {
  readonly applied: EntryId;
};

function assemble(options: OpenOptions, opened: Opened): RunningNode {
  const { self, dir, clock, disk, onEvent, onFatal } = options;
  const { identity, log, database, unlock } = opened;
  const raft = new Raft({
    id: self,
    prng: new Prng(options.seed),
    nowMs: clock.nowMs(),
    hardState: log.hardState,
    base: log.base,
    termRuns: log.termRuns(),
    last: log.last,
    lastChain: log.lastChain,
    memberships: log.memberships(),
    committedLsn: opened.applied.lsn,
  });
  const applied = new Waiters(clock, opened.applied.lsn);
  const lag = new Lag(clock);
  const links = new PeerLinks({
    self,
    instance: identity.instance,
    secret: options.secret,
    clusterId: () => identity.clusterId,
    clock,
    admits: (id) => isKnown(raft.status().membership, options.contacts, id),
    onMessage: (from, envelope, entries) => receive(from, envelope, entries),
    onLinkUp: () => {},
    onLinkLost: (id) => {
      node.linkLost(id);
      // What was forwarded there has no answer to wait for.
      const address = addressOf(id);
      if (address !== undefined) forwarder.abandon(address);
    },
    onSyncRequest: (from, channel) => pageSyncing.send(from, channel),
    onEvent,
  });
  const outbox = new Outbox(
    log,
    (envelope, entries) => links.send(envelope.to, envelope, entries),
    onEvent,
  );
  const node = new Node({
    raft,
    log,
    outbox,
    clock,
    events: {
      committed: (lsn) => running.onCommitted(lsn),
      leadership: (now) => running.onLeadership(now),
      pageSyncWanted: (by) => running.onPageSyncWanted(by),
      failed: (error) => running.onFailed(error),
    },
  });
  const receive: PeerReceive = (from, envelope, entries) => {
    const note = decodeNote(envelope);
    if (note !== undefined) return running.onNote(from, note);
    const decoded = decodeEnvelope(envelope);
    if (decoded.from !== from || decoded.to !== self) return;
    node.step(decoded, entries);
    const { message } = decoded;
    if (message.type === "append") lag.heard(message.committedLsn);
  };
  const applying = new Applying(log, opened.applied, {
    change: (entry) => running.onChange(entry),
    applied: (id) => running.onApplied(id),
    damaged: (why) => running.onDamaged(why),
    failed: (error) => running.onFailed(error),
  });
  const writes = new Writes({
    self,
    clock,
    propose: (body) => node.propose("payload", body),
    last: () => node.last,
    drained: () => running.drained(),
    makeScratch: () => database.whole!.makeScratch(),
    hashes: () => {
      const served = database.whole!;
      return {
        pageCount: served.pageCount,
        checksum: () => served.checksum(),
        hashOf: (pgno) => served.table.hashOf(pgno),
      };
    },
    spawnWriter: () => Writer.spawn(writerMain, { statementMs: options.statementMs }),
    confirmLead: () => running.confirmLead(),
    onEvent,
    failed: (error) => running.onFailed(error),
  });
  const lagMs = () => lag.lagMs(node.leadership.leading);
  const reads = new Reads({
    clock,
    applied,
    pool: () => database.pool,
    lagMs,
    hasLease: () => node.hasLease(),
    readIndex: () => node.readIndex(),
    committedLsn: () => raft.status().committedLsn,
  });
  const addressOf = (id: NodeId) => raft.status().membership.find((m) => m.id === id)?.address;
  const forwarder = new Forwarder({ token: options.token, self });
  const routing = new Routing({
    self,
    clock,
    reads,
    writes,
    forwarder,
    leadership: () => node.leadership,
    addressOf,
  });
  const members = new Members({
    clock,
    writes,
    status: () => raft.status(),
    changeMembership: (change) => node.changeMembership(change),
    isUp: (id) => links.isUp(id),
    onEvent,
  });
  const upkeep = new Upkeep({
    log,
    logRetentionBytes: options.logRetentionBytes,
    served: () => database.whole,
    neededFrom: () => neededFrom(raft, links),
    logStartsAt: (base) => node.logStartsAt(base),
    onEvent,
    failed: (error) => running.onFailed(error),
  });
  const pageSyncing = new PageSyncing({
    dir,
    disk,
    clock,
    log,
    node,
    identity,
    database,
    applying,
    bytesPerSecond: options.syncBytesPerSecond,
    openSync: (to) => links.openSync(to),
    ended: (leader, image) => running.onPageSyncEnded(leader, image),
    installed: (image) => running.onInstalled(image),
    onEvent,
  });
  const report = new StatusReport({
    self,
    clock,
    log,
    database,
    identity,
    forwarder,
    raft: () => raft.status(),
    applied: () => applying.applied,
    lagMs,
    reached: (lsn) => applied.wait(lsn, 3_000),
    urlOf: (address) => `http://${address}`,
  });
  const running: RunningNode = new RunningNode({
    ...{ self, dir, clock, node, log, links, identity, database, applying, applied, lag },
    ...{ writes, reads, routing, forwarder, members, upkeep, pageSyncing, report },
    ...{ onEvent, onFatal, unlock },
  });
  report.remember(opened.applied.lsn);
  lag.applied(opened.applied.lsn);
  const { membership } = raft.status();
  links.setPeers(membership.length > 0 ? membership : options.contacts);
  return running;
}

type PeerReceive = (from: NodeId, envelope: unknown, entries: Parameters<Node["step"]>[1]) => void;

function isKnown(membership: Membership, contacts: Membership, id: NodeId): boolean {
  const has = (members: readonly Member[]) => members.some((m) => m.id === id);
  return membership.length === 0 ? contacts.length === 0 || has(contacts) : has(membership);
}

/** What the slowest reachable member still lacks. */
function neededFrom(raft: Raft, links: PeerLinks): Lsn {
  const { progress, last } = raft.status();
  const behind = progress.filter((p) => links.isUp(p.id)).map((p) => p.matchLsn);
  return Math.min(last.lsn, ...behind) as Lsn;
}
