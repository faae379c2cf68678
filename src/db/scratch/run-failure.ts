/**
 * Why a run of the writer is worth nothing, found out in its process, where the facts are. Nothing of the run goes
 * anywhere, and the scratch is thrown away.
 *
 *   ended       a unit ended the transaction of all (db/sql/client-transaction.ts)
 *   too-large   more pages, or more recorded beside them, than an entry may hold
 *   disk        the disk under the scratch takes no more, or fails
 */

import { closeSync, fsyncSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { limits } from "../../limits.ts";

export type RunFailureReason = "ended" | "too-large" | "disk";

export class RunFailure extends Error {
  override readonly name = "RunFailure";
  readonly reason: RunFailureReason;

  constructor(reason: RunFailureReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

export function tooLarge(): RunFailure {
  const bound = `${limits.transactionBytesMax / (1024 * 1024)} MiB of pages`;
  return new RunFailure("too-large", `a transaction may change ${bound}`);
}

/** What SQLite said of its files, and what it may mean. */
export type StorageSign =
  /** Reading or writing failed. */
  | "failing"
  /**
   * Or not: a sort that has filled the place for temporary files, and an AUTOINCREMENT that has no number left, are
   * SQLITE_FULL as well.
   */
  | "perhaps";

const primary = { ioerr: 10, full: 13, cantopen: 14 } as const;
/** No memory, no place for temporary files: of the statement, not of the disk. */
const ofStatement: ReadonlySet<number> = new Set([3082, 6410, 270]);

/** Undefined when an error of SQLite is not about storage. `code` is the extended one. */
export function storageSign(code: number): StorageSign | undefined {
  if (ofStatement.has(code)) return undefined;
  const kind = code & 0xff;
  if (kind === primary.ioerr) return "failing";
  return kind === primary.full || kind === primary.cantopen ? "perhaps" : undefined;
}

/** Asks the disk itself: whether a file beside the scratch can be written, and room is left then. */
export function diskTakesWrites(scratchPath: string): boolean {
  const dir = dirname(scratchPath);
  const path = join(dir, "probe");
  try {
    const { bavail, bsize } = statfsSync(dir);
    if (bavail * bsize < limits.diskReserveBytes) return false;
    const fd = openSync(path, "w", 0o600);
    try {
      writeSync(fd, new Uint8Array(limits.pageSize));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
      rmSync(path, { force: true });
    }
    return true;
  } catch {
    return false;
  }
}
