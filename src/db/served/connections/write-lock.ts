/**
 * SQLite's write lock on the served database, held for the life of the node: a foreign writer gets `database is
 * locked` and nothing else. It is a connection of its own in which nothing but BEGIN IMMEDIATE and COMMIT is ever
 * run.
 *
 * COMMIT and never ROLLBACK: we append frames behind this connection's back, and ROLLBACK would copy the new
 * wal-index header into it while its page cache is old. Its next write would pass for current and erase rows
 * [sqlite-facts 1.2].
 *
 * The lock comes with a read mark, and no checkpoint goes past a read mark. So before a checkpoint `repin` lets go
 * and takes the lock again in one breath, which moves the mark to the last frame. Between the two another process
 * may write. We cannot prevent that, but served.ts sees it in the wal-index header and says so.
 */

import { DatabaseSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import { StorageError } from "../../../base/errors.ts";
import { isBusy, translated } from "./sqlite-errors.ts";

/**
 * Tries in a row, and how often that is repeated after a pause. Readers take the lock for microseconds when they meet
 * a torn header.
 */
const triesAtOnce = 20;
const triesWithPause = 500;
const pauseMs = 10;

export class WriteLock {
  readonly #connection: DatabaseSync;
  #held = false;

  /** Opens the connection, which runs SQLite's recovery if the last user died, and takes the lock. */
  static async open(path: string): Promise<WriteLock> {
    const lock = new WriteLock(path);
    try {
      await lock.acquire();
    } catch (error) {
      lock.#connection.close();
      throw error;
    }
    return lock;
  }

  private constructor(path: string) {
    this.#connection = translated(() => new DatabaseSync(path, { timeout: 0 }));
    translated(() => this.#connection.exec("PRAGMA wal_autocheckpoint = 0"));
  }

  /** Takes the lock before anything else gets a turn; false when another process has it. */
  acquireNow(): boolean {
    for (let i = 0; i < triesAtOnce && !this.#held; i++) this.#tryOnce();
    return this.#held;
  }

  /** Takes the lock, waiting if need be. StorageError when the other process does not let go. */
  async acquire(): Promise<void> {
    for (let i = 0; i < triesWithPause; i++) {
      if (this.acquireNow()) return;
      await pause(pauseMs);
    }
    throw new StorageError("another process holds the write lock of the served database");
  }

  /** Lets go of the lock and of the read mark. */
  release(): void {
    if (!this.#held) return;
    translated(() => this.#connection.exec("COMMIT"));
    this.#held = false;
  }

  /** Moves the read mark to the last frame. */
  async repin(): Promise<void> {
    this.release();
    await this.acquire();
  }

  close(): void {
    this.release();
    this.#connection.close();
  }

  #tryOnce(): void {
    try {
      this.#connection.exec("BEGIN IMMEDIATE");
      this.#held = true;
    } catch (error) {
      if (isBusy(error)) return;
      translated(() => {
        throw error;
      });
    }
  }
}
