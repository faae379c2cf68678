/**
 * How a node begins, always as after a crash: who am I, what does the log say, what does the database say, finish what
 * a page sync left, then join the conversation. Nothing else distinguishes a first start from a later one.
 *
 * Not here: how the pieces are wired together (assemble.ts).
 */

import { randomBytes } from "node:crypto";
import { ClientError, messageOf } from "../base/errors.ts";
import { type Hash64, parseHash, zeroChain } from "../base/hash.ts";
import type { Clock } from "../host/clock.ts";
import type { Disk } from "../host/disk.ts";
import { LogStore } from "../log/log-store.ts";
import { decodeGenesis, imageChecksum } from "../payload/genesis.ts";
import { pagesHeader } from "../payload/pages.ts";
import { pagesSection } from "../payload/sections.ts";
import {
  defaultSettings,
  type EntryId,
  formatPosition,
  type Lsn,
  type Membership,
  type NodeId,
  type Settings,
  type Term,
} from "../vocabulary.ts";
import { assemble } from "./assemble.ts";
import { Database } from "./database.ts";
import { cannotBeDelayed } from "./delay/delay.ts";
import { readHold } from "./delay/hold-record.ts";
import { DiscardedStore } from "./discarded/discarded-store.ts";
import { type RewindRecord, rewindRecord } from "./discarded/rewind-record.ts";
import type { DatabaseDriver, LinkEvents, Links } from "./driver.ts";
import { Identity, type Joining } from "./identity.ts";
import {
  type InstallRecord,
  readInstallRecord,
  removeInstallRecord,
} from "./page-sync/install-record.ts";
import { areSameTables, readKeptTables, writeKeptTables } from "./page-sync/kept-tables.ts";
import { readKnownChecksum, writeKnownChecksum } from "./page-sync/known-checksum.ts";
import type { OwnAddress } from "./route/moves.ts";
import type { Forwarding } from "./route/routing.ts";
import type { RunningNode } from "./running-node.ts";

/** What must be known to open a node. All of it is settled before anything is touched. */
export type OpenOptions = {
  readonly self: NodeId;
  readonly dir: string;
  readonly clock: Clock;
  readonly disk: Disk;
  readonly driver: DatabaseDriver;
  /** For the draws of consensus. */
  readonly seed: number;
  /** So many random bytes as hex digits, for names that must never meet twice. From the machine when absent. */
  readonly randomHex?: ((bytes: number) => string) | undefined;
  /** Members of a new cluster; empty for a node that joins one. Ignored when the log knows better. */
  readonly initial: Membership;
  /** Settings of a new cluster, if they are not the default ones. Ignored by a cluster that was born. */
  readonly initialSettings?: Settings | undefined;
  /** Whether this node is started as a witness; undefined: as what its directory is, or else with a database. */
  readonly witness?: boolean | undefined;
  /** What this node is told to join now, and who the members are by the word of one of them. */
  readonly join?: JoinPorts | undefined;
  /** Members to talk to before the log names any, beside those. */
  readonly contacts: Membership;
  /** `host:port` of this node, for others. */
  readonly address: string;
  /** Where this node is, if it knows better than the log. */
  readonly own?: OwnAddress | undefined;
  /** Addresses of nodes one of which this node follows, outside the membership. Empty for a member. */
  readonly follow: readonly string[];
  /** Tables whose rows this node keeps; all when undefined. Only of a node that follows. */
  readonly tables?: readonly string[] | undefined;
  /** Where members are now, for those that are not where the log says. */
  readonly addressById: ReadonlyMap<NodeId, string>;
  /** Entries are applied only so long after the leader committed them. Undefined: at once. */
  readonly applyDelayMs?: number | undefined;
  readonly logRetentionBytes: number;
  readonly syncBytesPerSecond: number;
  /** Makes the links to the other nodes. */
  openLinks(events: LinkEvents, instance: string): Links;
  readonly forwarder: Forwarding;
  onEvent(line: string): void;
  /** The node cannot go on. The process should end. */
  onFatal(error: Error): void;
};

export type JoinPorts = {
  readonly told: Joining | undefined;
  membersBy(at: string): Promise<Membership>;
};

/** What a data directory holds, opened. */
export type Opened = {
  readonly identity: Identity;
  readonly log: LogStore;
  readonly database: Database;
  /** Where applying goes on. */
  readonly applied: EntryId;
  readonly discarded: DiscardedStore;
  /** The entry that a delayed node is held at. */
  readonly held: EntryId | undefined;
  randomHex(bytes: number): string;
  /** Lets another process have the directory. */
  unlock(): void;
};

/**
 * Opens the data directory and puts the node together. It does nothing by itself until `begin`.
 *
 * Throws ClientError for a directory that is in use or another node's, CorruptionError for a damaged log.
 */
export async function openNode(given: OpenOptions): Promise<RunningNode> {
  const { disk, dir, self, driver } = given;
  await disk.makeDirectory(dir);
  const unlock = driver.lock(dir);
  try {
    const randomHex = given.randomHex ?? machineHex;
    const claim = { id: self, witness: given.witness, joining: given.join?.told };
    const identity = await Identity.open(disk, dir, claim, randomHex);
    const options = await withContacts(given, identity);
    const initial = { lsn: 0 as Lsn, term: 0 as Term, chain: zeroChain };
    const base = { ...initial, membership: options.initial, settings: defaultSettings };
    const log = await LogStore.open(disk, `${dir}/log`, base, { onRecovered: options.onEvent });
    const held = await readHold(disk, dir);
    refuseContradictions(options, log, held);
    let running: RunningNode | undefined;
    const database = new Database({
      ...{ dir, driver, tables: options.tables, onEvent: options.onEvent },
      ownPages: (id) => running?.parts.writes.ownPages.of(id),
      onState: () => running?.onDatabaseState(),
      onForeignWrite: (error) =>
        running === undefined ? options.onFatal(error) : running.onFailed(error),
    });
    const others = await otherTables(options);
    const plan = await readInstallRecord(disk, dir);
    await database.open(async (position) =>
      plan !== undefined && isSame(plan.position, position)
        ? parseHash(plan.checksum)
        : expectedChecksum(options, log, position),
    );
    if (plan !== undefined) await finishInstall(options, plan, { log, database, identity });
    const rewind = await rewindRecord.read(disk, dir);
    const applied = identity.witness ? log.base : appliedAtStart(log, database, rewind);
    if (others !== undefined) database.markDamaged(others);
    if (database.damage === undefined) await rewindRecord.remove(disk, dir);
    const discarded = await DiscardedStore.open(disk, dir, options.onEvent);
    const opened = { identity, log, database, applied, discarded, held, randomHex, unlock };
    running = assemble(options, opened);
    return running;
  } catch (error) {
    unlock();
    throw error;
  }
}

/**
 * A node that joins asks who is there. It goes on with that after a restart without a word about it: by then it is
 * durable that it was told so, whereas nothing else of it may be.
 */
async function withContacts(
  options: OpenOptions,
  { joining, clusterId }: Identity,
): Promise<OpenOptions> {
  const { join, dir, self, initial } = options;
  const at = join?.told?.at ?? joining?.at;
  if (join === undefined || at === undefined) return options;
  const isResumed = join.told === undefined;
  const other = initial.find((member) => member.id !== self);
  if (isResumed && other !== undefined) {
    throw new ClientError(
      "BAD_REQUEST",
      `${dir} was told to join a cluster by ${at} and has nothing of it yet; the list of members that begins a new ` +
        `cluster, with ${other.id}, would make it another one. Go on with --join ${at} or another member of that ` +
        "cluster, or give --dir an empty directory",
    );
  }
  if (isResumed) {
    options.onEvent(`goes on joining by ${at}, as it was told before; --join names another member`);
  }
  const members = await join.membersBy(at).catch((error: unknown) => {
    // What it has of the cluster says who the others are; the node that it once joined by may be gone.
    if (clusterId === undefined) throw error;
    options.onEvent(`--join: ${messageOf(error)}; goes on with the members that it knows`);
    return [];
  });
  return { ...options, initial: [], contacts: [...options.contacts, ...members] };
}

/** A node that shows the past must not be one that may have to lead, and one that is held must not forget it. */
function refuseContradictions(
  { self, witness, applyDelayMs }: OpenOptions,
  log: LogStore,
  held: EntryId | undefined,
): void {
  if (applyDelayMs === undefined) {
    if (held === undefined) return;
    throw new ClientError(
      "NOT_DELAYED",
      `${self} is held at ${formatPosition(held)} by paceline roll-forward; without a delay it would apply ` +
        "everything now. Start it with --apply-delay as before, then: paceline roll-forward --resume",
    );
  }
  const membership = log.memberships().at(-1)?.membership ?? log.base.membership;
  const kind = membership.find((member) => member.id === self)?.kind;
  const refused = witness === true ? "witness" : kind;
  if (refused !== undefined && refused !== "learner") throw cannotBeDelayed(self, refused);
}

/**
 * Why the copy here is not one of the tables that are wanted; undefined when it is, or becomes one by itself: a copy of
 * all of them loses the rows of the others with the next entry.
 */
async function otherTables({
  disk,
  dir,
  driver,
  tables,
}: OpenOptions): Promise<string | undefined> {
  const kept = await readKeptTables(disk, dir);
  if (areSameTables(kept, tables)) return undefined;
  if (kept === undefined || !driver.exists(dir)) {
    await writeKeptTables(disk, dir, tables);
    return undefined;
  }
  const wanted = tables === undefined ? "all" : tables.join(", ");
  return `it has the rows of ${kept.join(", ")}, and is started for ${wanted}`;
}

const machineHex = (bytes: number) => randomBytes(bytes).toString("hex");

/** The checksum recorded for the entry at `position`, by the log or beside it; undefined when neither reaches back. */
async function expectedChecksum(
  { disk, dir }: OpenOptions,
  log: LogStore,
  position: EntryId,
): Promise<Hash64 | undefined> {
  if (position.lsn === 0) return birthChecksum(log);
  const isInLog = position.lsn > log.base.lsn && log.termAt(position.lsn) === position.term;
  if (!isInLog) return readKnownChecksum(disk, dir, position);
  const to = (position.lsn + 1) as Lsn;
  const entry = (await log.read(position.lsn, to, 1))[0];
  if (entry?.kind !== "payload") return undefined;
  const pages = pagesSection(entry.body);
  return pages === undefined ? undefined : pagesHeader(pages).checksumAfter;
}

/** The checksum that the database was born with; undefined when the log does not reach back. */
async function birthChecksum(log: LogStore): Promise<Hash64 | undefined> {
  for (let at = log.firstLsn; at <= log.last.lsn; at = (at + 1) as Lsn) {
    const entry = (await log.read(at, (at + 1) as Lsn, 1))[0];
    if (entry === undefined || entry.kind === "payload") return undefined;
    if (entry.kind === "genesis") return imageChecksum(decodeGenesis(entry.body).image);
  }
  return undefined;
}

/**
 * Completes a page sync that had changed the database when the last run ended [install-record.ts]. It had if the
 * database is where the image is; pages that rotted since make it a damaged one, and do not undo that.
 */
async function finishInstall(
  { disk, dir, onEvent }: OpenOptions,
  { clusterId, snapshot, position, checksum }: InstallRecord,
  { log, database, identity }: Pick<Opened, "log" | "database" | "identity">,
): Promise<void> {
  const { served } = database;
  if (served !== undefined && isSame(served.position(), position)) {
    if (clusterId !== "") await identity.adopt(clusterId);
    await writeKnownChecksum(disk, dir, position, parseHash(checksum));
    // Only a log that ends before the image is replaced: one that goes on from it may have been counted on. So is one
    // that had been told to let go of other entries there.
    const isLost = (await rewindRecord.read(disk, dir)) !== undefined;
    const isOther = isLost && log.termAt(snapshot.lsn) !== snapshot.term;
    if (log.last.lsn < snapshot.lsn || isOther) await log.reset(snapshot);
    onEvent(`finished the page sync that the last run began, at LSN ${snapshot.lsn}`);
  }
  await removeInstallRecord(disk, dir);
}

function isSame(a: EntryId, b: EntryId): boolean {
  return a.lsn === b.lsn && a.term === b.term;
}

/** Where applying goes on: at the database's own position, or at the base of the log if that is later. */
function appliedAtStart(
  log: LogStore,
  database: Database,
  rewind: RewindRecord | undefined,
): EntryId {
  const position = database.served?.position() ?? { lsn: 0 as Lsn, term: 0 as Term };
  const isHere = position.lsn <= log.base.lsn || log.termAt(position.lsn) === position.term;
  if (!isHere && (rewind !== undefined || position.lsn <= log.last.lsn)) {
    database.markDamaged(rewind?.why ?? `${formatPosition(position)} is not in the log`);
    const { base, last } = log;
    const lsn = Math.max(base.lsn, Math.min((rewind?.from ?? 0) - 1, last.lsn)) as Lsn;
    return { lsn, term: log.termAt(lsn)! };
  }
  if (position.lsn > log.last.lsn) {
    throw new ClientError(
      "STORAGE",
      `the database is at LSN ${position.lsn}, but the log ends at ${log.last.lsn}: the log was lost. ` +
        "Move the data directory aside and start the node with an empty one",
    );
  }
  // A database that page sync put in place has the position of its last change, which may be before the base.
  const { base } = log;
  if (database.served !== undefined && base.lsn > position.lsn) {
    return { lsn: base.lsn, term: base.term };
  }
  return position;
}
