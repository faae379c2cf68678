/**
 * The change stream: what committed entries did, row by row, in the order of the log, from any position that the log
 * still has. Read from the log as fast as the consumer takes it; a consumer that is slow holds nothing here but its
 * place.
 *
 *   change   an entry with recorded changes: one client transaction after the other
 *   gap      an entry that changed the database and has no record of rows: it was not asked for then
 *   idle     nothing new for a while
 *
 * An entry is given when it is applied here, so what a consumer has seen can be read on this node. A consumer that
 * goes on from the last position it has dealt with misses nothing and may see the last one twice.
 *
 * Not here: how it is written on a wire (api/changes/).
 */

import { ClientError } from "../../base/errors.ts";
import { namedSteps } from "../../changes/named-steps.ts";
import type { NamedStep } from "../../changes/steps.ts";
import { decodeTransactions } from "../../changes/steps-codec.ts";
import { limits } from "../../limits.ts";
import { sectionsOf } from "../../payload/sections.ts";
import { type Entry, type EntryId, formatPosition, type Lsn, type Term } from "../../vocabulary.ts";
import type { Waiters } from "../waiters.ts";

export type FeedEvent =
  | {
      readonly type: "change";
      readonly position: EntryId;
      /** Leader's wall clock at the commit. */
      readonly committedAtMs: number;
      readonly transactions: readonly (readonly NamedStep[])[];
    }
  | { readonly type: "gap"; readonly position: EntryId; readonly committedAtMs: number }
  | { readonly type: "idle"; readonly position: EntryId };

/** What a feed needs of the log. */
export type FeedLog = {
  readonly base: EntryId;
  termAt(at: Lsn): Term | undefined;
  read(from: Lsn, to: Lsn, bytesMax: number): Promise<readonly Entry[]>;
};

export type FeedPorts = {
  readonly log: FeedLog;
  readonly applied: Waiters;
  /** Whether entries carry changes now. */
  isRecorded(): boolean;
};

/** Between two signs of life. */
const idleMs = 10_000;

export class Feed {
  readonly #ports: FeedPorts;

  constructor(ports: FeedPorts) {
    this.#ports = ports;
  }

  /**
   * Where a consumer that has dealt with everything up to `from` goes on; from now on when undefined. Throws
   * ClientError: POSITION_TOO_OLD, POSITION_AHEAD, POSITION_UNKNOWN, NOT_RECORDED.
   */
  begin(from: EntryId | undefined): EntryId {
    const { log, applied } = this.#ports;
    if (from === undefined) {
      if (!this.#ports.isRecorded()) throw notRecorded();
      return this.#idAt(applied.reached);
    }
    if (from.lsn < log.base.lsn) throw tooOld(from, log.base);
    if (from.lsn > applied.reached) {
      throw new ClientError(
        "POSITION_AHEAD",
        `this node has applied up to ${applied.reached}, not up to ${formatPosition(from)} yet; ` +
          "is the position of this cluster? If so, ask again shortly, or ask another node",
      );
    }
    const id = this.#idAt(from.lsn);
    if (from.term === 0 || from.term === id.term) return id;
    throw new ClientError(
      "POSITION_UNKNOWN",
      `entry ${from.lsn} of this cluster is of term ${id.term}, not ${from.term}: ${formatPosition(from)} is of ` +
        "another cluster, or was never committed; begin anew from a copy",
    );
  }

  /** Endless, until the signal. Throws ClientError POSITION_TOO_OLD when the log has lost the consumer's place. */
  async *after(from: EntryId, signal: AbortSignal): AsyncGenerator<FeedEvent> {
    const { log, applied } = this.#ports;
    let at = from;
    while (!signal.aborted) {
      if (at.lsn >= applied.reached) {
        const isNew = await this.#more((at.lsn + 1) as Lsn, signal);
        if (!isNew) yield { type: "idle", position: at };
        continue;
      }
      if (at.lsn < log.base.lsn) throw tooOld(at, log.base);
      const next = (at.lsn + 1) as Lsn;
      const entries = await log.read(next, (applied.reached + 1) as Lsn, limits.appendBytesMax);
      if (entries.length === 0) throw tooOld(at, log.base);
      for (const entry of entries) {
        if (signal.aborted) return;
        at = { lsn: entry.lsn, term: entry.term };
        const event = eventOf(entry);
        if (event !== undefined) yield event;
      }
    }
  }

  /** Waits for an entry. False after a while, and when the consumer is gone. */
  #more(lsn: Lsn, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (isNew: boolean) => {
        signal.removeEventListener("abort", onAbort);
        resolve(isNew);
      };
      const onAbort = () => end(false);
      signal.addEventListener("abort", onAbort, { once: true });
      if (signal.aborted) return end(false);
      this.#ports.applied.wait(lsn, idleMs).then(
        () => end(true),
        () => end(false),
      );
    });
  }

  #idAt(lsn: Lsn): EntryId {
    const { log } = this.#ports;
    return lsn === log.base.lsn ? log.base : { lsn, term: log.termAt(lsn) ?? (0 as Term) };
  }
}

/** Undefined for an entry that does not touch the database. Throws CorruptionError. */
function eventOf(entry: Entry): FeedEvent | undefined {
  if (entry.kind !== "payload") return undefined;
  const position = { lsn: entry.lsn, term: entry.term };
  const { changes, statements, logKind, committedAtMs } = sectionsOf(entry.body);
  const bytes = changes ?? (logKind === "statements" ? statements : undefined);
  if (bytes === undefined) return { type: "gap", position, committedAtMs };
  const transactions = namedSteps(decodeTransactions(bytes));
  return { type: "change", position, committedAtMs, transactions };
}

function tooOld(at: EntryId, base: EntryId): ClientError {
  return new ClientError(
    "POSITION_TOO_OLD",
    `the log of this node begins after ${formatPosition(base)}, so what followed ${formatPosition(at)} ` +
      "is not known any more; begin anew from a copy (paceline backup), or ask a node that keeps more (--keep-log)",
  );
}

function notRecorded(): ClientError {
  return new ClientError(
    "NOT_RECORDED",
    "this cluster does not record row changes; switch it on with: paceline configure record.changes=true",
  );
}
