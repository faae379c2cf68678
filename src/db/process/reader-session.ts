/**
 * A client's interactive read transaction: a reader process of its own, so that its read view stays the same from one
 * request to the next. Ends when it is closed, or with its process.
 */

import { ClientError } from "../../base/errors.ts";
import { RealClock } from "../../host/clock.ts";
import type { Unit } from "../sql/request.ts";
import type { Reader } from "./reader.ts";
import type { Ask, ReadOutcome } from "./reader-messages.ts";

const clock = new RealClock();

export class ReaderSession {
  readonly #reader: Reader;
  readonly #statementMs: number;
  readonly #release: () => void;
  #isClosed = false;

  constructor(reader: Reader, statementMs: number, release: () => void) {
    this.#reader = reader;
    this.#statementMs = statementMs;
    this.#release = release;
  }

  /** Runs a unit; what it leaves open the next one continues. Throws ClientError; the session is lost then. */
  run(unit: Unit, ask: Ask = "run"): Promise<ReadOutcome> {
    if (this.#isClosed || this.#reader.isGone) {
      const message = "the read transaction is lost; begin again";
      return Promise.reject(new ClientError("TRANSACTION_LOST", message));
    }
    return new Promise((resolve, reject) => {
      this.#reader.submit({
        ask,
        unit,
        deadlineMs: this.#statementMs,
        keep: true,
        queuedMs: clock.nowMs(),
        attempts: 0,
        resolve,
        reject,
      });
    });
  }

  /** Rolls back what is open and gives the process back. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#release();
  }
}
