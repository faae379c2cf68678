/** Joins the database's part of a writer (read back pages) with the payload's (encode them as the body of an entry). */

import type { RecordedTransaction } from "../../changes/steps.ts";
import { encodeTransactions, unpackedBytes } from "../../changes/steps-codec.ts";
import type { WriterChildPorts } from "../../db/process/writer-child.ts";
import { Capture } from "../../db/scratch/capture.ts";
import { limits } from "../../limits.ts";
import { encodePages } from "../../payload/pages.ts";
import { joinSections } from "../../payload/sections.ts";

/** What a writer process makes of committed transactions. */
export const writerPorts: WriterChildPorts = {
  openCapture: (path, pageSize) => Capture.open(path, pageSize),
  encodeOwn: (set) => encodePages(set, 0, false),
  encode: (set, committedAtMs, recorded) => {
    if (recorded === undefined) return { body: encodePages(set, committedAtMs, true) };
    const { logKind } = recorded;
    const changes = encoded(recorded.changes);
    const statements = encoded(recorded.statements);
    if (isTooLarge(changes) || isTooLarge(statements)) return undefined;
    const travels = logKind === "pages";
    const pages = encodePages(set, committedAtMs, travels);
    const body = joinSections({
      ...{ logKind, committedAtMs },
      pages: travels ? pages : undefined,
      changes,
      statements,
    });
    return { body, pages: travels ? undefined : pages };
  },
};

/** Followers would refuse to unpack it, however small it is packed. */
function isTooLarge(section: Uint8Array | undefined): boolean {
  return section !== undefined && unpackedBytes(section) > limits.transactionBytesMax;
}

function encoded(transactions: readonly RecordedTransaction[] | undefined): Uint8Array | undefined {
  return transactions === undefined ? undefined : encodeTransactions(transactions);
}
