/**
 * The process of a follower that runs again what the leader recorded, as its node sees it: one child from spawn to
 * SIGKILL, on one scratch database that has everything applied so far.
 */

import { assert } from "../../../base/assert.ts";
import { CorruptionError, StorageError } from "../../../base/errors.ts";
import type { EntryId } from "../../../vocabulary.ts";
import { SqlProcess } from "../sql-process.ts";
import type { FromWriter, ToWriter } from "../writer-messages.ts";

/** Encoded pages that an entry changes here, and how long the scratch WAL has become. */
export type Replayed = { readonly pages: Uint8Array; readonly frames: number };

type Waiting = {
  resolve(reply: Replayed | undefined): void;
  reject(error: Error): void;
};

export class ReplayProcess {
  readonly #process: SqlProcess;
  /** What is outstanding: one thing at a time. */
  #waiting: Waiting | undefined;

  readonly #tables: readonly string[] | undefined;

  /** `main` is that of a writer; `tables` those whose rows are kept, all when undefined. */
  static spawn(main: string, tables?: readonly string[] | undefined): ReplayProcess {
    return new ReplayProcess(main, tables);
  }

  private constructor(main: string, tables: readonly string[] | undefined) {
    this.#tables = tables;
    this.#process = new SqlProcess(main, {
      onMessage: (head, body) => this.#onMessage(head as FromWriter, body),
      onGone: (why) =>
        this.#settle(new StorageError(`the process that applies rows ended: ${why}`)),
    });
  }

  /** Opens a scratch database. Throws StorageError when it cannot be opened. */
  async open(scratchPath: string): Promise<void> {
    await this.#ask({ type: "open-replay", path: scratchPath, tables: this.#tables });
  }

  /**
   * Runs what was recorded of one entry. Throws CorruptionError when this copy turns out to differ from the leader's,
   * StorageError when the process ended; in both cases the process is of no more use.
   */
  async replay(position: EntryId, section: Uint8Array): Promise<Replayed> {
    const { lsn, term } = position;
    const reply = await this.#ask({ type: "replay", lsn, term }, section);
    assert(reply !== undefined, "an entry has pages");
    return reply;
  }

  kill(): void {
    this.#process.kill("it is no longer needed");
  }

  #ask(message: ToWriter, section?: Uint8Array): Promise<Replayed | undefined> {
    assert(this.#waiting === undefined, "one thing at a time");
    if (this.#process.isGone) return Promise.reject(new StorageError("the process is gone"));
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#process.send(message, section);
    });
  }

  #onMessage(message: FromWriter, body: Uint8Array): void {
    if (message.type === "opened") this.#settle(undefined);
    else if (message.type === "replayed") this.#settle({ pages: body, frames: message.frames });
    else if (message.type === "differs") this.#settle(new CorruptionError(message.message));
    else if (message.type === "failed") this.#settle(new StorageError(message.message));
  }

  #settle(outcome: Replayed | undefined | Error): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (outcome instanceof Error) waiting?.reject(outcome);
    else waiting?.resolve(outcome);
  }
}
