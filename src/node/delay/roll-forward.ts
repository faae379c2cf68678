/**
 * Rolling a delayed node forward: an operator names a position or a time, and the node applies everything up to it, at
 * once, and nothing after it until it is told to go on. So it can be looked at, and a backup be taken of it, as it was
 * just before an accident.
 *
 *   position   that entry is the last one that is applied
 *   time       the last entry before the first change that was committed later, by the leader's wall clock
 *   now        everything that is committed when the cluster is asked
 *
 * While the entry is looked for nothing is applied, so that it cannot be passed meanwhile. It is written down, durable,
 * before anything is applied for it.
 *
 * A cluster that does not answer cannot say whether there is more: then what is known here to be committed is all that
 * can be chosen from, and the answer says so.
 */

import { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { LogStore } from "../../log/log-store.ts";
import { type EntryId, formatPosition, type Lsn, type Term } from "../../vocabulary.ts";
import type { Waiters } from "../waiters.ts";
import { type Delay, timeOf } from "./delay.ts";
import { parseRollTarget, type RollTarget } from "./roll-target.ts";

export type RollPorts = {
  readonly clock: Clock;
  readonly log: { readonly base: EntryId } & Pick<LogStore, "read" | "termAt">;
  readonly delay: Delay;
  readonly applied: Waiters;
  /** Why the database cannot be rolled anywhere now. */
  damage(): string | undefined;
  /** The last entry that changed the database. */
  changedBy(): EntryId;
  /** What is committed now. Throws ClientError NO_LEADER. */
  readIndex(): Promise<Lsn>;
  write(hold: EntryId): Promise<void>;
  remove(): Promise<void>;
  onEvent(line: string): void;
};

/** Where a node stays, or goes. */
export type RollAnswer = {
  /** The last entry that is applied; undefined: the node is back to its delay. */
  readonly target: string | undefined;
  readonly appliedLsn: Lsn;
  /** Commit time of the first change after the target, if one is known. */
  readonly nextAtMs: number | undefined;
  /** The cluster did not answer: more may have been committed than is known here. */
  readonly leaderSilent: boolean;
};

/** A change in the log: its LSN, and when it was committed; undefined when nobody knows any more. */
type Change = { readonly lsn: Lsn; readonly atMs: number | undefined };

/** Entries in a row that are no change; more are not looked through. */
const lookBackMax = 256;
/** The node may be a little behind what the cluster says. */
const catchUpMs = 3_000;

export class RollForward {
  readonly #ports: RollPorts;
  #isBusy = false;
  #leaderSilent = false;

  constructor(ports: RollPorts) {
    this.#ports = ports;
  }

  /** Throws ClientError: BAD_REQUEST, POSITION_PASSED, POSITION_AHEAD, POSITION_UNKNOWN, NOT_READY, OVERLOADED. */
  async to(text: string): Promise<RollAnswer> {
    const wanted = parseRollTarget(text);
    return this.#alone(async () => {
      const { delay, onEvent } = this.#ports;
      const damage = this.#ports.damage();
      if (damage !== undefined) {
        throw new ClientError(
          "NOT_READY",
          `the database of this node is being repaired: ${damage}`,
        );
      }
      this.#leaderSilent = false;
      delay.freeze();
      try {
        const lsn = await this.#find(wanted);
        const target = { lsn, term: this.#termAt(lsn) };
        await this.#ports.write(target);
        delay.hold(target);
        onEvent(
          `rolled forward to ${formatPosition(target)} (${text}); it stays there until it is told to resume`,
        );
        const next = await this.#nextChange(lsn, () => true);
        return this.#answer(target, next?.atMs);
      } finally {
        delay.goOn();
      }
    });
  }

  /** Back to the delay. Harmless when the node is not held. */
  async resume(): Promise<RollAnswer> {
    return this.#alone(async () => {
      const { delay, onEvent } = this.#ports;
      this.#leaderSilent = false;
      const { held } = delay;
      if (held !== undefined) {
        await this.#ports.remove();
        delay.resume();
        onEvent(`no longer held at ${formatPosition(held)}: ${delay.delayMs} ms behind again`);
      }
      return this.#answer(undefined, undefined);
    });
  }

  /** The pages of this node were replaced by those of `at`, which may be after the entry it is held at. */
  async jumpedTo(at: EntryId): Promise<void> {
    const { delay, onEvent } = this.#ports;
    const { held, delayMs } = delay;
    if (held === undefined) {
      onEvent(
        `the copied pages are as of now, ${formatPosition(at)}; what follows waits ${delayMs} ms`,
      );
      return;
    }
    if (held.lsn >= at.lsn) return;
    await this.#ports.write(at);
    delay.hold(at);
    onEvent(
      `pages were copied: it is held at ${formatPosition(at)} now, not at ${formatPosition(held)}`,
    );
  }

  /** Entries from `from` on gave way to others. A node that is held at one of them stays before it. */
  async rewindTo(from: Lsn): Promise<void> {
    const { delay } = this.#ports;
    const before = delay.held;
    delay.rewindTo(from);
    if (delay.held !== undefined && delay.held !== before) await this.#ports.write(delay.held);
  }

  async #alone(work: () => Promise<RollAnswer>): Promise<RollAnswer> {
    if (this.#isBusy) {
      throw new ClientError("OVERLOADED", "another request to roll forward is at work; repeat it");
    }
    this.#isBusy = true;
    try {
      return await work();
    } finally {
      this.#isBusy = false;
    }
  }

  #answer(target: EntryId | undefined, nextAtMs: number | undefined): RollAnswer {
    return {
      target: target === undefined ? undefined : formatPosition(target),
      appliedLsn: this.#ports.applied.reached,
      nextAtMs,
      leaderSilent: this.#leaderSilent,
    };
  }

  #find(wanted: RollTarget): Promise<Lsn> {
    if (wanted.type === "position") return this.#findPosition(wanted.id);
    if (wanted.type === "time") return this.#findTime(wanted.atMs);
    return this.#askCommitted();
  }

  async #findPosition(id: EntryId): Promise<Lsn> {
    const { delay, log } = this.#ports;
    if (id.lsn > delay.committed) await this.#askCommitted();
    if (id.lsn > delay.committed) {
      throw new ClientError(
        "POSITION_AHEAD",
        `${formatPosition(id)} is not known to be committed, only what comes before ${delay.committed + 1}; ` +
          "it lies in the future, or is of another cluster",
      );
    }
    const isKnown = id.lsn >= log.base.lsn;
    if (isKnown && id.term !== 0 && id.term !== this.#termAt(id.lsn)) {
      throw new ClientError(
        "POSITION_UNKNOWN",
        `entry ${id.lsn} of this cluster is of term ${this.#termAt(id.lsn)}, not ${id.term}: ` +
          `${formatPosition(id)} is of another cluster, or was never committed`,
      );
    }
    if (id.lsn >= delay.released) return id.lsn;
    const { lsn } = await this.#lastChange();
    // Entries that are no change came after it; the database is what it was.
    if (id.lsn >= lsn) return delay.released;
    throw passed(`${formatPosition(id)} is applied already, and so is what follows, up to ${lsn}`);
  }

  async #findTime(atMs: number): Promise<Lsn> {
    const { clock, delay } = this.#ports;
    const when = new Date(atMs).toISOString();
    if (atMs > clock.wallMs()) {
      throw new ClientError("POSITION_AHEAD", `${when} lies in the future; to have all, say now`);
    }
    const last = await this.#lastChange();
    if (last.atMs === undefined) {
      throw passed(
        `when the database of this node, at ${delay.released}, was committed is not in its log any more, ` +
          `so nobody knows whether it is older than ${when}; name a position`,
      );
    }
    if (last.atMs > atMs) {
      const applied = new Date(last.atMs).toISOString();
      throw passed(
        `${when} has passed: the change at ${last.lsn}, of ${applied}, is applied already`,
      );
    }
    const isLater = (ms: number) => ms > atMs;
    let next = await this.#nextChange(delay.released, isLater);
    if (next === undefined) {
      const seen = delay.committed;
      await this.#askCommitted();
      next = await this.#nextChange(seen, isLater);
    }
    return next === undefined ? delay.committed : ((next.lsn - 1) as Lsn);
  }

  /** Everything that is committed now is known afterwards, if the cluster answers. */
  async #askCommitted(): Promise<Lsn> {
    const { delay } = this.#ports;
    try {
      await delay.known(await this.#ports.readIndex(), catchUpMs);
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      this.#leaderSilent = true;
    }
    return delay.committed;
  }

  /** The last change that may be in the database already. */
  async #lastChange(): Promise<Change> {
    const { delay, log } = this.#ports;
    const from = Math.max(log.base.lsn + 1, delay.released - lookBackMax);
    for (let lsn = delay.released; lsn >= from; lsn--) {
      const [entry] = await log.read(lsn, (lsn + 1) as Lsn, 1);
      if (entry?.kind === "payload") return { lsn: lsn as Lsn, atMs: timeOf(entry) };
      if (entry?.kind === "genesis") return { lsn: lsn as Lsn, atMs: Number.NEGATIVE_INFINITY };
    }
    const { lsn } = this.#ports.changedBy();
    return { lsn, atMs: delay.released === 0 ? Number.NEGATIVE_INFINITY : undefined };
  }

  /** The first change after `after` of which `isIt` holds. */
  async #nextChange(after: Lsn, isIt: (atMs: number) => boolean): Promise<Change | undefined> {
    const { delay, log } = this.#ports;
    for (let from = after + 1; from <= delay.committed; ) {
      const end = (delay.committed + 1) as Lsn;
      const entries = await log.read(from as Lsn, end, limits.appendBytesMax);
      if (entries.length === 0) return undefined;
      for (const entry of entries) {
        const atMs = timeOf(entry);
        if (atMs !== undefined && isIt(atMs)) return { lsn: entry.lsn, atMs };
      }
      from += entries.length;
    }
    return undefined;
  }

  #termAt(lsn: Lsn): Term {
    const { log } = this.#ports;
    return lsn === log.base.lsn ? log.base.term : (log.termAt(lsn) ?? (0 as Term));
  }
}

function passed(message: string): ClientError {
  return new ClientError("POSITION_PASSED", message);
}
