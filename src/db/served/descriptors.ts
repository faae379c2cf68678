/**
 * The raw file descriptors of one database: `db`, `-wal` and `-shm`. The only module that opens them [D4].
 *
 * POSIX drops every lock that a process holds on a file as soon as the process closes *any* descriptor of it. SQLite
 * keeps its locks on `db` and `-shm`, so a stray open and close of one of them takes the locks away under a running
 * connection, and acknowledged commits vanish. Hence:
 *   1. Each file is opened once, here, and stays open as long as a connection of this process is open on it.
 *   2. `close` is called after the last connection was closed.
 *   3. `-shm` is opened after a connection has used it: the first one truncates it.
 *
 * Failures become StorageError. Reads and writes are complete or throw; reads past the end give fewer bytes.
 */

import { closeSync, fdatasync, fstatSync, openSync, read, readSync, writeSync } from "node:fs";
import { messageOf, StorageError } from "../../base/errors.ts";

/** One of the files; `-shm` is written only through its offset rules in wal/wal-index.ts. */
export type DatabaseFile = "db" | "wal" | "shm";

const suffixes: Record<DatabaseFile, string> = { db: "", wal: "-wal", shm: "-shm" };

export class Descriptors {
  readonly #path: string;
  /** Open descriptors by file; a file appears once and stays. */
  readonly #fdByFile = new Map<DatabaseFile, number>();
  /** Asynchronous operations under way. Descriptors are closed when there are none. */
  #underWay = 0;
  #onIdle: (() => void) | undefined;

  /** `path` is that of the database; nothing is opened yet. */
  constructor(path: string) {
    this.#path = path;
  }

  /** Opens a file if that was not done before. `-wal` is never created here: SQLite does that. */
  open(file: DatabaseFile, mode: "r" | "r+"): void {
    if (this.#fdByFile.has(file)) return;
    const fd = this.#try(`open ${file}`, () => openSync(this.#path + suffixes[file], mode));
    this.#fdByFile.set(file, fd);
  }

  size(file: DatabaseFile): number {
    return this.#try(`stat ${file}`, () => fstatSync(this.#fd(file)).size);
  }

  /** Fills `into` from `at` on and returns how many bytes there were. From the page cache this takes microseconds. */
  readNow(file: DatabaseFile, into: Uint8Array, at: number): number {
    return this.#try(`read ${file}`, () => {
      let done = 0;
      while (done < into.byteLength) {
        const n = readSync(this.#fd(file), into, done, into.byteLength - done, at + done);
        if (n === 0) break;
        done += n;
      }
      return done;
    });
  }

  /** The same without holding up the event loop; for what may have to come from the disk. */
  async read(file: DatabaseFile, into: Uint8Array, at: number): Promise<number> {
    const fd = this.#fd(file);
    let done = 0;
    while (done < into.byteLength) {
      const n = await this.#operation<number>(`read ${file}`, (callback) =>
        read(fd, into, done, into.byteLength - done, at + done, callback),
      );
      if (n === 0) break;
      done += n;
    }
    return done;
  }

  writeNow(file: "wal" | "shm", bytes: Uint8Array, at: number): void {
    this.#try(`write ${file}`, () => {
      let done = 0;
      while (done < bytes.byteLength) {
        done += writeSync(this.#fd(file), bytes, done, bytes.byteLength - done, at + done);
      }
    });
  }

  /** Makes what was written to the WAL durable. After a failure nothing is known and nothing may be retried. */
  async syncWal(): Promise<void> {
    const fd = this.#fd("wal");
    await this.#operation("sync wal", (callback) => fdatasync(fd, callback));
  }

  /** Waits for what is under way and closes. No connection of this process may be open on the database. */
  async close(): Promise<void> {
    if (this.#underWay > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    for (const fd of this.#fdByFile.values()) closeSync(fd);
    this.#fdByFile.clear();
  }

  #fd(file: DatabaseFile): number {
    const fd = this.#fdByFile.get(file);
    if (fd === undefined) throw new StorageError(`${this.#path}${suffixes[file]} is not open`);
    return fd;
  }

  #try<T>(what: string, action: () => T): T {
    try {
      return action();
    } catch (cause) {
      throw new StorageError(`cannot ${what} of ${this.#path}: ${messageOf(cause)}`, { cause });
    }
  }

  #operation<T>(
    what: string,
    start: (callback: (error: Error | null, result?: T) => void) => void,
  ): Promise<T> {
    this.#underWay++;
    return new Promise<T>((resolve, reject) => {
      start((error, result) => {
        this.#underWay--;
        if (this.#underWay === 0) this.#onIdle?.();
        if (error === null) return resolve(result as T);
        const message = `cannot ${what} of ${this.#path}: ${error.message}`;
        reject(new StorageError(message, { cause: error }));
      });
    });
  }
}
