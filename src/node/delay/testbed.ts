/** What the tests of the delay share: clocks that are moved by hand, a log of commit times, and an applied position. */

import type { Cancel, Clock } from "../../host/clock.ts";
import { joinSections } from "../../payload/sections.ts";
import { type Entry, type EntryId, type Lsn, lsn, type Term, term } from "../../vocabulary.ts";
import { Waiters } from "../waiters.ts";
import { Delay } from "./delay.ts";

type Timer = { readonly atMs: number; readonly f: () => void };

/** The wall clock and the monotonic one are moved together by `pass`, and the wall clock alone by `stepWall`. */
export class HandClock implements Clock {
  #nowMs = 0;
  #wallMs: number;
  #timers: Timer[] = [];

  constructor(wallMs: number) {
    this.#wallMs = wallMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  stepWall(ms: number): void {
    this.#wallMs += ms;
  }

  every(): Cancel {
    throw new Error("nothing here needs it");
  }

  after(ms: number, f: () => void): Cancel {
    const timer = { atMs: this.#nowMs + ms, f };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  turn(f: () => void): void {
    setImmediate(f);
  }

  /** Time passes, timer by timer. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      await settled();
      const next = this.#timers.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#moveTo(next.atMs);
      next.f();
    }
    this.#moveTo(endMs);
    await settled();
  }

  #moveTo(nowMs: number): void {
    this.#wallMs += nowMs - this.#nowMs;
    this.#nowMs = nowMs;
  }
}

/** Everything that can go on without time passing has. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** The wall clock at the beginning of every test. */
export const beginMs: number = Date.parse("2026-11-21T10:00:00Z");

/** A log that is committed entry by entry, before a node that is `delayMs` behind. */
export class DelayBed {
  readonly clock = new HandClock(beginMs);
  /** From LSN 1. */
  entries: Entry[] = [];
  /** Base of the log. */
  base: EntryId = { lsn: lsn(0), term: term(0) };
  reads = 0;
  readonly applied: Waiters;
  readonly delay: Delay;

  constructor(delayMs: number, applied = 0, held?: EntryId) {
    this.applied = new Waiters(this.clock, lsn(applied));
    const release = (to: Lsn) => this.applied.reach(to);
    const failed = (error: Error) => {
      throw error;
    };
    this.delay = new Delay(
      { ...{ clock: this.clock, delayMs, log: this.log, release, failed } },
      lsn(applied),
      held,
    );
  }

  get at(): number {
    return this.applied.reached;
  }

  get log() {
    const slice = (from: Lsn, to: Lsn) => this.entries.slice(from - 1, to - 1).slice(0, 3);
    return {
      base: this.base,
      cached: () => undefined,
      read: async (from: Lsn, to: Lsn) => {
        this.reads += 1;
        return from <= this.base.lsn ? [] : slice(from, to);
      },
      termAt: (at: Lsn) => this.entries[at - 1]?.term,
    };
  }

  /** An entry that was committed at `atMs` of the leader's clock; one without a time is no change. */
  write(atMs: number | undefined, inTerm = 1): void {
    const at = lsn(this.entries.length + 1);
    const kind = atMs === undefined ? "noop" : "payload";
    const body = atMs === undefined ? new Uint8Array(0) : bodyOf(atMs);
    this.entries.push({ lsn: at, term: inTerm as Term, kind, chain: "", body });
  }

  /** All entries are known to be committed. */
  async commit(): Promise<void> {
    this.delay.onCommitted(lsn(this.entries.length));
    await settled();
  }
}

function bodyOf(committedAtMs: number): Uint8Array {
  const changes = new Uint8Array(1);
  const rest = { pages: undefined, statements: undefined };
  return joinSections({ logKind: "rows", committedAtMs, changes, ...rest });
}
