/**
 * Is there an order of these operations, each at one moment between its start and its end, that the machine of a model
 * accepts? The search of Wing and Gong with Lowe's memory, as in porcupine.
 *
 * Starts and ends of the required operations form a doubly linked list by time. Those that start before the first end
 * in the list may come next; one is tried by lifting its two events out of the list, and put back when all that
 * followed failed. A configuration, which is the set of lifted operations and the state, is entered once.
 *
 *   - Optional operations (outcome unknown) have no end. They are tried last, and need not be in the order.
 *   - An optional write of a value that nobody read is tried only where it makes a failed comparison fit: anywhere else
 *     it may as well come later, or not at all.
 *   - A read that fits is lifted at once and has no alternative: an order in which it comes later can be changed into
 *     one in which it comes now.
 *   - A blind write that nobody observed is lifted, at once and without alternative, directly before any other blind
 *     write, which hides it. Without this, a group of n concurrent writes has 2^n configurations.
 *   - A state is left as hopeless when operations that observe are still to come and none of them can fit.
 *
 * Time is any number: places in a history (linearizability.ts), or LSNs (lsn-oracle.ts).
 *
 * Not here: partition by key, and what a failure is called.
 */

import type { Machine } from "./models.ts";

/** An operation as the search sees it. `to` is Infinity for optional ones. */
export type Interval = { readonly from: number; readonly to: number; readonly required: boolean };

/** When to give up. */
export type Budget = {
  readonly nowMs: () => number;
  readonly untilMs: number;
  /** Configurations remembered at most; each takes about 60 bytes, more with many concurrent operations. */
  readonly memoryMax: number;
};

/** What the search found. */
export type Outcome = {
  readonly result: "possible" | "impossible" | "unknown";
  readonly steps: number;
  /** Ranks of the operations of which none could come next, where the search got furthest. */
  readonly stuck: readonly number[];
};

type Frame = { readonly node: number; readonly state: number; readonly free: boolean };

const none = -1;

export class WingGong {
  readonly #machine: Machine;
  readonly #budget: Budget;
  /** Ranks of the required operations, by start, and of the optional ones. */
  readonly #required: readonly number[];
  readonly #optional: readonly number[];
  readonly #from: readonly number[];
  /** The list: 2i is the start of required operation i, 2i + 1 its end, the last node is the head. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #time: Float64Array;
  readonly #head: number;
  /** By node / 2: 1 when lifted; optional operations follow the required ones and the head. */
  readonly #lifted: Uint8Array;
  /** Every required operation before this one is lifted. */
  #base = 0;
  /** By required operation: how many required and optional ones start before its end. */
  readonly #reach: Int32Array;
  readonly #optionalReach: Int32Array;
  readonly #seenByBase = new Map<number, Set<number | string>>();
  #remembered = 0;
  #done = 0;
  #observersLeft = 0;
  #state: number;
  readonly #stack: Frame[] = [];
  #furthest = -1;
  #stuck: number[] = [];

  constructor(intervals: readonly Interval[], machine: Machine, budget: Budget) {
    this.#machine = machine;
    this.#budget = budget;
    this.#state = machine.initial;
    const ranks = intervals
      .map((_, i) => i)
      .sort((a, b) => intervals[a]!.from - intervals[b]!.from);
    this.#required = ranks.filter((i) => intervals[i]!.required);
    this.#optional = ranks.filter((i) => !intervals[i]!.required && !machine.isUnobserved(i));
    this.#from = intervals.map((interval) => interval.from);
    const n = this.#required.length;
    this.#head = 2 * n;
    this.#time = new Float64Array(2 * n);
    for (const [i, rank] of this.#required.entries()) {
      this.#time[2 * i] = intervals[rank]!.from;
      this.#time[2 * i + 1] = intervals[rank]!.to;
      if (machine.observes(rank)) this.#observersLeft++;
    }
    this.#next = new Int32Array(2 * n + 1);
    this.#previous = new Int32Array(2 * n + 1);
    this.#link();
    this.#lifted = new Uint8Array(n + 1 + this.#optional.length);
    const starts = this.#required.map((rank) => this.#from[rank]!);
    const optionalStarts = this.#optional.map((rank) => this.#from[rank]!);
    this.#reach = Int32Array.from(this.#required, (rank) => below(starts, intervals[rank]!.to));
    this.#optionalReach = Int32Array.from(this.#required, (rank) =>
      below(optionalStarts, intervals[rank]!.to),
    );
  }

  /** Runs the search to its end, or to the end of the budget. Call once. */
  run(): Outcome {
    const total = this.#required.length;
    let node = this.#settle() ? this.#first() : none;
    for (let steps = 0; ; steps++) {
      if (this.#done === total) return { result: "possible", steps, stuck: [] };
      const late = steps % 1024 === 1023 && this.#budget.nowMs() >= this.#budget.untilMs;
      if (late || this.#remembered > this.#budget.memoryMax) {
        return { result: "unknown", steps, stuck: this.#stuck };
      }
      if (node === none) {
        if (this.#done > this.#furthest) this.#noteStuck();
        const popped = this.#backtrack();
        if (popped === none) return { result: "impossible", steps, stuck: this.#stuck };
        node = this.#after(popped);
        continue;
      }
      const state = this.#stateAfter(node);
      if (state === none) {
        node = this.#after(node);
        continue;
      }
      if (this.#machine.isBlind(this.#rank(node))) this.#hideWrites(node);
      this.#lift(node, { node, state: this.#state, free: false });
      this.#state = state;
      node = this.#settle() ? this.#first() : none;
    }
  }

  /** The state after the operation at `node`, or none when it need not or cannot come next. */
  #stateAfter(node: number): number {
    const rank = this.#rank(node);
    if (this.#machine.isRead(rank)) return none;
    const state = this.#machine.step(this.#state, rank);
    if (state === none) return none;
    if (node > this.#head) {
      if (state === this.#state) return none;
      if (this.#machine.isUnread(rank) && !this.#unblocksRead(state)) return none;
    }
    const observersAfter = this.#observersLeft - (this.#machine.observes(rank) ? 1 : 0);
    return observersAfter > 0 && this.#machine.isHopeless(state) ? none : state;
  }

  /** Whether a candidate that reads does not fit now, and would in this state. */
  #unblocksRead(state: number): boolean {
    let node = this.#next[this.#head]!;
    for (; node !== this.#head && node % 2 === 0; node = this.#next[node]!) {
      const rank = this.#required[node >> 1]!;
      if (this.#machine.isRead(rank) && this.#machine.step(state, rank) !== none) return true;
    }
    return false;
  }

  /** Lifts all reads that fit. False when the configuration that results has been entered before. */
  #settle(): boolean {
    let node = this.#next[this.#head]!;
    while (node !== this.#head && node % 2 === 0) {
      const rank = this.#required[node >> 1]!;
      if (this.#machine.isRead(rank) && this.#machine.step(this.#state, rank) !== none) {
        this.#lift(node, { node, state: this.#state, free: true });
      }
      node = this.#onward(node);
    }
    if (this.#done === this.#required.length) return true;
    let seen = this.#seenByBase.get(this.#base);
    if (seen === undefined) {
      seen = new Set();
      this.#seenByBase.set(this.#base, seen);
    }
    const size = seen.size;
    seen.add(this.#configuration());
    this.#remembered += seen.size - size;
    return seen.size > size;
  }

  /** Before the blind write at `visible`, lifts every unobserved blind write that may come there. */
  #hideWrites(visible: number): void {
    let node = this.#next[this.#head]!;
    while (node !== this.#head && node % 2 === 0) {
      const rank = this.#required[node >> 1]!;
      if (node !== visible && this.#machine.isBlind(rank) && this.#machine.isUnobserved(rank)) {
        this.#lift(node, { node, state: this.#state, free: true });
      }
      node = this.#onward(node);
    }
  }

  /**
   * The event behind a start that may have been lifted just now. If its end was the first, then operations behind
   * that end may come next as well, and the scan goes on to them.
   */
  #onward(node: number): number {
    const next = this.#next[node]!;
    return next === node + 1 && this.#lifted[node >> 1] === 1 ? this.#next[next]! : next;
  }

  /** The first candidate: a required operation, else an optional one. */
  #first(): number {
    const node = this.#next[this.#head]!;
    return node % 2 === 0 && node !== this.#head ? node : this.#optionalFrom(0);
  }

  #after(node: number): number {
    if (node > this.#head) return this.#optionalFrom(node - this.#head);
    const next = this.#next[node]!;
    return next % 2 === 0 && next !== this.#head ? next : this.#optionalFrom(0);
  }

  /** The first optional operation from rank `i` on that is not lifted and starts before the first end in the list. */
  #optionalFrom(i: number): number {
    if (i >= this.#optional.length) return none;
    let end = this.#next[this.#head]!;
    while (end % 2 === 0 && end !== this.#head) end = this.#next[end]!;
    if (end === this.#head) return none;
    const horizon = this.#time[end]!;
    for (; i < this.#optional.length; i++) {
      if (this.#from[this.#optional[i]!]! > horizon) return none;
      if (this.#lifted[(this.#head >> 1) + 1 + i] === 0) return this.#head + 1 + i;
    }
    return none;
  }

  #rank(node: number): number {
    return node > this.#head ? this.#optional[node - this.#head - 1]! : this.#required[node >> 1]!;
  }

  #lift(node: number, frame: Frame): void {
    this.#stack.push(frame);
    if (node > this.#head) {
      this.#lifted[(this.#head >> 1) + node - this.#head] = 1;
      return;
    }
    for (const at of [node, node + 1]) {
      this.#next[this.#previous[at]!] = this.#next[at]!;
      this.#previous[this.#next[at]!] = this.#previous[at]!;
    }
    this.#lifted[node >> 1] = 1;
    while (this.#base < this.#required.length && this.#lifted[this.#base] === 1) this.#base++;
    this.#done++;
    if (this.#machine.observes(this.#required[node >> 1]!)) this.#observersLeft--;
  }

  #unlift(node: number): void {
    if (node > this.#head) {
      this.#lifted[(this.#head >> 1) + node - this.#head] = 0;
      return;
    }
    for (const at of [node + 1, node]) {
      this.#next[this.#previous[at]!] = at;
      this.#previous[this.#next[at]!] = at;
    }
    this.#lifted[node >> 1] = 0;
    this.#base = Math.min(this.#base, node >> 1);
    this.#done--;
    if (this.#machine.observes(this.#required[node >> 1]!)) this.#observersLeft++;
  }

  /** Undoes down to the last step that had alternatives, and gives its node; none when there is none. */
  #backtrack(): number {
    for (let frame = this.#stack.pop(); frame !== undefined; frame = this.#stack.pop()) {
      this.#unlift(frame.node);
      this.#state = frame.state;
      if (frame.free) continue;
      // Writes that were hidden before this one come back too: its alternatives may need them to be seen.
      while (this.#stack.at(-1)?.free && this.#isWrite(this.#stack.at(-1)!.node)) {
        this.#unlift(this.#stack.pop()!.node);
      }
      return frame.node;
    }
    return none;
  }

  #isWrite(node: number): boolean {
    return !this.#machine.isRead(this.#rank(node));
  }

  /** What tells this configuration from others with the same base: the state, and what is lifted beyond the base. */
  #configuration(): number | string {
    const from = this.#base + 1;
    const to = this.#reach[this.#base]!;
    const optionalFrom = (this.#head >> 1) + 1;
    const optionalTo = optionalFrom + this.#optionalReach[this.#base]!;
    const width = Math.max(0, to - from) + optionalTo - optionalFrom;
    if (width <= 26 && this.#state < 2 ** 26) {
      let bits = 0;
      for (let i = from; i < to; i++) bits = bits * 2 + this.#lifted[i]!;
      for (let i = optionalFrom; i < optionalTo; i++) bits = bits * 2 + this.#lifted[i]!;
      return this.#state * 2 ** 26 + bits;
    }
    return `${this.#state} ${this.#bits(from, to)} ${this.#bits(optionalFrom, optionalTo)}`;
  }

  #bits(from: number, to: number): string {
    let text = "";
    for (let at = from; at < to; at += 15) {
      let bits = 0;
      for (let i = at; i < Math.min(at + 15, to); i++) bits = bits * 2 + this.#lifted[i]!;
      text += String.fromCharCode(bits);
    }
    return text;
  }

  #noteStuck(): void {
    this.#furthest = this.#done;
    this.#stuck = [];
    for (let node = this.#first(); node !== none; node = this.#after(node)) {
      this.#stuck.push(this.#rank(node));
    }
  }

  /** Links the events by time; of equal times, starts first, so that what touches counts as concurrent. */
  #link(): void {
    const nodes = Array.from({ length: this.#head }, (_, node) => node);
    nodes.sort((a, b) => this.#time[a]! - this.#time[b]! || (a % 2) - (b % 2));
    let previous = this.#head;
    for (const node of nodes) {
      this.#next[previous] = node;
      this.#previous[node] = previous;
      previous = node;
    }
    this.#next[previous] = this.#head;
    this.#previous[this.#head] = previous;
  }
}

/** How many of the ascending numbers are at most `limit`. */
function below(ascending: readonly number[], limit: number): number {
  let from = 0;
  let to = ascending.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (ascending[middle]! <= limit) from = middle + 1;
    else to = middle;
  }
  return from;
}
