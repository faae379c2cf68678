/**
 * Reading, on any node: at the consistency the request asks for, in a reader process that can be killed.
 *
 *   stale         what is here, whatever its age
 *   session       everything that went through this node, and the position the request brings [default]
 *   bounded       everything that was committed so long ago (freshness.ts); TOO_STALE when that cannot be shown
 *   linearizable  everything that was acknowledged anywhere before the request came
 *   leader        not here: routed to the leader (routing.ts)
 *
 * A linearizable read on the leader checks the lease after reading, before answering: a process that was paused in
 * between wakes with an old answer and a lease that is over [etcd#20418].
 */

import { ClientError } from "../../base/errors.ts";
import type { ReadOutcome } from "../../db/process/reader-pool.ts";
import type { Unit } from "../../db/sql/request.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { EntryId, Lsn } from "../../vocabulary.ts";
import type { Readers } from "../driver.ts";
import type { Waiters } from "../waiters.ts";
import { Freshness } from "./freshness.ts";
import { inPieces, ReadCursor, type ReadSession } from "./read-cursor.ts";
import type { RunAnswer, RunOptions } from "./run.ts";

export type ReadOptions = Omit<RunOptions, "session">;

export type ReadAnswer = Omit<RunAnswer, "session"> & {
  /** A statement turned out to write: nothing happened, the unit belongs to the leader. */
  readonly refusedWrite: boolean;
  /** It left a transaction open after all, which is gone: the unit is to begin one. */
  readonly leftOpen: boolean;
};

export type ReadPorts = {
  readonly clock: Clock;
  readonly applied: Waiters;
  /** The readers, while there is a database that may be read. */
  pool(): Readers | undefined;
  lagMs(): number | undefined;
  hasLease(): boolean;
  /** The LSN that a linearizable read must have applied. Throws ClientError NO_LEADER. */
  readIndex(): Promise<Lsn>;
  committedLsn(): Lsn;
  /** The last entry that is applied, one that does not touch the database included. */
  appliedId(): EntryId;
};

export class Reads {
  readonly #ports: ReadPorts;
  /** Highest LSN that any request through this node has seen acknowledged. Falls only by `rewindTo`. */
  #sessionLsn: Lsn = 0 as Lsn;
  readonly #freshness: Freshness;
  /** Until when no read transaction begins, and from when on that may be asked for again. */
  #pause: { over: Promise<void>; end: () => void } | undefined;
  #pauseFromMs = 0;

  constructor(ports: ReadPorts) {
    this.#ports = ports;
    this.#freshness = new Freshness(ports);
  }

  /** A request through this node was answered at this position: session reads will wait for it. */
  saw(position: EntryId): void {
    if (position.lsn > this.#sessionLsn) this.#sessionLsn = position.lsn;
  }

  /** The cluster lost its entries from `from` on, whoever saw them. */
  rewindTo(from: Lsn): void {
    this.#sessionLsn = Math.min(this.#sessionLsn, from - 1) as Lsn;
  }

  /**
   * Whether this copy, if it stays behind by intention, does not have what is asked for, so that another node must
   * answer: here it would come too late.
   */
  lacks({ consistency, minPosition }: ReadOptions): boolean {
    const { reached } = this.#ports.applied;
    if ((minPosition?.lsn ?? 0) > reached) return true;
    if (consistency.type === "session") return this.#sessionLsn > reached;
    return consistency.type !== "stale";
  }

  /** Runs a read-only unit. Throws ClientError: TOO_STALE, NO_LEADER, NOT_READY, STATEMENT_TIMEOUT. */
  async run(unit: Unit, options: ReadOptions): Promise<ReadAnswer> {
    const byLease = await this.#awaitConsistency(options);
    const before = this.#ports.appliedId();
    const pool = this.#pool();
    let outcome = await pool.run(unit, {
      patienceMs: options.deadlineMs,
      signal: options.signal,
      answerBytesMax: options.inPieces === true ? limits.cursorPieceBytes : undefined,
    });
    let cursor: ReadCursor | undefined;
    if (outcome.isCut === true && outcome.refusedWrite !== true) {
      // Too large for one piece: from the beginning, in a process of its own.
      const session = await pool.openSession(options.signal);
      const { clock } = this.#ports;
      cursor = await ReadCursor.open(session, unit, { clock, signal: options.signal });
      outcome = cursor.first;
    }
    if (byLease && !this.#ports.hasLease()) {
      // The lease ran out while we read. One round of questions decides instead.
      const lsn = await this.#ports.readIndex();
      if (lsn > outcome.lsn) {
        cursor?.close();
        return this.run(unit, options);
      }
    }
    const answer = answerOf(outcome, before);
    return cursor === undefined ? answer : { ...answer, pieces: inPieces(cursor, () => undefined) };
  }

  /** Lets no further read transaction begin for so long, and then for twice as long does not do so again. 0 ends it. */
  pauseTransactions(ms: number): void {
    if (ms === 0) return this.#pause?.end();
    const { clock } = this.#ports;
    if (this.#pause !== undefined || clock.nowMs() < this.#pauseFromMs) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = () => {
      cancel();
      this.#pause = undefined;
      this.#pauseFromMs = clock.nowMs() + 2 * ms;
      resolve();
    };
    const cancel = clock.after(ms, end);
    this.#pause = { over: promise, end };
  }

  /** Runs the first unit of a read transaction, in a process of its own. Throws as `run`, and OVERLOADED. */
  async begin(
    unit: Unit,
    options: ReadOptions,
  ): Promise<{ readonly reader: ReadSession; readonly outcome: ReadOutcome }> {
    const byLease = await this.#awaitConsistency(options);
    await this.#pause?.over;
    const reader = await this.#pool().openSession(options.signal);
    try {
      const outcome = await reader.run(unit);
      if (byLease && !this.#ports.hasLease()) {
        const lsn = await this.#ports.readIndex();
        if (lsn > outcome.lsn) {
          reader.close();
          return await this.begin(unit, options);
        }
      }
      return { reader, outcome };
    } catch (error) {
      reader.close();
      throw error;
    }
  }

  #pool(): Readers {
    const pool = this.#ports.pool();
    if (pool === undefined) {
      throw new ClientError(
        "NOT_READY",
        "this node has no complete copy of the database yet; ask another node",
      );
    }
    return pool;
  }

  /** True when the answer rests on the lease and the lease must be checked again. */
  async #awaitConsistency(options: ReadOptions): Promise<boolean> {
    const { applied } = this.#ports;
    const { consistency, minPosition } = options;
    let lsn = minPosition?.lsn ?? (0 as Lsn);
    let byLease = false;
    if (consistency.type === "session" && this.#sessionLsn > lsn) lsn = this.#sessionLsn;
    if (consistency.type === "bounded") {
      // A leader knows by itself; but a new one has yet to apply what it knows to be committed.
      if (!this.#ports.hasLease()) await this.#freshness.atMost(consistency.maxLagMs);
      else if (this.#ports.committedLsn() > lsn) lsn = this.#ports.committedLsn();
    }
    if (consistency.type === "linearizable" || consistency.type === "leader") {
      byLease = this.#ports.hasLease();
      const index = byLease ? this.#ports.committedLsn() : await this.#ports.readIndex();
      if (index > lsn) lsn = index;
    }
    if (lsn > applied.reached) await applied.wait(lsn, limits.requestWaitMs);
    return byLease;
  }
}

/**
 * `before` was applied before the read began. The database itself names the last entry that changed it; entries after
 * that one, the first of a term for instance, are in what was read all the same.
 */
export function answerOf(outcome: ReadOutcome, before?: EntryId): ReadAnswer {
  const { results, connection, refusedWrite, transaction } = outcome;
  const { lsn, term } = before !== undefined && before.lsn > outcome.lsn ? before : outcome;
  const left = { refusedWrite: refusedWrite === true, leftOpen: transaction !== undefined };
  return { results, position: { lsn, term }, connection, ...left };
}
