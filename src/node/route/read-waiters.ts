/** Read indexes that were asked of the core and are not answered yet. Each is answered once, or its time runs out. */

import { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { Lsn } from "../../vocabulary.ts";

/** The answer, undefined for a refusal. */
type Answer = (at: Lsn | undefined) => void;

export class ReadWaiters {
  readonly #clock: Clock;
  readonly #answerById = new Map<number, Answer>();
  #nextId = 1;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `ask` with an id. Throws ClientError NO_LEADER on a refusal, and after `limits.requestWaitMs`. */
  wait(ask: (id: number) => void): Promise<Lsn> {
    const id = this.#nextId++;
    return new Promise<Lsn>((resolve, reject) => {
      const cancelTimer = this.#clock.after(limits.requestWaitMs, () => this.answer(id, undefined));
      this.#answerById.set(id, (at) => {
        cancelTimer();
        if (at === undefined) reject(noLeader());
        else resolve(at);
      });
      ask(id);
    });
  }

  answer(id: number, at: Lsn | undefined): void {
    const answer = this.#answerById.get(id);
    this.#answerById.delete(id);
    answer?.(at);
  }

  refuseAll(): void {
    for (const id of [...this.#answerById.keys()]) this.answer(id, undefined);
  }
}

function noLeader(): ClientError {
  return new ClientError(
    "NO_LEADER",
    "no leader answers; a majority of the voters must be up and connected. Try again shortly",
  );
}
