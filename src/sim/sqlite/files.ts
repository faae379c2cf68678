/**
 * The real files of one simulated machine. Each run of its process has a directory of its own, so that what a dead
 * process still holds open is no part of what the next one finds: a crash copies what it leaves into a new one.
 *
 *   <root>/1/db/main.sqlite …    first run
 *   <root>/2/db/main.sqlite …    what a crash left of it
 *
 * SQLite's own fsyncs cannot be seen from here, so whoever calls it says what is durable by now (`noteSynced`).
 *
 * POSIX locks: the process closes no descriptor of a database while it has connections to it; see db/served.
 */

import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { assert } from "../../base/assert.ts";
import type { Prng } from "../../base/prng.ts";
import { type Layout, layoutOf } from "../../db/served/layout.ts";
import { afterPowerCut, isEqual } from "./crash-image.ts";

const nothing = new Uint8Array();

/** A checkpoint that has ended, while nothing else has happened since: power may have failed in the middle of it. */
type Checkpoint = { readonly db: Uint8Array; readonly wal: Uint8Array };

export class SqliteFiles {
  readonly #root: string;
  #run = 0;
  /** What of the WAL a power cut leaves untouched. */
  #syncedWal: Uint8Array = nothing;
  #checkpoint: Checkpoint | undefined;
  /** Descriptors of database files, closed when the run is over and its connections are. */
  #held: number[] = [];

  constructor(root: string) {
    this.#root = root;
    this.#makeRun();
  }

  /** Data directory of the present run. */
  get dir(): string {
    return join(this.#root, String(this.#run));
  }

  get layout(): Layout {
    return layoutOf(this.dir);
  }

  get exists(): boolean {
    return existsSync(this.layout.db) || existsSync(this.layout.ready);
  }

  /** The WAL as it is now. No lock is on it, so it may be opened and closed. */
  wal(): Uint8Array {
    const path = `${this.layout.db}-wal`;
    return existsSync(path) ? new Uint8Array(readFileSync(path)) : nothing;
  }

  /** The database file as it is now, without its WAL. */
  db(): Uint8Array {
    const fd = this.#hold(this.layout.db, "r");
    const bytes = new Uint8Array(fstatSync(fd).size);
    readSync(fd, bytes, 0, bytes.byteLength, 0);
    return bytes;
  }

  /** Everything in the WAL is durable. */
  noteSynced(wal: Uint8Array = this.wal()): void {
    this.#syncedWal = wal;
    this.#checkpoint = undefined;
  }

  /** Frames were appended. `before` is the WAL before that; it is given if a new header was written, and synced. */
  noteApplied(before: Uint8Array | undefined): void {
    this.#checkpoint = undefined;
    if (before === undefined) return;
    const synced = new Uint8Array(Math.max(before.byteLength, walHeaderBytes));
    synced.set(before);
    synced.set(this.wal().subarray(0, walHeaderBytes));
    this.#syncedWal = synced;
  }

  /**
   * A checkpoint has ended. SQLite syncs the WAL before it copies anything, and the database before it says that a
   * part of the WAL is not needed any more.
   */
  noteCheckpoint(before: Checkpoint, isComplete: boolean): void {
    if (!isComplete && isEqual(before.db, this.db())) return;
    this.noteSynced();
    this.#checkpoint = before;
  }

  /** Writes into the database file, behind everyone's back. */
  patch(at: number, bytes: Uint8Array): void {
    writeSync(this.#hold(this.layout.db, "r+"), bytes, 0, bytes.byteLength, at);
  }

  /** The process has ended. Returns what closes the old run, once its connections are closed. */
  crash(how: "kill" | "power", prng: Prng): () => void {
    const old = this.layout;
    const end = this.#ending();
    const isThere = existsSync(old.db);
    let db = isThere ? this.db() : nothing;
    let wal = this.wal();
    if (how === "power") {
      const { db: dbBefore, wal: walBefore } = this.#checkpoint ?? { db: undefined, wal: nothing };
      if (dbBefore !== undefined && prng.chance(0.5)) {
        db = afterPowerCut(dbBefore, db, prng);
        wal = walBefore;
      } else {
        wal = afterPowerCut(this.#syncedWal, wal, prng);
      }
    }
    const held = this.#held;
    this.#held = [];
    this.#makeRun();
    const { layout } = this;
    if (isThere) writeFileSync(layout.db, db);
    if (wal.byteLength > 0) writeFileSync(`${layout.db}-wal`, wal);
    const isStagedKept = how === "kill" || prng.chance(0.5);
    if (isStagedKept && existsSync(old.staged)) copyFileSync(old.staged, layout.staged);
    if (existsSync(old.ready)) copyFileSync(old.ready, layout.ready);
    this.#syncedWal = wal;
    this.#checkpoint = undefined;
    return () => end(held);
  }

  /** An empty disk. */
  wipe(): () => void {
    const end = this.#ending();
    const held = this.#held;
    this.#held = [];
    this.#makeRun();
    this.#syncedWal = nothing;
    this.#checkpoint = undefined;
    return () => end(held);
  }

  #ending(): (held: readonly number[]) => void {
    const { dir } = this;
    return (held) => {
      for (const fd of held) closeSync(fd);
      rmSync(dir, { recursive: true, force: true });
    };
  }

  #makeRun(): void {
    this.#run++;
    const { dbDir, stagingDir } = this.layout;
    mkdirSync(dbDir, { recursive: true });
    mkdirSync(stagingDir, { recursive: true });
  }

  #hold(path: string, mode: "r" | "r+"): number {
    const fd = openSync(path, mode);
    assert(this.#held.length < 10_000, "descriptors run out");
    this.#held.push(fd);
    return fd;
  }
}

const walHeaderBytes = 32;
