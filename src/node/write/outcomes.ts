/**
 * What becomes of proposed entries. A client transaction that went into an entry is answered when the fate of that
 * entry is known, and its fate is known when an entry is applied at its LSN:
 *
 *   the same entry (equal term)  it is committed; the transaction is acknowledged
 *   another entry                it was replaced by a new leader; surely nothing happened: NOT_LEADER, may be repeated
 *   neither within the deadline  UNKNOWN_OUTCOME; never reported as failure [guarantees: unknown outcome]
 *
 * A node that has lost the lead keeps waiting: it will learn the fate from the new leader.
 */

import { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import type { EntryId, Lsn, Term } from "../../vocabulary.ts";
import { formatPosition } from "../../vocabulary.ts";

type Pending = {
  readonly term: Term;
  readonly bytes: number;
  readonly settle: (error: Error | undefined) => void;
};

export class Outcomes {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #pendingByLsn = new Map<Lsn, Pending>();
  /** Bytes of the entries in `#pendingByLsn`, and of no others: `#settle` is the only way out of it. */
  #bytes = 0;
  /** Who waits until few bytes are pending. */
  #waiters: { readonly bytesMax: number; readonly resolve: () => void }[] = [];

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Resolves once at most so many bytes are pending. Every entry has a deadline, so that moment comes. */
  atMost(bytesMax: number): Promise<void> {
    if (this.#bytes <= bytesMax) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ bytesMax, resolve }));
  }

  /** Resolves when the entry is committed and applied here; throws ClientError otherwise. */
  of(id: EntryId, bytes: number, timeoutMs: number = this.#timeoutMs): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancelTimer = this.#clock.after(timeoutMs, () => {
        const { lsn } = id;
        if (this.#pendingByLsn.get(lsn)?.term === id.term) this.#settle(lsn, unknownOutcome(id));
      });
      const before = this.#pendingByLsn.get(id.lsn);
      if (before !== undefined) this.#settle(id.lsn, unknownOutcome({ ...id, term: before.term }));
      this.#bytes += bytes;
      this.#pendingByLsn.set(id.lsn, {
        term: id.term,
        bytes,
        settle: (error) => {
          cancelTimer();
          if (error === undefined) resolve();
          else reject(error);
        },
      });
    });
  }

  /** An entry was applied at this position. */
  applied(id: EntryId): void {
    const pending = this.#pendingByLsn.get(id.lsn);
    if (pending === undefined) return;
    this.#settle(
      id.lsn,
      pending.term === id.term
        ? undefined
        : new ClientError("NOT_LEADER", "the lead changed before the write was safe; repeat it"),
    );
  }

  /** The database jumped past these positions by page sync: whether they were in it cannot be told. */
  jumpedTo(lsn: Lsn): void {
    for (const [at, pending] of [...this.#pendingByLsn]) {
      if (at <= lsn) this.#settle(at, unknownOutcome({ lsn: at, term: pending.term }));
    }
  }

  close(): void {
    for (const [lsn, pending] of [...this.#pendingByLsn]) {
      this.#settle(lsn, unknownOutcome({ lsn, term: pending.term }));
    }
  }

  #settle(lsn: Lsn, error: Error | undefined): void {
    const pending = this.#pendingByLsn.get(lsn);
    if (pending === undefined) return;
    this.#pendingByLsn.delete(lsn);
    this.#bytes -= pending.bytes;
    pending.settle(error);
    const isDone = ({ bytesMax }: { bytesMax: number }) => this.#bytes <= bytesMax;
    const done = this.#waiters.filter(isDone);
    if (done.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => !isDone(waiter));
    for (const { resolve } of done) resolve();
  }
}

function unknownOutcome(id: EntryId): ClientError {
  return new ClientError(
    "UNKNOWN_OUTCOME",
    `the write is in the log at ${formatPosition(id)} but not yet known to be safe; ` +
      "it may still happen, so look before you repeat it",
  );
}
