/**
 * Keeps one lane to one address open: dials, and after a break dials again, with a pause that doubles from
 * `redialMinMs` to `redialMaxMs` plus up to half of it by chance, so that a restarted node is not met by all at once.
 *
 * Not here: what the lane carries (peer.ts).
 */

import { randomInt } from "node:crypto";
import { messageOf } from "../base/errors.ts";
import type { Cancel } from "../host/clock.ts";
import type { Greeting, LinkGround } from "./greeting.ts";
import type { Greeted, Refusal } from "./introduction.ts";
import { Lane } from "./lane.ts";

/** What a dialler is told and asks. */
export type DiallerEvents = {
  /** Connects once and proves both sides. */
  open(signal: AbortSignal): Promise<Greeting>;
  /** A reason of our own against the node that answered. */
  judge(peer: Greeted): Refusal | undefined;
  /** A lane is open, not started yet. */
  onUp(lane: Lane): void;
  /** By either side. */
  onRefused(why: Refusal): void;
  onFailed(why: string): void;
};

export class Dialler {
  readonly #ground: LinkGround;
  readonly #events: DiallerEvents;
  /** Open lane, as long as it is open. */
  #lane: Lane | undefined;
  /** Running attempt. */
  #attempt: AbortController | undefined;
  /** Pause before the next attempt. */
  #cancelPause: Cancel | undefined;
  #pauseMs: number;
  #closed = false;

  /** Dials at once. */
  constructor(ground: LinkGround, events: DiallerEvents) {
    this.#ground = ground;
    this.#events = events;
    this.#pauseMs = ground.limits.redialMinMs;
    this.nudge();
  }

  get lane(): Lane | undefined {
    return this.#lane;
  }

  /** There is reason to believe that the peer is there: a running pause is cut short. */
  nudge(): void {
    if (this.#closed || this.#lane !== undefined || this.#attempt !== undefined) return;
    this.#cancelPause?.();
    this.#cancelPause = undefined;
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.#events.open(attempt.signal).then(
      (greeting) => this.#onGreeting(greeting),
      (error: unknown) => this.#onFailure(error),
    );
  }

  /** The lane that `onUp` was given has broken. */
  redial(): void {
    this.#lane = undefined;
    this.#pause();
  }

  /** Closes lane and attempt for good, without an event. */
  close(): void {
    this.#closed = true;
    this.#cancelPause?.();
    this.#attempt?.abort();
    this.#lane?.close();
    this.#lane = undefined;
  }

  #onGreeting(greeting: Greeting): void {
    this.#attempt = undefined;
    if (this.#closed) {
      if (greeting.type === "opened") greeting.wire.close("given up");
      return;
    }
    const why = greeting.type === "refused" ? greeting.why : this.#events.judge(greeting.peer);
    if (greeting.type === "refused" || why !== undefined) {
      if (greeting.type === "opened") greeting.wire.close("turned down");
      this.#events.onRefused(why!);
      this.#pause();
      return;
    }
    this.#pauseMs = this.#ground.limits.redialMinMs;
    this.#lane = new Lane(greeting, this.#ground);
    this.#events.onUp(this.#lane);
  }

  #onFailure(error: unknown): void {
    this.#attempt = undefined;
    if (this.#closed) return;
    this.#events.onFailed((error as NodeJS.ErrnoException | undefined)?.code ?? messageOf(error));
    this.#pause();
  }

  #pause(): void {
    if (this.#closed || this.#cancelPause !== undefined) return;
    const pauseMs = this.#pauseMs + randomInt(Math.ceil(this.#pauseMs / 2) + 1);
    this.#pauseMs = Math.min(this.#pauseMs * 2, this.#ground.limits.redialMaxMs);
    this.#cancelPause = this.#ground.clock.after(pauseMs, () => this.nudge());
  }
}
