/**
 * A batch of reads, answered in pieces: a process of its own makes the next one while the one before is on its way, and
 * makes no more than that until it is taken. So an answer of any size costs two pieces of memory.
 *
 * It ends with its last piece, with the client that hangs up, or after cursorMs: as long as it is open its view of the
 * database keeps the WAL from being reset. Each piece has the time of a statement.
 */

import { ClientError } from "../../base/errors.ts";
import type { ReadOutcome } from "../../db/process/reader-pool.ts";
import type { Unit } from "../../db/sql/request.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { Readers } from "../driver.ts";
import type { Pieces } from "./run.ts";

export type ReadSession = Awaited<ReturnType<Readers["openSession"]>>;

export class ReadCursor {
  readonly #session: ReadSession;
  readonly #unit: Unit;
  /** Its outcome has the position of all of it. */
  readonly first: ReadOutcome;
  #why: ClientError | undefined;
  #isEnded = false;
  readonly #stop: () => void;

  /** The session is the cursor's until it ends; `close` then says whether a transaction is still open. */
  static async open(
    session: ReadSession,
    unit: Unit,
    { clock, signal }: { readonly clock: Pick<Clock, "after">; readonly signal: AbortSignal },
  ): Promise<ReadCursor> {
    const hangUp = () => session.close();
    signal.addEventListener("abort", hangUp, { once: true });
    if (signal.aborted) hangUp();
    try {
      const first = await session.run(unit, "cursor");
      return new ReadCursor(session, { unit, first, clock, signal });
    } catch (error) {
      session.close();
      throw error;
    } finally {
      signal.removeEventListener("abort", hangUp);
    }
  }

  private constructor(
    session: ReadSession,
    opened: { unit: Unit; first: ReadOutcome; clock: Pick<Clock, "after">; signal: AbortSignal },
  ) {
    const { unit, first, clock, signal } = opened;
    this.#session = session;
    this.#unit = unit;
    this.first = first;
    const hangUp = () => this.#breakOff("OVERLOADED", "the client hung up");
    const late = `a cursor was read for longer than ${limits.cursorMs} ms; ask for less at a time`;
    const cancel = clock.after(limits.cursorMs, () => this.#breakOff("STATEMENT_TIMEOUT", late));
    signal.addEventListener("abort", hangUp, { once: true });
    this.#stop = () => {
      cancel();
      signal.removeEventListener("abort", hangUp);
    };
    if (signal.aborted) hangUp();
  }

  /** Ends it before its end. */
  close(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#stop();
    this.#session.close();
  }

  /** To be read once. Gives at its end the last outcome: it says whether a transaction is open. Throws ClientError. */
  async *pieces(): AsyncGenerator<Uint8Array, ReadOutcome, void> {
    try {
      for (let outcome = this.first; ; ) {
        const { bytes, more } = outcome.piece!;
        if (!more) {
          yield bytes;
          this.#stop();
          this.#isEnded = outcome.inTransaction;
          return outcome;
        }
        const next = this.#session.run(this.#unit, "next");
        // It may fail before anybody waits for it.
        next.catch(() => {});
        yield bytes;
        outcome = await next.catch((error) => {
          throw this.#why ?? error;
        });
      }
    } finally {
      this.close();
    }
  }

  #breakOff(code: "OVERLOADED" | "STATEMENT_TIMEOUT", message: string): void {
    this.#why ??= new ClientError(code, message);
    this.close();
  }
}

/** As an answer has them. `after` gives the session that is open in the end. */
export async function* inPieces(
  cursor: ReadCursor,
  after: (last: ReadOutcome) => string | undefined,
): Pieces {
  return after(yield* cursor.pieces());
}
