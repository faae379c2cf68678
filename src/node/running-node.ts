/**
 * A node, put together: consensus, log, database, links and SQL processes, and what each must tell the others. It
 * decides nothing itself; each question has its own file.
 *
 *   who leads, what is committed   node.ts            where a request runs        routing.ts
 *   what is applied                applying.ts        writing, on the leader      write/
 *   database whole or damaged      database.ts        reading                     reads.ts
 *   pages instead of log           page-syncing.ts    members, space              members.ts, upkeep.ts
 *   how it is                      status-report.ts   how it begins               open.ts
 *   giving the lead away           lead/hand-over.ts  being given it by hand     lead/promotion.ts
 *
 * A witness is the same node without a database: no readers, no writer, no page sync; entries are only kept.
 */

import { ClientError, messageOf } from "../base/errors.ts";
import { formatHash } from "../base/hash.ts";
import type { Clock } from "../host/clock.ts";
import { limits } from "../limits.ts";
import type { LogStore } from "../log/log-store.ts";
import { decodeGenesis, encodeGenesis } from "../payload/genesis.ts";
import { isCaretaker } from "../raft/rule/priority.ts";
import type { ImageId } from "../sync/ports.ts";
import {
  type Entry,
  type EntryId,
  formatPosition,
  type Lsn,
  type Membership,
  type NodeId,
  newClusterSettings,
  type Settings,
  type SnapshotId,
  type Term,
} from "../vocabulary.ts";
import type { Applying } from "./applying.ts";
import type { Database } from "./database.ts";
import { cannotBeDelayed, type Delay } from "./delay/delay.ts";
import type { RollForward } from "./delay/roll-forward.ts";
import type { DiscardedStore } from "./discarded/discarded-store.ts";
import type { Keeping } from "./discarded/keeping.ts";
import type { DatabaseDriver, Links } from "./driver.ts";
import type { Identity } from "./identity.ts";
import type { HandOver } from "./lead/hand-over.ts";
import type { Promotion } from "./lead/promotion.ts";
import type { Members } from "./members.ts";
import type { Leadership, Node } from "./node.ts";
import { logBeginsNote, membersNote, type Note } from "./notes.ts";
import type { LogStart } from "./page-sync/log-start.ts";
import type { PageSyncing } from "./page-sync/page-syncing.ts";
import type { Lag } from "./report/lag.ts";
import type { StatusReport } from "./report/status-report.ts";
import type { Moves } from "./route/moves.ts";
import type { Neighbours } from "./route/neighbours.ts";
import type { Reads } from "./route/reads.ts";
import type { Forwarding, Routing } from "./route/routing.ts";
import type { Copies } from "./rule/copies.ts";
import type { SettingsChange } from "./rule/settings-change.ts";
import type { Tree } from "./tree/tree.ts";
import { upstreamTickMs } from "./tree/upstream.ts";
import type { Upkeep } from "./upkeep.ts";
import type { Waiters } from "./waiters.ts";
import type { Writes } from "./write/writes.ts";

/** Everything a running node consists of. */
export type NodeParts = {
  readonly self: NodeId;
  readonly dir: string;
  /** Tables whose rows this node keeps; all when undefined. */
  readonly tables: readonly string[] | undefined;
  readonly clock: Clock;
  readonly driver: DatabaseDriver;
  readonly node: Node;
  readonly log: LogStore;
  readonly links: Links;
  readonly neighbours: Neighbours;
  readonly moves: Moves;
  readonly tree: Tree;
  readonly identity: Identity;
  readonly database: Database;
  readonly applying: Applying;
  readonly applied: Waiters;
  /** On a node that stays behind by intention. */
  readonly delayed: { readonly delay: Delay; readonly roll: RollForward } | undefined;
  readonly lag: Lag;
  readonly writes: Writes;
  readonly reads: Reads;
  readonly routing: Routing;
  readonly forwarder: Forwarding;
  readonly members: Members;
  readonly handOver: HandOver;
  readonly promotion: Promotion;
  readonly settings: SettingsChange;
  readonly copies: Copies;
  /** What a new cluster begins with, if not with the defaults. */
  readonly initialSettings: Settings | undefined;
  readonly upkeep: Upkeep;
  readonly pageSyncing: PageSyncing;
  readonly logStart: LogStart;
  readonly discarded: DiscardedStore;
  readonly keeping: Keeping;
  readonly report: StatusReport;
  randomHex(bytes: number): string;
  onEvent(line: string): void;
  onFatal(error: Error): void;
  /** Lets another process have the directory. */
  unlock(): void;
};

export class RunningNode {
  readonly parts: NodeParts;
  readonly #cancels: (() => void)[] = [];
  /** Term in which this leader has proposed the genesis entry. */
  #genesisTerm: Term | undefined;
  /** As last looked at. */
  #membership: Membership | undefined;
  /** That pages are not copied to a node that is held has been told. */
  #toldHeld = false;
  #stopped = false;
  #hasFailed = false;

  constructor(parts: NodeParts) {
    this.parts = parts;
  }

  /** Sets the timers going. */
  begin(): void {
    const { clock, node, tree, upkeep, members, writes, copies, database, identity } = this.parts;
    node.setElectable(database.damage === undefined && this.parts.delayed === undefined);
    this.#cancels.push(
      clock.every(limits.tickMs, () => this.#guard(() => node.tick())),
      clock.every(limits.heartbeatMs, () => this.#guard(() => tree.tick())),
      clock.every(upstreamTickMs, () => this.#guard(() => tree.upstream?.tick())),
      clock.every(100, () => this.#guard(() => writes.tick(clock.nowMs()))),
      clock.every(100, () => this.#guard(() => copies.tick())),
      clock.every(250, () => this.#guard(() => void upkeep.round())),
      clock.every(500, () => this.#guard(() => members.tick())),
      clock.every(1_000, () => this.#guard(() => this.#leadWell())),
    );
    clock.after(1_500, () => {
      if (!this.#stopped && !identity.witness && tree.upstream === undefined) writes.warmUp();
    });
    this.#checkKind();
    if (database.damage !== undefined) this.onDatabaseState();
  }

  /** A leader whose database is damaged or absent goes on offering the lead; the silent are told who leads. */
  #leadWell(): void {
    const { node, database, links, self, handOver, moves } = this.parts;
    moves.tick();
    if (!node.leadership.leading) return;
    if (database.damage !== undefined || this.#isCaretaker()) handOver.offer();
    else void handOver.prefer();
    const { membership, progress } = node.status();
    for (const { id } of membership) {
      if (id !== self && !links.isUp(id)) links.send(id, membersNote(membership), []);
    }
    // The note may have been lost; whoever is at it already does not mind.
    this.onPageSyncWanted(progress.filter((p) => p.mode === "snapshot").map((p) => p.id));
  }

  onCommitted(lsn: Lsn): void {
    const { applying, delayed, tree } = this.parts;
    if (delayed === undefined) applying.applyTo(lsn);
    else delayed.delay.onCommitted(lsn);
    tree.relay.onCommitted();
    this.#takeLead();
    this.#checkKind();
  }

  /**
   * What the cluster takes this node for must be what its directory is. A witness learns of members only here, and a
   * delayed node learns of them before it applies them.
   */
  #checkKind(): void {
    const { node, identity, neighbours, delayed, self } = this.parts;
    const { membership } = node.status();
    if (membership === this.#membership) return;
    this.#membership = membership;
    if (identity.witness || delayed !== undefined) neighbours.update();
    const kind = membership.find((member) => member.id === self)?.kind;
    if (delayed !== undefined && kind !== undefined && kind !== "learner") {
      this.onFailed(cannotBeDelayed(self, kind));
      return;
    }
    if (kind === undefined || (kind === "witness") === identity.witness) return;
    const is = identity.witness ? "a witness, without a database" : "a node with a database";
    this.onFailed(
      new ClientError(
        "MEMBERSHIP_REFUSED",
        `${self} is a ${kind} for the cluster, but its directory is that of ${is}; remove it from ` +
          "the cluster, and let it join again with an empty --dir and the --kind it shall have",
      ),
    );
  }

  onLeadership(now: Leadership): void {
    const { writes, routing, onEvent, self } = this.parts;
    const who = now.leader === undefined ? "nobody leads" : `${now.leader} leads`;
    onEvent(`term ${now.term}: ${now.leading ? `${self} (this node) leads` : who}`);
    this.parts.handOver.onLeadership();
    if (!now.leading) writes.stepDown();
    else this.#takeLead();
    this.onDatabaseState();
    if (now.leader !== undefined) routing.leaderKnown();
  }

  async onChange(entry: Entry): Promise<void> {
    const { database, identity, neighbours } = this.parts;
    // First the name, then the database: whoever has a database that is repaired later never sees this entry again.
    if (entry.kind === "genesis") await identity.adopt(decodeGenesis(entry.body).clusterId);
    if (!identity.witness) await database.change(entry);
    if (entry.kind === "membership") neighbours.update();
    if (entry.kind === "settings") this.parts.writes.recordingChanged();
  }

  onApplied(id: EntryId): void {
    const { applied, writes, report, lag } = this.parts;
    report.remember(id.lsn);
    lag.applied(id.lsn);
    applied.reach(id.lsn);
    writes.applied(id);
    if (!writes.ready) this.#takeLead();
  }

  onDamaged(why: string): void {
    this.parts.database.markDamaged(why);
  }

  /** Damaged or whole: whether this node may lead, and whether it needs pages. */
  onDatabaseState(): void {
    const { database, node, pageSyncing } = this.parts;
    if (database.damage === undefined || this.#stopped) return;
    node.setElectable(false);
    if (node.leadership.leading) this.parts.handOver.offer();
    else pageSyncing.receive(undefined);
  }

  /** The writer cannot write here: another node leads, and this one does not stand again for a while. */
  onDiskFailed(): void {
    const { node, clock, database } = this.parts;
    node.setElectable(false);
    this.parts.handOver.offer();
    clock.after(diskPauseMs, () => {
      if (!this.#stopped && database.damage === undefined) node.setElectable(true);
    });
  }

  onNote(from: NodeId, note: Note): void {
    const { node, neighbours, pageSyncing, logStart, identity, handOver, copies } = this.parts;
    if (note.note === "pageSyncWanted") {
      if (this.#isHeld()) return;
      if (!identity.witness) pageSyncing.receive(note.clusterId);
    } else if (note.note === "prepareLead") {
      void handOver.prepare(from);
    } else if (note.note === "leadPrepared") {
      handOver.prepared(from);
    } else if (note.note === "logBegins") {
      if (identity.witness) logStart.take(from, note.clusterId, note.snapshot);
    } else if (note.note === "members") neighbours.learn(note.members);
    else if (note.note === "tellApplied") this.#tellApplied(from, note.lsn);
    else if (note.note === "applied") copies.appliedBy(from, note.lsn);
    else if (note.note === "pageSyncEnded") node.pageSyncEnded(from, note.lsn);
  }

  /** What an operator is looking at is not overwritten. */
  #isHeld(): boolean {
    const { delayed, database, onEvent } = this.parts;
    const held = delayed?.delay.held;
    if (held === undefined || database.damage !== undefined) return false;
    if (!this.#toldHeld) {
      onEvent(
        `the log of the cluster no longer reaches back to this node, which is held at ${formatPosition(held)}; ` +
          "it copies pages, and is as new as the leader then, once it is told to resume",
      );
    }
    this.#toldHeld = true;
    return true;
  }

  #tellApplied(leader: NodeId, lsn: Lsn): void {
    const { applied, links } = this.parts;
    applied.wait(lsn, limits.requestWaitMs).then(
      () => links.send(leader, { note: "applied", lsn: applied.reached }, []),
      () => {},
    );
  }

  onPageSyncWanted(by: readonly NodeId[]): void {
    const { identity, links, node, log } = this.parts;
    // A witness has no pages to give: whoever needs them waits for a data node to lead.
    if (identity.witness) return;
    const clusterId = identity.clusterId ?? "";
    const { membership } = node.status();
    for (const id of by) {
      const isWitness = membership.find((member) => member.id === id)?.kind === "witness";
      const note = isWitness
        ? logBeginsNote(clusterId, log.base)
        : { note: "pageSyncWanted", clusterId };
      links.send(id, note, []);
    }
  }

  onPageSyncEnded(leader: NodeId, image: ImageId | undefined): void {
    const note = { note: "pageSyncEnded", lsn: image?.snapshot.lsn ?? null };
    this.parts.links.send(leader, note, []);
  }

  onLogBegun(leader: NodeId, { lsn }: SnapshotId): void {
    this.parts.onEvent(`the log begins after LSN ${lsn}, as ${leader} says`);
    this.parts.links.send(leader, { note: "pageSyncEnded", lsn }, []);
    this.onInstalled({ lsn });
  }

  onKeepWanted(from: Lsn): void {
    this.parts.keeping.keep(from);
  }

  /** The cluster lost what was here from `from` on; other entries take these positions. */
  onRewound(from: Lsn): void {
    const { applied, delayed, reads, report, lag } = this.parts;
    applied.rewindTo(from);
    delayed?.roll.rewindTo(from).catch((error) => this.onFailed(error));
    reads.rewindTo(from);
    report.forgetFrom(from);
    lag.applied(applied.reached);
  }

  /** The log, and the database if there is one, are now at the snapshot. */
  onInstalled({ lsn }: Pick<SnapshotId, "lsn">): void {
    const { applied, delayed, writes, report, lag, neighbours } = this.parts;
    if (lsn < applied.reached) this.onRewound((lsn + 1) as Lsn);
    delayed?.delay.jumpedTo(lsn);
    neighbours.update();
    report.remember(lsn);
    lag.applied(lsn);
    writes.outcomes.jumpedTo(lsn);
    writes.ownPages.clear();
    applied.reach(lsn);
  }

  /** Something failed that a restart must repair: the disk, or our own code. */
  onFailed(error: Error): void {
    if (this.#stopped || this.#hasFailed) return;
    this.#hasFailed = true;
    // Nobody waits for a node that cannot go on: not the clients, not the other nodes.
    const { routing, writes, node, links, onFatal } = this.parts;
    routing.close();
    writes.close();
    node.stop();
    links.close();
    onFatal(error);
  }

  /** Resolves once everything in the log is applied. */
  async drained(): Promise<void> {
    const { applied, node } = this.parts;
    await applied.wait(node.last.lsn, limits.requestWaitMs);
  }

  /** Resolves if this node leads `term` at some moment after the call. Throws ClientError NOT_LEADER, NO_LEADER. */
  async confirmLead(term: Term): Promise<void> {
    const { node } = this.parts;
    // Consensus may know already that another leads, while the rest of this node waits for the disk. A read index is
    // then the other leader's, and proves nothing about this one.
    const status = node.status();
    if (status.role !== "leader" || status.term !== term) {
      throw new ClientError("NOT_LEADER", "the lead changed while the request was run; repeat it");
    }
    if (!node.hasLease()) await node.readIndex();
  }

  /** Hands the lead over if it is here, then closes everything. */
  async stop(closeApi: () => Promise<void>): Promise<void> {
    if (this.#stopped) return;
    const { node, writes, pageSyncing, applying, links, database, log, forwarder } = this.parts;
    if (node.leadership.leading && !this.#hasFailed) await this.parts.handOver.leave();
    await closeApi();
    this.#stopped = true;
    for (const cancel of this.#cancels) cancel();
    pageSyncing.close();
    writes.close();
    node.stop();
    links.close();
    this.parts.delayed?.delay.close();
    await applying.pause();
    await database.close();
    await log.close();
    await forwarder.close();
    this.parts.unlock();
  }

  metrics(): Record<string, number> {
    const { discarded, copies } = this.parts;
    const { node, log, applied, writes, routing, database, lag, pageSyncing, links, report } =
      this.parts;
    const status = node.status();
    const { leading } = node.leadership;
    return {
      term: status.term,
      leader: leading ? 1 : 0,
      safeLsn: status.safeLsn,
      inSync: copies.inSync.size,
      degradedTotal: copies.counters.degraded,
      ackTimeoutsTotal: copies.counters.ackTimeouts,
      degraded: status.degraded ? 1 : 0,
      discarded: discarded.list().length,
      voters: status.membership.filter((m) => m.kind !== "learner").length,
      members: status.membership.length,
      peersUp: status.membership.filter((m) => links.isUp(m.id)).length,
      durableLsn: log.last.lsn,
      committedLsn: status.committedLsn,
      appliedLsn: applied.reached,
      lagMs: lag.lagMs(leading) ?? -1,
      lagEntries: lag.lagEntries(leading) ?? -1,
      lagBytes: report.local().lagBytes ?? -1,
      applyDelayMs: this.parts.delayed?.delay.delayMs ?? 0,
      held: this.parts.delayed?.delay.held === undefined ? 0 : 1,
      logBytes: log.bytes,
      walFrames: database.served?.walFrames ?? 0,
      databasePages: database.served?.pageCount ?? 0,
      databaseDamaged: database.damage === undefined ? 0 : 1,
      writeQueueLength: writes.queued,
      uncommittedBytes: writes.outcomes.bytes,
      writeBatchesTotal: writes.counters.batches,
      writeUnitsTotal: writes.counters.units,
      entriesProposedTotal: writes.counters.entries,
      writerKillsTotal: writes.counters.writerKills,
      localReadsTotal: routing.counters.localReads,
      localWritesTotal: routing.counters.localWrites,
      forwardedTotal: routing.counters.forwarded,
      retriedTotal: routing.counters.retried,
      pageSyncReceivedBytesTotal: pageSyncing.bytesReceived,
      peerSentBytesTotal: links.sentBytes,
      children: this.parts.tree.relay.members().length,
    };
  }

  /**
   * Takes writes: they wait until an entry of our own term is committed and applied, because the writer begins with
   * what is applied. If there is no database, it is made first.
   */
  #takeLead(): void {
    const { node, database, writes, identity } = this.parts;
    if (this.#isCaretaker()) return writes.stepDown();
    const status = node.status();
    if (status.role !== "leader") return;
    const isDrained = status.committedInTerm && status.committedLsn === status.last.lsn;
    if (database.whole !== undefined && identity.clusterId !== undefined) {
      writes.lead(status.term);
    } else if (database.served === undefined && isDrained) {
      this.#proposeGenesis(status.term);
    }
  }

  #proposeGenesis(term: Term): void {
    const { node, dir, driver, applying, log, randomHex, initialSettings, onEvent } = this.parts;
    if (this.#genesisTerm === term || applying.applied.lsn !== node.last.lsn) return;
    if (log.base.lsn > 0) return;
    // Agreed on before there is anything that they are about.
    if (node.status().settingsLsn === 0) {
      node.changeSettings(initialSettings ?? newClusterSettings);
      return;
    }
    this.#genesisTerm = term;
    const clusterId = randomHex(12);
    const body = encodeGenesis({ clusterId, image: driver.genesisImage(dir) });
    const proposal = node.propose("genesis", body);
    if (proposal.accepted) onEvent(`a new cluster is born: ${clusterId}`);
  }

  /** Whether this node, if it leads, does so only to hand over [raft/leading.ts]. */
  #isCaretaker(): boolean {
    const { node, self, identity } = this.parts;
    const own = node.status().membership.find((member) => member.id === self);
    return identity.witness || isCaretaker(own);
  }

  /** Switchover on demand. Returns the node that leads then, or undefined. */
  switchover(to: NodeId | undefined): Promise<NodeId | undefined> {
    return this.parts.handOver.switchover(to);
  }

  checksum(): string | undefined {
    const served = this.parts.database.whole;
    return served === undefined ? undefined : formatHash(served.checksum());
  }

  #guard(work: () => void): void {
    try {
      if (!this.#stopped) work();
    } catch (error) {
      this.parts.onEvent(`timer failed: ${messageOf(error)}`);
      this.onFailed(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

/** How long a node whose disk refused the writer does not stand for election. */
const diskPauseMs = 10_000;
