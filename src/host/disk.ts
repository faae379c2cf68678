/**
 * The port to files. Thinks in bytes and paths; knows no format. `sim/disk.ts` is its simulated twin.
 *
 * What is promised, and nothing more:
 *   - a write is durable after `syncData` of its file; before that a power cut keeps any mix of old and new sectors
 *   - a name (created, renamed, removed) is durable after `syncDirectory` of its directory; before that a power cut
 *     keeps any of the names that are in doubt. `makeDirectory` and `replaceFile` do this themselves.
 *   - every failure is a StorageError that names operation and path, with the system's error as `cause`
 *
 * A failed sync is never repeated here and must not be by the caller: the kernel reports it once and drops what it
 * could not write, so a second success would be a lie [sqlite-facts 5].
 *
 * Not here: locks, and SQLite's files; db/ owns their descriptors [D4].
 */

import { close, constants, fdatasync, fstat, fsync, ftruncate, open, read, writev } from "node:fs";
import { access, mkdir, readdir, rename, stat, unlink } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { promisify } from "node:util";
import { messageOf, StorageError } from "../base/errors.ts";

/** An open file. Reads and writes name their offset; there is no position. Calls may overlap unless they write. */
export interface DiskFile {
  readonly path: string;
  /** Up to `length` bytes from `offset`; fewer only at the end of the file. The caller owns the result. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Writes the parts one after the other from `offset` on, in one call to the system. Extends the file as needed. */
  write(offset: number, parts: readonly Uint8Array[]): Promise<void>;
  truncate(size: number): Promise<void>;
  size(): Promise<number>;
  /** fdatasync: content and size become durable, the name does not. */
  syncData(): Promise<void>;
  close(): Promise<void>;
}

export interface Disk {
  /** `create` makes the file if it is not there and empties it if it is; `open` needs it. Both read and write. */
  open(path: string, mode: "open" | "create"): Promise<DiskFile>;
  exists(path: string): Promise<boolean>;
  /** Names in a directory, sorted. */
  list(path: string): Promise<string[]>;
  /** With its parents; durable when it resolves. Harmless when it is there. */
  makeDirectory(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Of a file. Harmless when it is not there. */
  remove(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  readFile(path: string): Promise<Uint8Array>;
  /** The whole content at once, old or new after a crash: temp file, sync, rename, sync of the directory. */
  replaceFile(path: string, bytes: Uint8Array): Promise<void>;
}

/** `readFile` for any Disk. */
export async function readWhole(disk: Disk, path: string): Promise<Uint8Array> {
  const file = await disk.open(path, "open");
  try {
    return await file.read(0, await file.size());
  } finally {
    await file.close();
  }
}

/** `replaceFile` for any Disk. The temp file is `path` with `.tmp` behind it; a crash may leave it there. */
export async function replaceWhole(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const temp = `${path}.tmp`;
  const file = await disk.open(temp, "create");
  try {
    await file.write(0, [bytes]);
    // Before the rename: else the new name could be durable and its content not.
    await file.syncData();
  } finally {
    await file.close();
  }
  await disk.rename(temp, path);
  await disk.syncDirectory(dirname(path));
}

// Callbacks made to promises, because a FileHandle costs more per call, and the log pays it for every batch.
const openAsync = promisify(open);
const closeAsync = promisify(close);
const readAsync = promisify(read);
const writevAsync = promisify(writev);
const fdatasyncAsync = promisify(fdatasync);
const fsyncAsync = promisify(fsync);
const ftruncateAsync = promisify(ftruncate);
const fstatAsync = promisify(fstat);

/** The machine's own file system. */
export class RealDisk implements Disk {
  async open(path: string, mode: "open" | "create"): Promise<DiskFile> {
    const { O_RDWR, O_CREAT, O_TRUNC } = constants;
    const flags = mode === "create" ? O_RDWR | O_CREAT | O_TRUNC : O_RDWR;
    return new RealFile(path, await told("open", path, openAsync(path, flags, 0o600)));
  }

  async exists(path: string): Promise<boolean> {
    try {
      await access(path);
      return true;
    } catch (error) {
      if (isNotThere(error)) return false;
      throw storageError("look for", path, error);
    }
  }

  async list(path: string): Promise<string[]> {
    const names = await told("list", path, readdir(path));
    return names.sort();
  }

  async makeDirectory(path: string): Promise<void> {
    const first = await told("make directory", path, makePath(resolve(path)));
    if (first === undefined) return;
    // `first` is the topmost directory that was made; each name below it lives in the directory above.
    const top = dirname(resolve(first));
    for (let at = dirname(resolve(path)); ; at = dirname(at)) {
      await this.syncDirectory(at);
      if (at === top) return;
    }
  }

  async rename(from: string, to: string): Promise<void> {
    await told("rename", from, rename(from, to));
  }

  async remove(path: string): Promise<void> {
    try {
      await unlink(path);
    } catch (error) {
      if (!isNotThere(error)) throw storageError("remove", path, error);
    }
  }

  async syncDirectory(path: string): Promise<void> {
    const { O_RDONLY, O_DIRECTORY } = constants;
    const fd = await told("open", path, openAsync(path, O_RDONLY | O_DIRECTORY));
    try {
      await told("sync directory", path, fsyncAsync(fd));
    } finally {
      await told("close", path, closeAsync(fd));
    }
  }

  readFile(path: string): Promise<Uint8Array> {
    return readWhole(this, path);
  }

  replaceFile(path: string, bytes: Uint8Array): Promise<void> {
    return replaceWhole(this, path, bytes);
  }
}

class RealFile implements DiskFile {
  readonly path: string;
  readonly #fd: number;
  #closed = false;

  constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const reading = readAsync(this.#fd, bytes, done, length - done, offset + done);
      const { bytesRead } = await told("read", this.path, reading);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  }

  async write(offset: number, parts: readonly Uint8Array[]): Promise<void> {
    const wanted = parts.reduce((sum, part) => sum + part.byteLength, 0);
    const { bytesWritten } = await told(
      "write",
      this.path,
      writevAsync(this.#fd, parts as Uint8Array[], offset),
    );
    if (bytesWritten === wanted) return;
    throw new StorageError(
      `cannot write ${this.path}: ${bytesWritten} of ${wanted} bytes taken; is the disk full?`,
    );
  }

  async truncate(size: number): Promise<void> {
    await told("truncate", this.path, ftruncateAsync(this.#fd, size));
  }

  async size(): Promise<number> {
    return (await told("stat", this.path, fstatAsync(this.#fd))).size;
  }

  async syncData(): Promise<void> {
    await told("sync", this.path, fdatasyncAsync(this.#fd));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await told("close", this.path, closeAsync(this.#fd));
  }
}

/**
 * Makes `path` and what is missing above it; resolves with the topmost directory that was made. Not the recursive
 * `mkdir` of Node: where the parent is there and the system says ENOENT all the same, as under /proc, that never ends.
 */
async function makePath(path: string): Promise<string | undefined> {
  try {
    await mkdir(path, { mode: 0o700 });
    return path;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") {
      if ((await stat(path)).isDirectory()) return undefined;
      throw error;
    }
    const above = dirname(path);
    if (!isNotThere(error) || above === path) throw error;
    const first = await makePath(above);
    await mkdir(path, { mode: 0o700 });
    return first ?? path;
  }
}

async function told<T>(verb: string, path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw storageError(verb, path, cause);
  }
}

function storageError(verb: string, path: string, cause: unknown): StorageError {
  return new StorageError(`cannot ${verb} ${path}: ${messageOf(cause)}`, { cause });
}

function isNotThere(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
