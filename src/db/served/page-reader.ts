/**
 * Reads what has been applied, page by page: from the WAL if the page is there, else from the database file.
 *
 * Why that is safe beside checkpoints: a checkpoint writes to the database file only pages that are in the WAL, and
 * those we read from the WAL. Emptying the WAL and publishing frames happen between two turns of the event loop, so
 * a read within one turn is exact. An asynchronous read is not; it is checked against the page table, and repeated
 * within one turn when it does not fit.
 */

import type { Hash64 } from "../../base/hash.ts";
import { pageHash } from "../../base/hash.ts";
import { limits } from "../../limits.ts";
import type { Pgno } from "../../vocabulary.ts";
import { frameHeaderBytes, frameOffset } from "../../wal/format.ts";
import { lockPage } from "../../wal/page-size.ts";
import type { Applier } from "./applier.ts";
import type { Descriptors } from "./descriptors.ts";
import type { PageTable } from "./page-table.ts";

/** Consecutive pages [first, first + count), to be put at page `at` of a buffer. */
export type PageRun = { readonly first: number; readonly count: number; readonly at: number };

/** Cuts a list of pages into runs that can be read at once. */
export function runsOf(pgnos: readonly Pgno[]): PageRun[] {
  const runs: PageRun[] = [];
  let at = 0;
  while (at < pgnos.length) {
    const first = pgnos[at]!;
    let count = 1;
    while (count < limits.applySliceFrames && pgnos[at + count] === first + count) count++;
    runs.push({ first, count, at });
    at += count;
  }
  return runs;
}

export class PageReader {
  readonly #files: Descriptors;
  readonly #applier: Applier;
  readonly #pageSize: number;

  constructor(files: Descriptors, applier: Applier, pageSize: number) {
    this.#files = files;
    this.#applier = applier;
    this.#pageSize = pageSize;
  }

  /** Reads a run without holding up the event loop. May mix moments: see the top of the file. */
  async read(run: PageRun, into: Uint8Array): Promise<void> {
    await this.#files.read("db", into, (run.first - 1) * this.#pageSize);
    for (let i = 0; i < run.count; i++) {
      const frame = this.#applier.frameOf(run.first + i);
      if (frame === undefined) continue;
      await this.#files.read("wal", this.#pageIn(into, i), this.#offsetInWal(frame));
    }
  }

  /** Hashes a run that was read, in order. Nothing else changes the database meanwhile. */
  hash(run: PageRun, pages: Uint8Array, visit: (pgno: Pgno, hash: Hash64) => void): void {
    for (let i = 0; i < run.count; i++) {
      const pgno = (run.first + i) as Pgno;
      if (pgno === lockPage(this.#pageSize)) continue;
      visit(pgno, pageHash(pgno, this.#pageIn(pages, i)));
    }
  }

  /**
   * Compares a run that was read with the table and reads again what does not fit. Afterwards `pages` is exact as
   * of now, but for the pages that it returns: they are damaged. The table's end may have moved; pages beyond it
   * are zero.
   */
  settle(run: PageRun, pages: Uint8Array, table: PageTable): Pgno[] {
    const damaged: Pgno[] = [];
    for (let i = 0; i < run.count; i++) {
      const pgno = (run.first + i) as Pgno;
      if (pgno === lockPage(this.#pageSize)) continue;
      const page = this.#pageIn(pages, i);
      if (pgno > table.pageCount) page.fill(0);
      else if (!table.matches(pgno, pageHash(pgno, page))) {
        this.#readNow(pgno, page);
        if (!table.matches(pgno, pageHash(pgno, page))) damaged.push(pgno);
      }
    }
    return damaged;
  }

  #readNow(pgno: number, page: Uint8Array): void {
    const frame = this.#applier.frameOf(pgno);
    if (frame !== undefined) this.#files.readNow("wal", page, this.#offsetInWal(frame));
    else this.#files.readNow("db", page, (pgno - 1) * this.#pageSize);
  }

  #offsetInWal(frame: number): number {
    return frameOffset(frame, this.#pageSize) + frameHeaderBytes;
  }

  #pageIn(pages: Uint8Array, i: number): Uint8Array {
    return pages.subarray(i * this.#pageSize, (i + 1) * this.#pageSize);
  }
}
