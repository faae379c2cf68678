/**
 * The number that a table of AUTOINCREMENT has come to, as a step of a record. A copy notes one as rows come in; a
 * table whose statement kept rows and failed before it noted theirs has none.
 */

import type { Step } from "../../../changes/steps.ts";

const forget = "DELETE FROM main.sqlite_sequence WHERE name = ?";

export function sequenceStep(
  table: string,
  value: bigint | undefined,
): Extract<Step, { type: "sequence" | "statement" }> {
  if (value !== undefined) return { type: "sequence", table, value };
  const told = { namedArgs: [], captured: [], lastRowid: undefined };
  const rules = { foreignKeys: false, failed: false, isUnsure: false };
  const statement = { sql: forget, args: [table], ...told, ...rules };
  return { type: "statement", why: `table ${table} has no number of AUTOINCREMENT`, statement };
}
