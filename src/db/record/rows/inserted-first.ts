/**
 * Whether a row that violates a foreign key has been in its table only because triggers of ours are on it. SQLite looks
 * at the foreign keys of a single row before it puts it in, if nothing else can happen in the statement; otherwise
 * after it did, and last_insert_rowid() tells [fkey.c, isMultiWrite].
 */

import type { Compiled } from "../../sql/statement-cache.ts";
import { mayReplace, type TableFacts } from "../schema-facts.ts";

const foreignKeyViolated = 787;

export function wasInsertedFirst(
  { shape, reads, isIndirect, statement: { text } }: Compiled,
  touched: readonly TableFacts[],
  error: unknown,
): boolean {
  if ((error as { errcode?: number }).errcode !== foreignKeyViolated) return false;
  if (!shape.inserts || reads.selects || isIndirect) return false;
  if (mayReplace(text) || /\bCONFLICT\b/i.test(text)) return false;
  return touched.every((facts) => !facts.replaces && !facts.defers);
}
