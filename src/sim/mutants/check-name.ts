/** What the check is called that noticed a mutant, so that a table can show it. */

import { AssertionError } from "../../base/assert.ts";

/** What threw, and the first words of what it said. */
export function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return firstWords(String(error));
  const isSqlite = "code" in error && error.code === "ERR_SQLITE_ERROR";
  const who = isSqlite ? "SQLite" : error instanceof AssertionError ? "assertion" : error.name;
  return firstWords(who === "Error" ? error.message : `${who}: ${error.message}`);
}

/** The same words for the same check, whatever the numbers. */
export function firstWords(text: string): string {
  const line = text.split("\n")[0]!.replace(/\/\S+\//g, "");
  const words = line.replace(/\b(?:\d+|[0-9a-f]{16})\b/g, "…");
  const short = words.replace(/(?:…, )+…/g, "…");
  return short.length <= 56 ? short : `${short.slice(0, 55).trimEnd()}…`;
}
