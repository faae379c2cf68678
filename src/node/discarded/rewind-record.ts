/**
 * `rewind.json`: the database holds entries that the log is about to let go of. Written, durable, before the log does;
 * removed when page sync has brought the database back to what the log says. A start that finds it knows why the
 * database is ahead of the log, and that it needs pages.
 */

import { RecordFile } from "../../host/record-file.ts";
import type { Lsn } from "../../vocabulary.ts";

export type RewindRecord = {
  readonly format: 1;
  /** The first entry that gave way; the database is at or behind it. */
  readonly from: Lsn;
  readonly why: string;
};

export const rewindRecord = new RecordFile<RewindRecord>(
  "rewind.json",
  ({ format, from, why }) => {
    const isWhole = Number.isSafeInteger(from) && (from as Lsn) >= 1 && typeof why === "string";
    return format === 1 && isWhole ? { format, from: from as Lsn, why } : undefined;
  },
  "move the data directory aside and join anew",
);
