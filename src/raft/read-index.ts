/**
 * Read indexes on the leader [Raft thesis §6.4]: "how far must I have applied, so that my read sees everything that
 * was acknowledged before it was asked?"
 *
 * The answer is the commit mark at the moment of asking, given two things. (1) The leader has committed an entry of
 * its own term: before that it may not know of all that its predecessors committed. Reads wait for it. (2) It was
 * still the leader *after* the question: a majority has answered a broadcast that left later. Otherwise a newer
 * leader might have committed and acknowledged writes that this one never saw.
 *
 * Reads that arrive between two broadcasts share the next one.
 *
 * Not here: the rounds themselves, and the lease that saves them (replication.ts).
 */

import { assert } from "../base/assert.ts";
import type { Lsn } from "../vocabulary.ts";
import type { Core, Reader } from "./core.ts";

type Waiting = { readonly reader: Reader; readonly lsn: Lsn; readonly round: number };

export class ReadIndex {
  readonly #core: Core;
  /** Asked before the first commit of this term. */
  #early: Reader[] = [];
  /** Waiting for a majority to answer `round`; rounds never fall along the array. */
  #waiting: Waiting[] = [];

  constructor(core: Core) {
    this.#core = core;
  }

  /** A question arrives. `round` is the next broadcast; undefined while nothing of this term is committed. */
  add(reader: Reader, round: number | undefined): void {
    if (round === undefined) {
      this.#early.push(reader);
      return;
    }
    assert((this.#waiting.at(-1)?.round ?? 0) <= round, "rounds fall");
    this.#waiting.push({ reader, lsn: this.#core.log.committedLsn, round });
  }

  /** The first entry of this term is committed. */
  onCommittedInTerm(round: number): void {
    const early = this.#early;
    this.#early = [];
    for (const reader of early) this.add(reader, round);
  }

  /** Whether someone waits for a broadcast that has not left. */
  wantsRound(round: number): boolean {
    return (this.#waiting.at(-1)?.round ?? 0) > round;
  }

  /** A majority has answered `round`. */
  onAnswered(round: number): void {
    let n = 0;
    while (n < this.#waiting.length && this.#waiting[n]!.round <= round) n++;
    if (n === 0) return;
    for (const { reader, lsn } of this.#waiting.splice(0, n)) this.#core.answer(reader, lsn);
  }

  /** Leadership ends, and with it the knowledge. */
  refuseAll(): void {
    for (const { reader } of this.#waiting) this.#core.answer(reader, undefined);
    for (const reader of this.#early) this.#core.answer(reader, undefined);
    this.#waiting = [];
    this.#early = [];
  }
}
