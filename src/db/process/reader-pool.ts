/**
 * The readers of a node: a few processes that answer units of any client, more of them for interactive read
 * transactions, and one warm spare that takes the place of whoever is killed.
 *
 * Invariants
 *   1. A unit is answered once, or refused once. When a process goes, its units are run again elsewhere; only the
 *      one that overran its deadline is refused (STATEMENT_TIMEOUT), or one that two processes in turn did not survive.
 *   2. A quick unit does not wait behind a slow one while another process could take it: nothing is sent to a
 *      process that has been busy with one unit for more than limits.readerBusyMs.
 *   3. At most limits.readersMax processes, and always room for stateless units: sessions get what is above `size`.
 */

import { ClientError } from "../../base/errors.ts";
import { type Cancel, RealClock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { Unit } from "../sql/request.ts";
import { Reader, type ReaderFile, type ReaderRemains, type ReadJob } from "./reader.ts";
import type { ReadOutcome } from "./reader-messages.ts";
import { ReaderSession } from "./reader-session.ts";

export type { ReaderSession, ReadOutcome };

export type ReadOptions = {
  /** How long the client is willing to wait: the bound of one statement, if that is shorter than the operator's. */
  readonly patienceMs: number | undefined;
  /** A larger answer is given up, and the outcome says `isCut`. */
  readonly answerBytesMax?: number | undefined;
  /** Aborted: the answer is not wanted any more. What runs already runs on, at most to its deadline. */
  readonly signal: AbortSignal;
};

export type PoolOptions = {
  /** Bound of one statement; limits.statementMs by default. */
  readonly statementMs?: number | undefined;
  /** Tables that may be read; all when undefined. */
  readonly tables?: readonly string[] | undefined;
  /** A line for the operator. */
  onEvent?(line: string): void;
};

/** A process that cannot open its database is replaced after a pause, longer each time. */
const reopenMinMs = 100;
const reopenMaxMs = 5_000;
/** How often waiting units are looked after while all readers are busy. */
const queueWatchMs = 50;
/** Processes beyond `size` end when they have been of no use for about this long. */
const trimMs = 10_000;
/** The spare starts when the first processes have had time to. */
const spareDelayMs = 500;

const clock = new RealClock();

export class ReaderPool {
  readonly #main: string;
  readonly #file: ReaderFile;
  /** Processes for stateless units that are always there. */
  readonly #size: number;
  readonly #statementMs: number;
  readonly #onEvent: (line: string) => void;
  /** Why no process could be started, as last told. */
  #told: string | undefined;
  /** For stateless units. */
  readonly #readers = new Set<Reader>();
  /** Each with a session. */
  readonly #pinned = new Set<Reader>();
  /** Finishing what they have, then ended: they look at a file that was replaced. */
  readonly #retiring = new Set<Reader>();
  /** Those that wait for a process of their own; a call lets one in. */
  #line: (() => void)[] = [];
  #spare: Reader | undefined;
  #queue: ReadJob[] = [];
  #isClosed = false;
  #reopenMs = reopenMinMs;
  #stopQueueWatch: Cancel | undefined;
  #stopTrim: Cancel | undefined;
  readonly #stopSpare: Cancel;
  /** For metrics. */
  readonly counters = { kills: 0, spawns: 0 };

  /** Starts `size` processes that run `main` and open the database at `path`. */
  static open(main: string, path: string, size: number, options: PoolOptions = {}): ReaderPool {
    return new ReaderPool(main, path, size, options);
  }

  private constructor(main: string, path: string, size: number, options: PoolOptions) {
    this.#main = main;
    this.#file = { path, tables: options.tables };
    this.#size = size;
    this.#statementMs = options.statementMs ?? limits.statementMs;
    this.#onEvent = options.onEvent ?? (() => {});
    for (let i = 0; i < size; i++) this.#readers.add(this.#spawn());
    this.#stopSpare = clock.after(spareDelayMs, () => this.#keepSpare());
  }

  /** Runs a unit in a read transaction of its own. Throws ClientError, or the signal's reason. */
  run(unit: Unit, options: ReadOptions): Promise<ReadOutcome> {
    const { signal } = options;
    const deadlineMs = this.#boundMs(options.patienceMs);
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = () => {
        this.#queue = this.#queue.filter((queued) => queued !== job);
        reject(signal.reason);
      };
      const job: ReadJob = {
        ask: "run",
        unit,
        answerBytesMax: options.answerBytesMax,
        deadlineMs,
        keep: false,
        queuedMs: clock.nowMs(),
        attempts: 0,
        resolve: (outcome) => {
          signal.removeEventListener("abort", onAbort);
          resolve(outcome);
        },
        reject: (error) => {
          signal.removeEventListener("abort", onAbort);
          reject(error);
        },
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#enqueue(job);
    });
  }

  /** Impatience must not cost a process for each read, and patience does not lift the operator's bound. */
  #boundMs(patienceMs: number | undefined): number {
    if (patienceMs === undefined) return this.#statementMs;
    return Math.min(this.#statementMs, Math.max(patienceMs, limits.patienceMinMs));
  }

  get #isFull(): boolean {
    return this.#pinned.size >= Math.max(1, limits.readersMax - this.#size);
  }

  #place(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (then: () => void) => () => {
        cancel();
        signal.removeEventListener("abort", onAbort);
        this.#line = this.#line.filter((each) => each !== admit);
        then();
      };
      const admit = leave(resolve);
      const gone = new ClientError("OVERLOADED", "the client hung up before it was its turn");
      const onAbort = leave(() => reject(gone));
      const message = `all ${this.#pinned.size} readers that may be kept are in use; try again`;
      const refuse = leave(() => reject(new ClientError("OVERLOADED", message)));
      const cancel = clock.after(limits.requestWaitMs, refuse);
      signal.addEventListener("abort", onAbort, { once: true });
      this.#line.push(admit);
    });
  }

  /**
   * A process of its own for one client, until the session is closed. With a signal it waits in line when all are in
   * use, for a bounded time; without one it is refused at once.
   */
  async openSession(waiting?: AbortSignal): Promise<ReaderSession> {
    while (waiting !== undefined && this.#isFull && !this.#isClosed) await this.#place(waiting);
    if (this.#isClosed) throw closed();
    if (this.#isFull) {
      throw new ClientError(
        "OVERLOADED",
        `${this.#pinned.size} read transactions are open, which is all this node allows; try again`,
      );
    }
    const reader = this.#takeIdle() ?? this.#takeSpare();
    const session = new ReaderSession(reader, this.#statementMs, () => this.#release(reader));
    this.#pinned.add(reader);
    return session;
  }

  /** The file was replaced: sessions end, running units finish, new processes open it. Resolves when they have. */
  async reopen(): Promise<void> {
    for (const reader of this.#pinned) reader.kill("the database was replaced");
    this.#spare?.kill("the database was replaced");
    this.#spare = undefined;
    const old = [...this.#readers];
    this.#readers.clear();
    for (const reader of old) {
      this.#retiring.add(reader);
      if (reader.load === 0) reader.kill("the database was replaced");
    }
    for (let i = 0; i < this.#size; i++) this.#readers.add(this.#spawn());
    this.#keepSpare();
    this.#dispatch();
    await Promise.all([...this.#readers].map((reader) => reader.opened));
  }

  close(): void {
    this.#isClosed = true;
    this.#stopSpare();
    this.#stopTrim?.();
    this.#stopQueueWatch?.();
    const queue = this.#queue;
    this.#queue = [];
    for (const job of queue) job.reject(closed());
    for (const admit of [...this.#line]) admit();
    for (const reader of this.#all()) reader.kill("the node is closing");
  }

  /** Process ids, for tests and for people. */
  get pids(): number[] {
    return [...this.#all()].flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  }

  #enqueue(job: ReadJob): void {
    if (this.#isClosed) {
      job.reject(closed());
    } else if (this.#queue.length >= limits.readQueueMax) {
      job.reject(
        new ClientError("OVERLOADED", `${this.#queue.length} reads are waiting; try again`),
      );
    } else {
      this.#queue.push(job);
      this.#dispatch();
    }
  }

  #dispatch(): void {
    let at = 0;
    while (at < this.#queue.length) {
      const reader = this.#leastLoaded();
      if (reader === undefined) break;
      reader.submit(this.#queue[at]!);
      at++;
    }
    if (at > 0) this.#queue = this.#queue.slice(at);
    if (this.#queue.length > 0) {
      this.#stopQueueWatch ??= clock.every(queueWatchMs, () => this.#watchQueue());
    }
  }

  /** An idle process, or the least loaded of those that are quick at the moment. */
  #leastLoaded(): Reader | undefined {
    let best: Reader | undefined;
    for (const reader of this.#readers) {
      if (reader.isGone) continue;
      if (reader.load === 0) return reader;
      if (reader.load >= limits.readerDepth || reader.busyMs >= limits.readerBusyMs) continue;
      if (best === undefined || reader.load < best.load) best = reader;
    }
    return best;
  }

  /** Something has waited: give it another process, or refuse it when it has waited too long. */
  #watchQueue(): void {
    const [first] = this.#queue;
    if (first === undefined) {
      this.#stopQueueWatch?.();
      this.#stopQueueWatch = undefined;
      return;
    }
    const nowMs = clock.nowMs();
    while (nowMs - (this.#queue[0]?.queuedMs ?? nowMs) > limits.requestWaitMs) {
      const message = `no reader was free within ${limits.requestWaitMs} ms; try again`;
      this.#queue.shift()!.reject(new ClientError("OVERLOADED", message));
    }
    // More processes help against slow units, not against many quick ones.
    const isStuck = [...this.#readers].every((reader) => reader.busyMs >= queueWatchMs);
    if (isStuck && this.#readers.size + this.#pinned.size < limits.readersMax) {
      this.#readers.add(this.#takeSpare());
      this.#planTrim();
    }
    this.#dispatch();
  }

  #onAnswer(reader: Reader): void {
    if (this.#retiring.has(reader) && reader.load === 0) reader.kill("the database was replaced");
    if (this.#queue.length > 0) this.#dispatch();
  }

  #onGone(reader: Reader, remains: ReaderRemains): void {
    if (this.#pinned.delete(reader)) this.#line[0]?.();
    this.#retiring.delete(reader);
    const wasReader = this.#readers.delete(reader);
    const wasSpare = this.#spare === reader;
    if (wasSpare) this.#spare = undefined;
    const again: ReadJob[] = [];
    for (const job of remains.jobs) {
      if (job === remains.running) job.attempts++;
      const error = this.#verdict(job, remains);
      if (error === undefined && !job.keep) again.push(job);
      else job.reject(error ?? sessionLost(remains.why));
    }
    this.#queue = [...again, ...this.#queue];
    if (this.#isClosed) return;
    if (remains.offender !== undefined) this.counters.kills++;
    if (remains.wasOpen) this.#replace(wasReader);
    else if (wasReader || wasSpare) this.#replaceLater(remains.why, wasReader);
    this.#dispatch();
  }

  /** Why a job of a process that is gone is not tried again. */
  #verdict(job: ReadJob, remains: ReaderRemains): ClientError | undefined {
    if (this.#isClosed) return closed();
    if (job === remains.offender) return new ClientError("STATEMENT_TIMEOUT", remains.why);
    if (job.attempts < 2) return undefined;
    return new ClientError("INTERNAL", `the process that ran this request ended: ${remains.why}`);
  }

  #replace(wasReader: boolean): void {
    this.#reopenMs = reopenMinMs;
    this.#told = undefined;
    if (wasReader && this.#readers.size < this.#size) this.#readers.add(this.#takeSpare());
    else this.#keepSpare();
  }

  /** The database cannot be opened. Nobody waits for that. */
  #replaceLater(why: string, wasReader: boolean): void {
    if (why !== this.#told)
      this.#onEvent(`a process for reads could not start: ${why}; trying again`);
    this.#told = why;
    clock.after(this.#reopenMs, () => {
      if (this.#isClosed || !wasReader || this.#readers.size >= this.#size) return;
      this.#readers.add(this.#spawn());
      this.#dispatch();
    });
    this.#reopenMs = Math.min(this.#reopenMs * 2, reopenMaxMs);
    if (this.#readers.size > 0) return;
    const queue = this.#queue;
    this.#queue = [];
    for (const job of queue)
      job.reject(new ClientError("STORAGE", `no reader could start: ${why}`));
  }

  /** A session has ended. */
  #release(reader: Reader): void {
    if (!this.#pinned.delete(reader) || reader.isGone) return;
    if (reader.load > 0) {
      // Its client went away in the middle of a statement.
      reader.kill("the session was closed");
      return;
    }
    reader.reset();
    this.#readers.add(reader);
    this.#line[0]?.();
    this.#planTrim();
    this.#dispatch();
  }

  #takeIdle(): Reader | undefined {
    if (this.#readers.size <= this.#size) return undefined;
    for (const reader of this.#readers) {
      if (reader.load > 0 || reader.isGone) continue;
      this.#readers.delete(reader);
      return reader;
    }
    return undefined;
  }

  #takeSpare(): Reader {
    const reader = this.#spare ?? this.#spawn();
    this.#spare = undefined;
    this.#keepSpare();
    return reader;
  }

  #keepSpare(): void {
    if (!this.#isClosed) this.#spare ??= this.#spawn();
  }

  #planTrim(): void {
    this.#stopTrim ??= clock.after(trimMs, () => {
      this.#stopTrim = undefined;
      for (const reader of this.#readers) {
        if (this.#readers.size <= this.#size) return;
        if (reader.load > 0) continue;
        this.#readers.delete(reader);
        reader.kill("not needed any more");
      }
      if (this.#readers.size > this.#size) this.#planTrim();
    });
  }

  #spawn(): Reader {
    this.counters.spawns++;
    return new Reader(this.#main, this.#file, {
      onAnswer: (reader) => this.#onAnswer(reader),
      onFailed: (job, message) => job.reject(new ClientError("STORAGE", message)),
      onGone: (reader, remains) => this.#onGone(reader, remains),
    });
  }

  *#all(): Iterable<Reader> {
    yield* this.#readers;
    yield* this.#pinned;
    yield* this.#retiring;
    if (this.#spare !== undefined) yield this.#spare;
  }
}

function closed(): ClientError {
  return new ClientError("NOT_READY", "this node is shutting down; ask another node");
}

function sessionLost(why: string): ClientError {
  return new ClientError("TRANSACTION_LOST", `the read transaction is lost: ${why}; begin again`);
}
