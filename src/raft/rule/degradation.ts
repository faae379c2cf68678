/**
 * Whether the copies that the commit rule asks for are missing for so long that a weaker rule does, as settings with
 * `degrade` say. MySQL's semi-synchronous replication does the same.
 *
 *   normal     becomes degraded when something has waited for its copies for copiesTimeoutMs without any progress
 *   degraded   becomes normal when the copies have come within `nearEntries` of the end
 *
 * A value per leadership: a new leader begins as normal.
 */

import { type Lsn, lsn, type Settings } from "../../vocabulary.ts";

/** Copies this close to the end keep up: what they lack is on its way. */
const nearEntries = 64;

export class Degradation {
  #isDegraded = false;
  /** Up to where the full rule was met when last looked. */
  #reached: Lsn = lsn(0);
  /** Since when it has not moved although there was something to copy. */
  #stuckSinceMs: number | undefined;

  get isDegraded(): boolean {
    return this.#isDegraded;
  }

  /** `reached`: by the full rule. `last`: the end of the log. */
  look(settings: Settings, reached: number, last: Lsn, nowMs: number): void {
    const hasMoved = reached > this.#reached;
    if (hasMoved) this.#reached = lsn(reached);
    if (settings.whenCopiesMissing !== "degrade") {
      this.#isDegraded = false;
      this.#stuckSinceMs = undefined;
      return;
    }
    if (reached >= last) this.#stuckSinceMs = undefined;
    else if (hasMoved) this.#stuckSinceMs = nowMs;
    else this.#stuckSinceMs ??= nowMs;
    if (this.#isDegraded) {
      if (reached >= last - nearEntries && (hasMoved || reached >= last)) this.#isDegraded = false;
      return;
    }
    const since = this.#stuckSinceMs;
    this.#isDegraded = since !== undefined && nowMs - since >= settings.copiesTimeoutMs;
  }
}
