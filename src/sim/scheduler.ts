/**
 * Virtual time. Everything that happens in a simulated world is an event of this one queue; between two events only
 * microtasks run, and real work that was asked for with `outside`, and all of it. So equal seeds give equal stories.
 *
 * An event may belong to a life: one run of one simulated process. A dead process has no events any more, a paused
 * one has them later, in their order.
 */

/** One run of a process, from start to death. */
export class Life {
  alive = true;
  /** Nothing of it runs before this moment. */
  pausedUntilMs = 0;
  readonly name: string;
  /** Called with what an event of this life throws, which ends a real process. */
  readonly onThrown: (error: unknown) => void;

  constructor(name: string, onThrown: (error: unknown) => void) {
    this.name = name;
    this.onThrown = onThrown;
  }
}

type Event = {
  timeMs: number;
  readonly order: number;
  run: (() => void) | undefined;
  readonly life: Life | undefined;
};

export class Scheduler {
  #nowMs = 0;
  #order = 0;
  readonly #heap: Event[] = [];
  /** Pieces of real work that have not ended. */
  #outside = 0;
  #outsideTail: Promise<void> = Promise.resolve();
  /** Events run so far. */
  events = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Returns what cancels it. */
  after(ms: number, run: () => void, life?: Life): () => void {
    const timeMs = this.#nowMs + Math.max(0, ms);
    const event: Event = { timeMs, order: this.#order++, run, life };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  pause(ms: number, life?: Life): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve, life));
  }

  /**
   * Real work, of files or processes: one piece at a time, and no virtual time passes before all of it has ended. So
   * the order of things stays that of the story. Work that depends on virtual time would wait for ever.
   */
  outside<T>(work: () => Promise<T> | T): Promise<T> {
    this.#outside++;
    const result = this.#outsideTail.then(work);
    this.#outsideTail = result.then(
      () => {
        this.#outside--;
      },
      () => {
        this.#outside--;
      },
    );
    return result;
  }

  /** All microtasks, all real work, and what they bring about. */
  async settle(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#outside > 0) {
      await this.#outsideTail;
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** Runs events until `isOver` says so after one of them, or time is up. */
  async run(untilMs: number, isOver: (life: Life | undefined) => boolean): Promise<void> {
    await this.settle();
    while (this.#heap.length > 0 && this.#heap[0]!.timeMs <= untilMs) {
      const event = this.#pop();
      const { run, life } = event;
      if (run === undefined || life?.alive === false) continue;
      if (life !== undefined && life.pausedUntilMs > event.timeMs) {
        event.timeMs = life.pausedUntilMs;
        this.#push(event);
        continue;
      }
      this.#nowMs = event.timeMs;
      this.events++;
      try {
        run();
      } catch (error) {
        if (life === undefined) throw error;
        life.onThrown(error);
      }
      await this.settle();
      if (isOver(life)) return;
    }
    if (this.#nowMs < untilMs) this.#nowMs = untilMs;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.order < b.order);
}
