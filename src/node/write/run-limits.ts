/** What must not be proposed, seen by what a run of the writer gave back. */

import { unpackedBytes } from "../../changes/steps-codec.ts";
import type { UnitOutcome } from "../../db/sql/request.ts";
import { limits } from "../../limits.ts";
import { pagesHeader } from "../../payload/pages.ts";
import { hasSections, pagesSection, sectionsOf } from "../../payload/sections.ts";

/** Whether an entry would not fit: its pages, or what goes beside them. */
export function isTooLarge(body: Uint8Array, ownPages: Uint8Array | undefined): boolean {
  const pages = ownPages ?? pagesSection(body)!;
  const raw = pagesHeader(pages).pgnos.length * limits.pageSize;
  if (raw > limits.transactionBytesMax) return true;
  if (!hasSections(body)) return false;
  const { changes, statements } = sectionsOf(body);
  const records = [changes, statements].filter((section) => section !== undefined);
  return records.some((section) => unpackedBytes(section) > limits.transactionBytesMax);
}

/** SQLite's words for a disk that does not take what is written. Quotes in a user's text would be escaped. */
const diskFailure = /"code":"SQLITE_(?:FULL|IOERR|CANTOPEN)"/;

/** Whether a unit failed because the disk did. */
export function metDiskFailure(outcome: UnitOutcome): boolean {
  return !outcome.wrote && outcome.results.some((text) => diskFailure.test(text));
}
