/**
 * The wiring of a node: makes the pieces and tells each of them what the others are. No decision and no state of its
 * own; read it to see who knows whom.
 */

import { Prng } from "../base/prng.ts";
import { limits } from "../limits.ts";
import type { LogStore } from "../log/log-store.ts";
import { Raft } from "../raft/raft.ts";
import type { Entry, Lsn, NodeId } from "../vocabulary.ts";
import { Applying } from "./applying.ts";
import { canSelectTables } from "./database.ts";
import { plantDelay } from "./delay/plant.ts";
import { Keeping } from "./discarded/keeping.ts";
import type { Links } from "./driver.ts";
import { HandOver } from "./lead/hand-over.ts";
import { Promotion } from "./lead/promotion.ts";
import { Members } from "./members.ts";
import { Node } from "./node.ts";
import type { Opened, OpenOptions } from "./open.ts";
import { Outbox } from "./outbox.ts";
import { writeKnownChecksum } from "./page-sync/known-checksum.ts";
import { LogStart } from "./page-sync/log-start.ts";
import { PageSyncing } from "./page-sync/page-syncing.ts";
import { Lag } from "./report/lag.ts";
import { StatusReport } from "./report/status-report.ts";
import { onLinkLost, onMessage } from "./route/incoming.ts";
import { Moves } from "./route/moves.ts";
import { Neighbours } from "./route/neighbours.ts";
import { Reads } from "./route/reads.ts";
import { Routing } from "./route/routing.ts";
import { Copies } from "./rule/copies.ts";
import { SettingsChange } from "./rule/settings-change.ts";
import { type NodeParts, RunningNode } from "./running-node.ts";
import { plantTree } from "./tree/plant.ts";
import type { Relay } from "./tree/relay.ts";
import type { Tree } from "./tree/tree.ts";
import { Upkeep } from "./upkeep.ts";
import { Waiters } from "./waiters.ts";
import { recordingBy } from "./write/recording.ts";
import { Writes } from "./write/writes.ts";

/** Gives the node once it is put together; the pieces call it only later. */
type Whole = () => RunningNode;

type Consensus = Pick<NodeParts, "node" | "links" | "lag" | "neighbours" | "moves" | "tree"> & {
  readonly raft: Raft;
};

export function assemble(options: OpenOptions, opened: Opened): RunningNode {
  const { self, dir, clock, forwarder, onEvent, onFatal } = options;
  const { log, identity, database, discarded, randomHex, unlock } = opened;
  const whole: Whole = () => running;
  const consensus = assembleConsensus(options, opened, whole);
  const { node, links, lag, neighbours, moves, raft, tree } = consensus;
  const applied = new Waiters(clock, opened.applied.lsn);
  const applying = new Applying(log, opened.applied, {
    passesOver: () => identity.witness && identity.clusterId !== undefined,
    change: (entry) => running.onChange(entry),
    applied: (id) => running.onApplied(id),
    damaged: (why) => running.onDamaged(why),
    failed: (error) => running.onFailed(error),
  });
  const delayed = plantDelay(options, opened, {
    ...{ applying, applied, node, lag },
    failed: (error) => running.onFailed(error),
  });
  const writes = assembleWrites(options, opened, consensus, whole);
  const reads = assembleReads(options, opened, consensus, { applied, applying });
  const leadership = () => node.leadership;
  const routing = new Routing({
    ...{ self, clock, reads, writes, forwarder, leadership, witness: identity.witness },
    delayed: delayed !== undefined,
    settings: () => node.settings,
    randomHex: opened.randomHex,
    addressOf: (id) => addressOf(consensus, id),
    isUp: (id) => links.isUp(id),
  });
  const { driver } = options;
  const kept = {
    self,
    dir,
    clock,
    driver,
    node,
    log,
    links,
    identity,
    database,
    applying,
    applied,
    delayed,
    lag,
    discarded,
  };
  const settings = new SettingsChange({
    ...{ clock, writes, onEvent },
    status: () => node.status(),
    changeSettings: (wanted) => node.changeSettings(wanted),
    isUp: (id) => links.isUp(id),
  });
  const copies = new Copies({
    ...{ clock, onEvent },
    status: () => node.status(),
    rule: () => node.commitRule,
    appliedLsn: () => applied.reached,
    askApplied: (to, lsn) => void links.send(to, { note: "tellApplied", lsn }, []),
  });
  const running: RunningNode = new RunningNode({
    ...kept,
    ...{ settings, copies, initialSettings: options.initialSettings, tables: options.tables },
    ...{ neighbours, moves, tree, writes, reads, routing, forwarder },
    ...assembleCare(options, { ...kept, raft, writes, tree }, whole),
    ...{ randomHex, onEvent, onFatal, unlock },
  });
  running.parts.report.remember(opened.applied.lsn);
  lag.applied(opened.applied.lsn);
  neighbours.update();
  return running;
}

/** The core, its loop, and the way of messages in and out. */
function assembleConsensus(
  options: OpenOptions,
  { log, identity, applied }: Opened,
  whole: Whole,
): Consensus {
  const { self, clock, onEvent, forwarder } = options;
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
    settings: log.settings(),
    committedLsn: applied.lsn,
  });
  const lag = new Lag(clock);
  const neighbours = new Neighbours({
    ...{ self, contacts: options.contacts },
    membership: () => node.status().membership,
    movedTo: (id) => moves.addressOf(id),
    hasLeader: () => raft.status().leader !== undefined,
    setPeers: (peers) => links.setPeers(peers),
  });
  const moves = new Moves({
    ...{ self, clock, onEvent, own: options.own },
    membership: () => node.status().membership,
    isLeading: () => node.leadership.leading,
    isUp: (id) => links.isUp(id),
    send: (to, note) => void links.send(to, note, []),
    redial: () => neighbours.update(),
    change: (id, address) => whole().parts.members.moved(id, address),
  });
  const real = options.openLinks(
    {
      clusterId: () => identity.clusterId,
      admits: (id) => tree.admits(id) ?? neighbours.admits(id),
      onMessage: (from, envelope, entries) => onMessage(incoming, from, envelope, entries),
      onLinkLost: (id) => onLinkLost(incoming, id),
      onEntriesLost: (id) => {
        node.entriesLost(id);
        tree.relay.entriesLost(id);
      },
      onSyncRequest: (from, channel) => whole().parts.pageSyncing.send(from, channel),
    },
    identity.instance,
  );
  const tree = plantTree(
    options,
    { log, identity },
    { links: real, lag, node: () => node, failed: (error) => whole().onFailed(error) },
  );
  const { links } = tree;
  const send = (envelope: { readonly to: NodeId }, entries: readonly Entry[]) => {
    const isSent = links.send(envelope.to, envelope, entries);
    if (!isSent && entries.length > 0) node.entriesLost(envelope.to);
  };
  const node = new Node({
    ...{
      raft,
      log,
      clock,
      outbox: new Outbox(log, send, {
        onProblem: onEvent,
        failed: (error) => whole().onFailed(error),
      }),
    },
    addressById: options.addressById,
    events: {
      committed: (lsn) => whole().onCommitted(lsn),
      leadership: (now) => whole().onLeadership(now),
      pageSyncWanted: (by) => whole().onPageSyncWanted(by),
      stepped: () => whole().parts.copies.check(),
      keepWanted: (from) => whole().onKeepWanted(from),
      failed: (error) => whole().onFailed(error),
    },
  });
  const incoming = {
    ...{ self, node, tree, lag, moves, forwarder, whole },
    addressOf: (id: NodeId) => addressOf({ node, tree, moves }, id),
    termAt: (at: Lsn) => log.termAt(at),
  };
  return { raft, node, links, lag, neighbours, moves, tree };
}

function assembleWrites(
  { self, clock, driver, onEvent }: OpenOptions,
  { database, randomHex }: Opened,
  { node }: Consensus,
  whole: Whole,
): Writes {
  return new Writes({
    ...{ self, clock, randomHex, onEvent },
    propose: (body) => node.propose("payload", body),
    last: () => node.last,
    drained: () => whole().drained(),
    makeScratch: () => {
      database.dropReplaying();
      const served = database.whole;
      return served?.makeScratch() ?? Promise.reject(new Error("the database is being repaired"));
    },
    hashes: () => {
      const served = database.whole!;
      return {
        pageCount: served.pageCount,
        checksum: () => served.checksum(),
        hashOf: (pgno) => served.table.hashOf(pgno),
      };
    },
    patienceMs: () => {
      const { whenCopiesMissing, copiesTimeoutMs } = node.settings;
      return whenCopiesMissing === "fail" ? copiesTimeoutMs : limits.requestWaitMs;
    },
    rule: () => node.commitRule,
    reached: (id, ack, sinceMs) => whole().parts.copies.reached(id, ack, sinceMs),
    spawnWriter: () => driver.spawnWriter(),
    recording: () => recordingBy(node.status().settings),
    confirmLead: (term) => whole().confirmLead(term),
    diskFailed: () => whole().onDiskFailed(),
    failed: (error) => whole().onFailed(error),
  });
}

function assembleReads(
  { clock }: OpenOptions,
  { database }: Opened,
  { node, lag }: Consensus,
  { applied, applying }: { applied: Waiters; applying: Applying },
): Reads {
  return new Reads({
    ...{ clock, applied },
    pool: () => database.pool,
    lagMs: () => lag.lagMs(node.leadership.leading),
    hasLease: () => node.hasLease(),
    readIndex: () => node.readIndex(),
    committedLsn: () => node.status().committedLsn,
    appliedId: () => applying.applied,
  });
}

type Cared = Pick<
  NodeParts,
  | "node"
  | "log"
  | "links"
  | "identity"
  | "database"
  | "applying"
  | "applied"
  | "delayed"
  | "lag"
  | "writes"
  | "discarded"
> & { readonly raft: Raft; readonly tree: Tree };

/** What looks after members, space, pages and the report. */
function assembleCare(
  options: OpenOptions,
  parts: Cared,
  whole: Whole,
): Pick<
  NodeParts,
  | "members"
  | "handOver"
  | "promotion"
  | "upkeep"
  | "pageSyncing"
  | "logStart"
  | "keeping"
  | "report"
> {
  const { self, dir, disk, driver, clock, forwarder, onEvent } = options;
  const { node, log, links, identity, database, applying, applied, lag, writes, raft, tree } =
    parts;
  const members = new Members({
    ...{ clock, writes, onEvent },
    status: () => node.status(),
    changeMembership: (change) => node.changeMembership(change),
    isUp: (id) => links.isUp(id),
  });
  const upkeep = new Upkeep({
    ...{ log, onEvent, logRetentionBytes: options.logRetentionBytes },
    witness: identity.witness,
    // What may have to be kept for people stays in the log until a majority has it.
    committedLsn: () => Math.min(node.status().committedLsn, node.status().safeLsn) as Lsn,
    served: () => database.whole,
    neededFrom: () => neededFrom(raft, links, log, tree.relay),
    keepChecksum: (position, checksum) => writeKnownChecksum(disk, dir, position, checksum),
    logStartsAt: (base) => node.logStartsAt(base),
    pauseViews: (ms) => whole().parts.reads.pauseTransactions(ms),
    failed: (error) => whole().onFailed(error),
  });
  const pageSyncing = new PageSyncing({
    ...{ dir, disk, driver, clock, log, node, identity, database, applying, onEvent },
    tables: options.tables,
    mayReceive: () =>
      options.tables === undefined || canSelectTables(node.status().settings.logKind),
    beforeInstall: (snapshot) => keeping.beforeInstall(snapshot),
    bytesPerSecond: options.syncBytesPerSecond,
    openSync: (to) => links.openSync(to),
    ended: (leader, image) => whole().onPageSyncEnded(leader, image),
    installed: ({ snapshot }) => {
      whole().onInstalled(snapshot);
      parts.delayed?.roll.jumpedTo(snapshot).catch((error) => whole().onFailed(error));
    },
    failed: (error) => whole().onFailed(error),
  });
  const report = new StatusReport({
    ...{ self, clock, log, database, identity, forwarder, tree, address: options.address },
    tables: options.tables,
    raft: () => node.status(),
    applied: () => applying.applied,
    lagMs: () => lag.lagMs(node.leadership.leading),
    lagEntries: () => lag.lagEntries(node.leadership.leading),
    takesWrites: () => writes.ready,
    inSync: () => [...whole().parts.copies.inSync],
    delay: parts.delayed?.delay,
    discarded: () => parts.discarded.list().length,
    content: (at) => driver.contentOf(dir, at),
    reached: (lsn) => applied.wait(lsn, verifyWaitMs),
    urlOf: (address) => `http://${address}`,
  });
  const logStart = new LogStart({
    ...{ identity, node, log, applying },
    beforeInstall: (snapshot) => keeping.beforeInstall(snapshot),
    begun: (leader, snapshot) => whole().onLogBegun(leader, snapshot),
    failed: (error) => whole().onFailed(error),
  });
  const keeping = new Keeping({
    ...{ self, dir, disk, clock, log, node, identity, database, applying, onEvent },
    discarded: parts.discarded,
    rewound: (from) => whole().onRewound(from),
    failed: (error) => whole().onFailed(error),
  });
  const handOver = new HandOver({ self, clock, node, links, writes, database, onEvent });
  const promotion = new Promotion({
    ...{ self, clock, node, onEvent },
    ask: (member) => forwarder.status(member.address, limits.forwardConnectMs),
    askSwitchover: async (leader) => {
      const body = JSON.stringify({ to: self });
      const request = { method: "POST", path: "/admin/switchover", body } as const;
      await forwarder.ask(leader.address, request, limits.requestWaitMs);
    },
  });
  return { members, handOver, promotion, upkeep, pageSyncing, logStart, keeping, report };
}

/** How long a comparison of checksums waits until this node is where the other one was. */
const verifyWaitMs = 3_000;

/** Below the top of a tree there is one way: up. */
function addressOf(
  { node, tree, moves }: Pick<Consensus, "node" | "tree" | "moves">,
  id: NodeId,
): string | undefined {
  if (tree.upstream !== undefined) return tree.upstream.current?.address;
  return moves.addressOf(id) ?? node.status().membership.find((m) => m.id === id)?.address;
}

/** What the slowest reachable member still lacks. */
function neededFrom(raft: Raft, links: Links, log: LogStore, relay: Relay): Lsn {
  const { progress } = raft.status();
  const behind = progress.filter((p) => links.isUp(p.id)).map((p) => p.matchLsn);
  return Math.min(log.last.lsn, relay.neededFrom() ?? log.last.lsn, ...behind) as Lsn;
}
