/**
 * Runs SQLite's checkpoints of the served database. PASSIVE in a thread (checkpoint-worker.ts), started at the
 * first call; TRUNCATE on a connection of the main thread, because the write lock must not be free for longer than
 * it takes.
 *
 * It knows nothing of read marks and locks: served.ts calls it at the right moment, one call at a time.
 */

import { once } from "node:events";
import { DatabaseSync } from "node:sqlite";
import { Worker } from "node:worker_threads";
import { CorruptionError, StorageError } from "../../../base/errors.ts";
import type { EntryId, Lsn, Term } from "../../../vocabulary.ts";
import type { CheckpointReply } from "./checkpoint-worker.ts";
import { translated } from "./sqlite-errors.ts";

export class Checkpointer {
  readonly #path: string;
  /** Runs TRUNCATE, and reads the position row. Never inside a transaction between two calls. */
  readonly #connection: DatabaseSync;
  #worker: Worker | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#connection = translated(() => new DatabaseSync(path, { timeout: 0 }));
    translated(() =>
      this.#connection.exec("PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = NORMAL"),
    );
  }

  /** The row of the system table: what the database says it is. */
  readPosition(): EntryId {
    const rows = translated(() =>
      this.#connection.prepare("SELECT term, lsn FROM sqlite_paceline").all(),
    );
    const row = rows[0];
    if (rows.length !== 1 || row === undefined) {
      throw new CorruptionError(`sqlite_paceline has ${rows.length} rows, not 1`);
    }
    return { lsn: Number(row["lsn"]) as Lsn, term: Number(row["term"]) as Term };
  }

  /** Copies what readers allow from the WAL into the database; returns up to which frame that is done. */
  async passive(): Promise<number> {
    const worker = this.#startedWorker();
    worker.ref();
    worker.postMessage("passive");
    const [reply] = (await once(worker, "message")) as [CheckpointReply];
    worker.unref();
    if (reply.type === "failed") throw new StorageError(`checkpoint failed: ${reply.message}`);
    return reply.checkpointed;
  }

  /** Empties the WAL; false when a reader or a writer is in the way. The write lock must be free. */
  truncateNow(): boolean {
    const row = translated(() => this.#connection.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get());
    return Number(row?.["busy"]) === 0;
  }

  /** Makes sure that no reader is in the log, whose frames are all copied. The write lock must be free. */
  restartNow(): boolean {
    const row = translated(() => this.#connection.prepare("PRAGMA wal_checkpoint(RESTART)").get());
    return Number(row?.["busy"]) === 0;
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    if (worker !== undefined) {
      const exited = once(worker, "exit");
      worker.ref();
      worker.postMessage("close");
      await exited;
    }
    this.#connection.close();
  }

  #startedWorker(): Worker {
    if (this.#worker === undefined) {
      const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
      const main = new URL(`./checkpoint-worker.${extension}`, import.meta.url);
      this.#worker = new Worker(main, { workerData: this.#path });
    }
    return this.#worker;
  }
}
