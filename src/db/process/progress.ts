/**
 * How a SQL process tells what it is doing while it cannot answer: twelve bytes in a small file, written before each
 * statement, read by the parent when it wants to know. No messages, no event loop: one system call of half a
 * microsecond, and none at all on the parent's side as long as everybody is quick.
 *
 *   offset  size  field
 *        0     4  statements begun so far, modulo 2^32
 *        4     4  number of the unit that runs, plus 1; 0 when none does
 *        8     4  1 when the statement works on whole tables (VACUUM, REINDEX, …), which may take long
 *
 * The file has no name: the parent opens it, removes it, and hands the descriptor over. It is in memory where that can
 * be had, so that a full disk does not keep processes from being started.
 */

import {
  closeSync,
  mkdtempSync,
  openSync,
  readSync,
  rmdirSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const recordBytes = 12;

/** `unit` is undefined between units. */
export type Progress = {
  readonly statements: number;
  readonly unit: number | undefined;
  readonly upkeep?: boolean | undefined;
};

/** The child's end. */
export class ProgressWriter {
  readonly #fd: number;
  readonly #record = new Uint8Array(recordBytes);
  readonly #view = new DataView(this.#record.buffer);
  #statements = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** A unit begins. */
  unit(unit: number): void {
    this.#view.setUint32(4, unit + 1);
    this.statement();
  }

  /** A statement begins. */
  statement(): void {
    this.#statements = (this.#statements + 1) >>> 0;
    this.#view.setUint32(0, this.#statements);
    this.#view.setUint32(8, 0);
    writeSync(this.#fd, this.#record, 0, recordBytes, 0);
  }

  /** The statement that has begun works on whole tables. */
  upkeep(): void {
    this.#view.setUint32(8, 1);
    writeSync(this.#fd, this.#record, 0, recordBytes, 0);
  }

  /** No unit runs. */
  idle(): void {
    this.unit(-1);
  }
}

/** In the first place that takes it. Throws the system's error of the last one. */
function openNameless(): number {
  const places = process.platform === "linux" ? ["/dev/shm", tmpdir()] : [tmpdir()];
  for (const [i, place] of places.entries()) {
    try {
      return openIn(mkdtempSync(join(place, "paceline-")));
    } catch (error) {
      if (i === places.length - 1) throw error;
    }
  }
  throw new Error("there is no place for a file");
}

function openIn(dir: string): number {
  const path = join(dir, "progress");
  try {
    const fd = openSync(path, "wx+");
    unlinkSync(path);
    return fd;
  } finally {
    rmdirSync(dir);
  }
}

/** The parent's end: makes the file. Throws the system's error when there is none to be had. */
export class ProgressFile {
  readonly fd: number;
  readonly #record = new Uint8Array(recordBytes);
  readonly #view = new DataView(this.#record.buffer);

  constructor() {
    this.fd = openNameless();
    try {
      writeSync(this.fd, this.#record, 0, recordBytes, 0);
    } catch (error) {
      closeSync(this.fd);
      throw error;
    }
  }

  read(): Progress {
    readSync(this.fd, this.#record, 0, recordBytes, 0);
    const unit = this.#view.getUint32(4);
    return {
      statements: this.#view.getUint32(0),
      unit: unit === 0 ? undefined : unit - 1,
      upkeep: this.#view.getUint32(8) === 1,
    };
  }

  close(): void {
    closeSync(this.fd);
  }
}
