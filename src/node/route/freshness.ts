/**
 * How fresh this copy surely is, for reads that name a bound. The lag that nodes report (report/lag.ts) is measured by
 * messages that may have waited on the way, from a leader that may be none any more; good enough to look at, not to
 * promise by. So a bounded read rests on a question: "what is committed now?", asked of the leader and confirmed by a
 * majority [Raft thesis §6.4]. What the answer names was everything at the moment of asking.
 *
 * One question serves all reads whose bound reaches back to it.
 */

import { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import type { Lsn } from "../../vocabulary.ts";
import type { Waiters } from "../waiters.ts";

export type FreshnessPorts = {
  readonly clock: Clock;
  readonly applied: Waiters;
  lagMs(): number | undefined;
  /** Throws ClientError NO_LEADER. */
  readIndex(): Promise<Lsn>;
};

/** Everything that was committed at `askedMs` is up to `lsn`. */
type Known = { readonly askedMs: number; readonly lsn: Lsn };

/** A question and what it names are waited for this long, even when the bound is smaller. */
const waitMsMin = 250;

export class Freshness {
  readonly #ports: FreshnessPorts;
  #known: Known | undefined;
  #asking: { readonly askedMs: number; readonly answer: Promise<Known> } | undefined;

  constructor(ports: FreshnessPorts) {
    this.#ports = ports;
  }

  /** Resolves when this copy has everything that was committed `maxLagMs` ago. Throws ClientError TOO_STALE. */
  async atMost(maxLagMs: number): Promise<void> {
    const { clock, applied } = this.#ports;
    const sinceMs = clock.nowMs() - maxLagMs;
    const known = this.#known;
    if (known !== undefined && known.askedMs >= sinceMs && known.lsn <= applied.reached) return;
    const waitMs = Math.max(maxLagMs, waitMsMin);
    const { lsn } = await this.#ask(sinceMs, waitMs, maxLagMs);
    if (lsn <= applied.reached) return;
    await applied.wait(lsn, waitMs).catch(() => {
      throw this.#tooStale(maxLagMs);
    });
  }

  async #ask(sinceMs: number, waitMs: number, maxLagMs: number): Promise<Known> {
    const { clock } = this.#ports;
    if (this.#asking === undefined || this.#asking.askedMs < sinceMs) this.#begin();
    const late = Promise.withResolvers<never>();
    const cancel = clock.after(waitMs, () => late.reject(this.#tooStale(maxLagMs)));
    try {
      return await Promise.race([this.#asking!.answer, late.promise]);
    } catch {
      throw this.#tooStale(maxLagMs);
    } finally {
      cancel();
    }
  }

  #begin(): void {
    const askedMs = this.#ports.clock.nowMs();
    const answer = this.#ports.readIndex().then((lsn) => {
      const known = { askedMs, lsn };
      if (this.#known === undefined || askedMs > this.#known.askedMs) this.#known = known;
      return known;
    });
    const asking = { askedMs, answer };
    this.#asking = asking;
    const end = () => {
      if (this.#asking === asking) this.#asking = undefined;
    };
    answer.then(end, end);
  }

  #tooStale(maxLagMs: number): ClientError {
    const lagMs = this.#ports.lagMs();
    const lag = lagMs === undefined ? "of unknown age" : `about ${Math.ceil(lagMs)} ms behind`;
    return new ClientError(
      "TOO_STALE",
      `this copy is ${lag}, and that it is at most ${maxLagMs} ms behind cannot be shown now; ` +
        "ask another node or the leader",
    );
  }
}
