/**
 * The writer process as the leader sees it: one child from spawn to SIGKILL, on one scratch database.
 *
 *   spawn → (warm: modules loaded, nothing opened) → open → run, run, … → kill
 *
 * What a killed writer was doing is lost altogether: the scratch WAL goes with it, and nobody had been answered.
 */

import { statSync } from "node:fs";
import { assert } from "../../base/assert.ts";
import { StorageError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import { frameBytes, walHeaderBytes } from "../../wal/format.ts";
import type { Recording } from "../record/recording.ts";
import { type RunFailureReason, tooLarge } from "../scratch/run-failure.ts";
import type { UnitOutcome } from "../sql/request.ts";
import type { Progress } from "./progress.ts";
import { SqlProcess } from "./sql-process.ts";
import type { FromWriter, RunRequest, ToWriter } from "./writer-messages.ts";

export type { RunRequest };

export type WriterRun =
  | {
      readonly type: "done";
      /** One per unit that was started. Fewer than asked for: a transaction was left open, or answers grew large. */
      readonly outcomes: readonly UnitOutcome[];
      /** The last of them left its transaction open. */
      readonly open: boolean;
      /** The entry of everything committed, encoded; undefined when nothing was. Its memory is the receiver's. */
      readonly body: Uint8Array | undefined;
      /** Encoded pages of the same, if the entry goes without them. */
      readonly pages?: Uint8Array | undefined;
      /** What the operator should know of how statements travel; each is told once. */
      readonly warnings?: readonly string[] | undefined;
      /** Committed frames in the scratch WAL. */
      readonly frames: number;
    }
  | {
      readonly type: "killed";
      /** Number of the unit that overran its deadline; -1 when the process ended for another reason. */
      readonly offender: number;
      /** Number of the unit that was running when the process ended; -1 when none was. */
      readonly running: number;
      readonly message: string;
      /** What the process found out about the run itself. */
      readonly reason?: RunFailureReason | undefined;
    };

export type WriterOptions = {
  /** Bound of one statement; limits.statementMs by default. */
  readonly statementMs?: number | undefined;
};

const tooLargeSlackBytes = 32 * 1024 * 1024;

type Waiting =
  | { readonly type: "open"; resolve(): void; reject(error: Error): void }
  | { readonly type: "run"; resolve(reply: WriterRun): void };

export class Writer {
  readonly #process: SqlProcess;
  readonly #statementMs: number;
  /** What is outstanding: one thing at a time. */
  #waiting: Waiting | undefined;
  /** The unit for which the watch killed the process. */
  #offender = -1;
  #failure: string | undefined;
  #reason: RunFailureReason | undefined;
  #scratchPath = "";
  /** Frames of it that are committed. */
  #frames = 0;
  /** Resolves when the process is gone. */
  readonly closed: Promise<void>;

  /** Starts a process. It can be told to open a database at once; that waits until it is up. */
  static spawn(main: string, options: WriterOptions = {}): Writer {
    return new Writer(main, options.statementMs ?? limits.statementMs);
  }

  private constructor(main: string, statementMs: number) {
    this.#statementMs = statementMs;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#process = new SqlProcess(main, {
      onMessage: (head, body) => this.#onMessage(head as FromWriter, body),
      onGone: (why, progress) => {
        this.#onGone(why, progress);
        resolve();
      },
    });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Opens a scratch database. Throws StorageError when it cannot be opened; the writer is then dead. */
  open(scratchPath: string, recording?: Recording): Promise<void> {
    assert(this.#waiting === undefined, "writer is busy");
    if (this.#process.isGone) return Promise.reject(new StorageError("the writer process is gone"));
    return new Promise((resolve, reject) => {
      this.#scratchPath = scratchPath;
      this.#waiting = { type: "open", resolve, reject };
      this.#send({ type: "open", path: scratchPath, recording });
    });
  }

  /** Runs units. One call at a time. Never rejects: a writer that dies under it gives "killed". */
  run(request: RunRequest): Promise<WriterRun> {
    assert(this.#waiting === undefined, "writer is busy");
    return new Promise((resolve) => {
      if (this.#process.isGone) {
        resolve({
          type: "killed",
          offender: -1,
          running: -1,
          message: "the writer process is gone",
        });
        return;
      }
      this.#waiting = { type: "run", resolve };
      this.#send({ type: "run", request });
      this.#process.watch(
        ({ upkeep }) => this.#statementMs + (upkeep ? this.#upkeepMs() : 0),
        (unit) => {
          this.#offender = unit ?? -1;
        },
        () => this.#endIfTooLarge(),
      );
    });
  }

  /** How much longer a statement may take that works on whole tables, or on the whole database. */
  #upkeepMs(): number {
    const bytes = sizeOf(this.#scratchPath) + sizeOf(`${this.#scratchPath}-wal`);
    return bytes / limits.upkeepBytesPerMs;
  }

  /**
   * A statement may write for long before its process can say how much. SQLite writes a page of one transaction once,
   * so what the WAL has beyond the last commit tells; some slack is for pages that a cache was too small for.
   */
  #endIfTooLarge(): void {
    const frames =
      (sizeOf(`${this.#scratchPath}-wal`) - walHeaderBytes) / frameBytes(limits.pageSize);
    const bytes = (frames - this.#frames) * limits.pageSize;
    if (bytes <= limits.transactionBytesMax + tooLargeSlackBytes) return;
    const { reason, message } = tooLarge();
    this.#reason = reason;
    this.#process.kill(message);
  }

  kill(): void {
    this.#process.kill("the writer was ended by its node");
  }

  #send(message: ToWriter): void {
    this.#process.send(message);
  }

  #onMessage(message: FromWriter, body: Uint8Array): void {
    const waiting = this.#waiting;
    if (message.type === "failed") {
      // What it was doing is unknown now: it ends, and what waits is told with the reason.
      this.#failure = message.message;
      this.#reason = message.reason;
      this.#process.kill(message.message);
      return;
    }
    if (message.type === "opened") {
      assert(waiting?.type === "open", "writer opened unasked");
      this.#waiting = undefined;
      this.#frames = message.frames ?? 0;
      waiting.resolve();
      return;
    }
    assert(waiting?.type === "run" && message.type === "done", "writer answered unasked");
    this.#waiting = undefined;
    this.#process.unwatch();
    this.#frames = message.frames;
    waiting.resolve({
      type: "done",
      outcomes: message.outcomes,
      open: message.open,
      ...parted(body, message.pagesBytes),
      frames: message.frames,
      warnings: message.warnings,
    });
  }

  #onGone(why: string, progress: Progress): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting?.type === "open") waiting.reject(new StorageError(this.#failure ?? why));
    if (waiting?.type !== "run") return;
    const running = progress.unit ?? -1;
    const reason = this.#reason;
    waiting.resolve({ type: "killed", offender: this.#offender, running, message: why, reason });
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** The entry and the pages that stay here. */
export function parted(bytes: Uint8Array, pagesBytes: number): Pick<Done, "body" | "pages"> {
  if (bytes.byteLength === 0) return { body: undefined };
  if (pagesBytes === 0) return { body: bytes };
  const at = bytes.byteLength - pagesBytes;
  return { body: bytes.subarray(0, at), pages: bytes.subarray(at) };
}

type Done = Extract<WriterRun, { type: "done" }>;
