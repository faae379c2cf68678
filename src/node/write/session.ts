/**
 * The interactive transaction that is open in the writer, if one is. It holds the only writer, so it is bounded twice:
 * by the pause between two requests, and as a whole.
 */

import type { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { NodeId } from "../../vocabulary.ts";
import { idleTooLong, transactionExpired, transactionLost } from "./transaction-errors.ts";

/** Transactions that ended for a reason of ours are remembered, so many, for whoever comes back to one. */
const endedMax = 1_000;

/** Why transactions ended that their clients did not end. */
export class EndedSessions {
  /** Oldest first. */
  readonly #errorById = new Map<string, ClientError>();

  expired(id: string, error: ClientError): void {
    this.#errorById.set(id, error);
    if (this.#errorById.size <= endedMax) return;
    this.#errorById.delete(this.#errorById.keys().next().value!);
  }

  why(id: string): ClientError {
    return this.#errorById.get(id) ?? transactionLost("the lead changed, or its process ended");
  }
}

export class OpenSession {
  readonly id: string;
  /** The node that its client talks to, when that is another one: gone with the link to it. */
  readonly origin: NodeId | undefined;
  readonly #clock: Clock;
  readonly #onExpired: (error: ClientError) => void;
  #cancelIdle: () => void = () => {};
  readonly #cancelWhole: () => void;

  constructor(
    { id, origin }: { id: string; origin: NodeId | undefined },
    clock: Clock,
    onExpired: (error: ClientError) => void,
  ) {
    this.id = id;
    this.origin = origin;
    this.#clock = clock;
    this.#onExpired = onExpired;
    this.#cancelWhole = clock.after(limits.transactionMs, () =>
      onExpired(
        transactionExpired(
          `the transaction was open for ${limits.transactionMs} ms, the limit as a whole`,
        ),
      ),
    );
  }

  /** A request of it is running: only the whole is timed. */
  busy(): void {
    this.#cancelIdle();
  }

  /** Its last request is answered: the pause is timed. */
  idle(): void {
    this.#cancelIdle();
    this.#cancelIdle = this.#clock.after(limits.transactionIdleMs, () =>
      this.#onExpired(idleTooLong()),
    );
  }

  end(): void {
    this.#cancelIdle();
    this.#cancelWhole();
  }
}
