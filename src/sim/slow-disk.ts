/**
 * A disk that takes its time: syncs, sometimes writes and reads, last a while in virtual time, so that everything
 * else can happen meanwhile. Content and faults are SimDisk's.
 */

import type { Disk, DiskFile } from "../host/disk.ts";
import { readWhole, replaceWhole } from "../host/disk.ts";

/** Waits as long as the disk takes now. */
export type DiskPace = (what: "read" | "write" | "sync") => Promise<void> | undefined;

export class SlowDisk implements Disk {
  readonly #disk: Disk;
  readonly #pace: DiskPace;

  constructor(disk: Disk, pace: DiskPace) {
    this.#disk = disk;
    this.#pace = pace;
  }

  async open(path: string, mode: "open" | "create"): Promise<DiskFile> {
    const file = await this.#disk.open(path, mode);
    const pace = this.#pace;
    return {
      path: file.path,
      read: async (offset, length) => {
        await pace("read");
        return file.read(offset, length);
      },
      write: async (offset, parts) => {
        await pace("write");
        return file.write(offset, parts);
      },
      truncate: (size) => file.truncate(size),
      size: () => file.size(),
      syncData: async () => {
        await pace("sync");
        await file.syncData();
      },
      close: () => file.close(),
    };
  }

  exists(path: string): Promise<boolean> {
    return this.#disk.exists(path);
  }

  list(path: string): Promise<string[]> {
    return this.#disk.list(path);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#disk.makeDirectory(path);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#disk.rename(from, to);
  }

  remove(path: string): Promise<void> {
    return this.#disk.remove(path);
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#pace("sync");
    await this.#disk.syncDirectory(path);
  }

  readFile(path: string): Promise<Uint8Array> {
    return readWhole(this, path);
  }

  replaceFile(path: string, bytes: Uint8Array): Promise<void> {
    return replaceWhole(this, path, bytes);
  }
}
