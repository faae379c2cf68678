/**
 * The interactive transaction that is open in the writer, if one is. It holds the only writer, so it is bounded twice:
 * by the pause between two requests, and as a whole.
 */

import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { NodeId } from "../../vocabulary.ts";

export class OpenSession {
  readonly id: string;
  /** The node that its client talks to, when that is another one: gone with the link to it. */
  readonly origin: NodeId | undefined;
  readonly #clock: Clock;
  readonly #onExpired: () => void;
  #cancelIdle: () => void = () => {};
  readonly #cancelWhole: () => void;

  constructor(
    { id, origin }: { id: string; origin: NodeId | undefined },
    clock: Clock,
    onExpired: () => void,
  ) {
    this.id = id;
    this.origin = origin;
    this.#clock = clock;
    this.#onExpired = onExpired;
    this.#cancelWhole = clock.after(limits.transactionMs, onExpired);
  }

  /** A request of it is running: only the whole is timed. */
  busy(): void {
    this.#cancelIdle();
  }

  /** Its last request is answered: the pause is timed. */
  idle(): void {
    this.#cancelIdle();
    this.#cancelIdle = this.#clock.after(limits.transactionIdleMs, this.#onExpired);
  }

  end(): void {
    this.#cancelIdle();
    this.#cancelWhole();
  }
}
