/**
 * Who has which copy, on the leader: writes that wait for more copies than the commit rule asks for, which members are
 * in sync, and when copies go missing or come back.
 *
 * In sync is a member that was heard lately, is being streamed to, and has what was the end of the log a moment ago:
 * within reach of the commit rule, one fsync away from everything.
 *
 * Whoever waits for `applied` waits for word from the followers, which are asked for it: nobody else pays for it.
 */

import { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { RaftStatus } from "../../raft/raft.ts";
import {
  type CommitRule,
  type EntryId,
  formatPosition,
  type Lsn,
  type Member,
  type NodeId,
} from "../../vocabulary.ts";
import { type Ack, type AckLevel, stronger } from "./ack.ts";

export type CopyPorts = {
  readonly clock: Clock;
  status(): RaftStatus;
  /** The commit rule that is being followed: a weaker one than the settings have while degraded. */
  rule(): CommitRule;
  /** What this node shows to readers. */
  appliedLsn(): Lsn;
  /** Asks a node to say when it has applied `lsn`; the word comes to `appliedBy`. */
  askApplied(node: NodeId, lsn: Lsn): void;
  onEvent(line: string): void;
};

type Waiter = {
  readonly id: EntryId;
  readonly level: AckLevel;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
};

/** A member that lacks only what is younger than this is in sync. */
const inSyncMs = 1_000;
const sampleMs = 100;

export class Copies {
  readonly #ports: CopyPorts;
  readonly #waiting = new Set<Waiter>();
  readonly #appliedByNode = new Map<NodeId, Lsn>();
  /** Ends of the log, oldest first, of the last `inSyncMs`. */
  #ends: { readonly atMs: number; readonly lsn: Lsn }[] = [];
  #inSync: ReadonlySet<NodeId> = new Set();
  #wasDegraded = false;
  /** Counters, for metrics. */
  readonly counters = { degraded: 0, ackTimeouts: 0 };

  constructor(ports: CopyPorts) {
    this.#ports = ports;
  }

  get isWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** Members in sync, on the leader; elsewhere nobody knows. */
  get inSync(): ReadonlySet<NodeId> {
    return this.#inSync;
  }

  /**
   * For a write that is committed and applied here: resolves with what it has reached once that is what `ack` asks for.
   * When time is up: UNKNOWN_OUTCOME, or with less if settings say degrade.
   */
  async reached(id: EntryId, ack: Ack | undefined, sinceMs: number): Promise<AckLevel> {
    const rule = this.#ports.rule();
    if (ack === undefined || stronger(rule, ack.level) === rule) return rule;
    const { clock } = this.#ports;
    const { whenCopiesMissing, copiesTimeoutMs } = this.#ports.status().settings;
    const patienceMs = whenCopiesMissing === "wait" ? limits.requestWaitMs : copiesTimeoutMs;
    const leftMs = (ack.timeoutMs ?? patienceMs) - (clock.nowMs() - sinceMs);
    const isThere = await this.#wait(id, ack.level, Math.max(1, leftMs));
    if (isThere) return ack.level;
    this.counters.ackTimeouts++;
    if (whenCopiesMissing === "degrade") return rule;
    throw new ClientError(
      "UNKNOWN_OUTCOME",
      `the write at ${formatPosition(id)} is committed by rule ${rule}, but its copies did not reach ` +
        `"${ack.level}" in time; they may still, and the write can be read`,
    );
  }

  /** Something may have been copied. Cheap while nobody waits. */
  check(): void {
    if (this.#waiting.size === 0) return;
    const status = this.#ports.status();
    for (const waiter of [...this.#waiting]) {
      if (status.role !== "leader" || status.term !== waiter.id.term)
        waiter.reject(lostLead(waiter));
      else if (this.#has(waiter, status)) waiter.resolve();
    }
  }

  /** A follower shows everything up to `lsn` to readers. */
  appliedBy(node: NodeId, lsn: Lsn): void {
    this.#appliedByNode.set(node, lsn);
    this.check();
  }

  /** Now and then. */
  tick(): void {
    const status = this.#ports.status();
    this.#look(status);
    if (status.degraded !== this.#wasDegraded) this.#tellDegraded(status);
    for (const waiter of this.#waiting) this.#ask(waiter, status);
    this.check();
  }

  async #wait(id: EntryId, level: AckLevel, timeoutMs: number): Promise<boolean> {
    const { clock } = this.#ports;
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const waiter = { id, level, resolve: () => resolve(true), reject };
    const cancel = clock.after(timeoutMs, () => resolve(false));
    this.#waiting.add(waiter);
    try {
      this.#ask(waiter, this.#ports.status());
      this.check();
      return await promise;
    } finally {
      cancel();
      this.#waiting.delete(waiter);
    }
  }

  #has({ id, level }: Waiter, status: RaftStatus): boolean {
    const voters = status.membership.filter((member) => member.kind !== "learner");
    const others = status.progress.filter((p) => voters.some((voter) => voter.id === p.id));
    switch (level) {
      case "leader":
        return true;
      case "one":
        return voters.length === 1 || others.some((p) => p.matchLsn >= id.lsn);
      case "quorum":
        return status.safeLsn >= id.lsn;
      case "all":
        return others.every((p) => p.matchLsn >= id.lsn);
      case "applied":
        return voters.every((voter) => this.#hasApplied(voter, id, status));
    }
  }

  #hasApplied({ id: node, kind }: Member, { lsn }: EntryId, status: RaftStatus): boolean {
    if (node === status.id) return this.#ports.appliedLsn() >= lsn;
    const match = status.progress.find((p) => p.id === node)?.matchLsn ?? 0;
    return match >= lsn && (kind === "witness" || (this.#appliedByNode.get(node) ?? 0) >= lsn);
  }

  #ask({ id, level }: Waiter, status: RaftStatus): void {
    if (level !== "applied") return;
    for (const { id: node, kind } of status.membership) {
      const isAsked = node !== status.id && kind === "voter";
      if (isAsked && (this.#appliedByNode.get(node) ?? 0) < id.lsn) {
        this.#ports.askApplied(node, id.lsn);
      }
    }
  }

  #look(status: RaftStatus): void {
    if (status.role !== "leader") {
      this.#ends = [];
      this.#inSync = new Set();
      this.#appliedByNode.clear();
      return;
    }
    const nowMs = this.#ports.clock.nowMs();
    while (this.#ends.length > inSyncMs / sampleMs) this.#ends.shift();
    this.#ends.push({ atMs: nowMs, lsn: status.last.lsn });
    const wanted = this.#ends[0]!.lsn;
    const inSync = status.progress.filter(
      (p) => p.mode === "stream" && p.matchLsn >= wanted && nowMs - p.heardMs < inSyncMs,
    );
    this.#inSync = new Set([status.id, ...inSync.map((p) => p.id)]);
  }

  #tellDegraded({ degraded, settings, role }: RaftStatus): void {
    this.#wasDegraded = degraded;
    if (degraded) this.counters.degraded++;
    const { onEvent, rule } = this.#ports;
    if (degraded) {
      onEvent(
        `copies are missing for ${settings.copiesTimeoutMs} ms: rule ${rule()} does in place of ` +
          `${settings.commitRule} until they are back`,
      );
    } else if (role === "leader") {
      onEvent(`the copies are back: rule ${settings.commitRule} again`);
    }
  }
}

function lostLead({ id, level }: Waiter): ClientError {
  return new ClientError(
    "UNKNOWN_OUTCOME",
    `the lead was lost before the write at ${formatPosition(id)} reached "${level}"; ` +
      "look before you repeat it",
  );
}
