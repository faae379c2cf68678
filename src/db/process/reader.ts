/**
 * One reader process as the pool sees it: a queue of units, answered in order.
 *
 * When the process goes, everything that it had not answered comes back to the pool: reading again is harmless. Only
 * the unit that overran its deadline is not tried again.
 */

import { RealClock } from "../../host/clock.ts";
import type { Unit } from "../sql/request.ts";
import type { Ask, FromReader, ReadOutcome, ToReader } from "./reader-messages.ts";
import { SqlProcess } from "./sql-process.ts";

/** What a reader opens, and the tables that may be read there; all when undefined. */
export type ReaderFile = {
  readonly path: string;
  readonly tables: readonly string[] | undefined;
};

/** A unit on its way to a reader. */
export type ReadJob = {
  readonly ask: Ask;
  readonly unit: Unit;
  /** A larger answer is given up: `isCut`. */
  readonly answerBytesMax?: number | undefined;
  /** Bound of one statement. */
  readonly deadlineMs: number;
  /** A transaction left open stays so: the unit belongs to a session. */
  readonly keep: boolean;
  readonly queuedMs: number;
  /** Processes that went while they ran it. */
  attempts: number;
  resolve(outcome: ReadOutcome): void;
  reject(error: Error): void;
};

/** What is left when a process is gone. */
export type ReaderRemains = {
  readonly why: string;
  /** The job for which it was killed. */
  readonly offender: ReadJob | undefined;
  /** The job that was running; the offender, if there is one. */
  readonly running: ReadJob | undefined;
  /** All jobs without an answer, in order. */
  readonly jobs: readonly ReadJob[];
  /** It had opened its database. */
  readonly wasOpen: boolean;
};

export type ReaderListener = {
  /** An answer has arrived. */
  onAnswer(reader: Reader): void;
  onFailed(job: ReadJob, message: string): void;
  onGone(reader: Reader, remains: ReaderRemains): void;
};

/** Job numbers fit the progress file. */
const jobNumbersMax = 2 ** 30;
const clock = new RealClock();

export class Reader {
  readonly #process: SqlProcess;
  readonly #listener: ReaderListener;
  readonly #jobsById = new Map<number, ReadJob>();
  #nextId = 0;
  #isOpen = false;
  #offender: ReadJob | undefined;
  /** When the oldest job became the oldest. */
  #headSinceMs = 0;
  /** Resolves when the database is open, or the process gone. */
  readonly opened: Promise<void>;
  readonly #onOpened: () => void;

  constructor(main: string, { path, tables }: ReaderFile, listener: ReaderListener) {
    this.#listener = listener;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.opened = promise;
    this.#onOpened = resolve;
    this.#process = new SqlProcess(main, {
      onMessage: (head, body) => this.#onMessage(head as FromReader, body),
      onGone: (why, progress) => this.#onGone(why, progress.unit),
    });
    this.#send({ type: "open", path, tables });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Jobs without an answer. */
  get load(): number {
    return this.#jobsById.size;
  }

  /** How long the oldest job has been the oldest; 0 when idle. */
  get busyMs(): number {
    return this.load === 0 ? 0 : clock.nowMs() - this.#headSinceMs;
  }

  get isGone(): boolean {
    return this.#process.isGone;
  }

  submit(job: ReadJob): void {
    const id = this.#nextId;
    this.#nextId = (id + 1) % jobNumbersMax;
    if (this.load === 0) this.#headSinceMs = clock.nowMs();
    this.#jobsById.set(id, job);
    const { ask, unit, keep, answerBytesMax } = job;
    const sent = ask === "next" ? undefined : unit;
    this.#send({ type: "run", id, ask, unit: sent, keep, answerBytesMax });
    if (this.load === 1) this.#watch();
  }

  /** Rolls back what a session left open. */
  reset(): void {
    this.#send({ type: "reset" });
  }

  kill(why: string): void {
    this.#process.kill(why);
  }

  #send(message: ToReader): void {
    this.#process.send(message);
  }

  #watch(): void {
    const head = () => this.#jobsById.values().next().value;
    this.#process.watch(
      ({ unit: id }) =>
        ((id === undefined ? undefined : this.#jobsById.get(id)) ?? head())!.deadlineMs,
      (id) => {
        this.#offender = id === undefined ? undefined : this.#jobsById.get(id);
      },
    );
  }

  #onMessage(message: FromReader, body: Uint8Array): void {
    if (message.type === "opened") {
      this.#isOpen = true;
      this.#onOpened();
      return;
    }
    if (message.id === undefined) {
      this.kill(message.type === "failed" ? message.message : "reader lost its way");
      return;
    }
    const job = this.#jobsById.get(message.id);
    this.#jobsById.delete(message.id);
    this.#headSinceMs = clock.nowMs();
    if (this.load === 0) this.#process.unwatch();
    if (job !== undefined) {
      if (message.type === "done") job.resolve(outcomeOf(message, body));
      else this.#listener.onFailed(job, message.message);
    }
    this.#listener.onAnswer(this);
  }

  #onGone(why: string, id: number | undefined): void {
    const running = this.#offender ?? (id === undefined ? undefined : this.#jobsById.get(id));
    const jobs = [...this.#jobsById.values()];
    this.#jobsById.clear();
    this.#onOpened();
    this.#listener.onGone(this, {
      why,
      offender: this.#offender,
      running,
      jobs,
      wasOpen: this.#isOpen,
    });
  }
}

function outcomeOf({ outcome, more }: Done, bytes: Uint8Array): ReadOutcome {
  return more === undefined ? outcome : { ...outcome, piece: { bytes, more } };
}

type Done = Extract<FromReader, { type: "done" }>;
