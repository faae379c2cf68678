/**
 * Which PRAGMAs clients may use, and as what. Everything that is not in these tables is refused.
 *
 * Not here: how a refusal is told (authorizer.ts), and setting them back between units (session.ts).
 */

/** Take an argument and only read. */
const readers: ReadonlySet<string> = new Set([
  "table_info",
  "table_xinfo",
  "table_list",
  "index_list",
  "index_info",
  "index_xinfo",
  "foreign_key_list",
  "foreign_key_check",
  "integrity_check",
  "quick_check",
]);

/** Only read, when no value is given. */
const values: ReadonlySet<string> = new Set([
  "application_id",
  "auto_vacuum",
  "busy_timeout",
  "cache_size",
  "collation_list",
  "compile_options",
  "data_version",
  "defer_foreign_keys",
  "encoding",
  "foreign_keys",
  "freelist_count",
  "function_list",
  "ignore_check_constraints",
  "journal_mode",
  "legacy_alter_table",
  "module_list",
  "page_count",
  "page_size",
  "pragma_list",
  "query_only",
  "recursive_triggers",
  "schema_version",
  "synchronous",
  "user_version",
]);

/** Change the connection until its unit ends, and the value they have then. `foreign_keys` goes with the stream. */
export const settings: ReadonlyMap<string, string> = new Map([
  ["foreign_keys", "off"],
  ["defer_foreign_keys", "off"],
  ["ignore_check_constraints", "off"],
  ["legacy_alter_table", "off"],
  ["recursive_triggers", "off"],
]);

/** Change the database. */
const stored: ReadonlySet<string> = new Set(["user_version", "application_id"]);

/**
 *   read     changes nothing
 *   setting  changes the connection
 *   stored   changes the database
 *   denied   is not for clients
 */
export type PragmaUse = "read" | "setting" | "stored" | "denied";

/** What a PRAGMA does. `name` in any case. A value makes the difference between reading and setting. */
export function pragmaUse(name: string, value: string | undefined): PragmaUse {
  const key = name.toLowerCase();
  if (readers.has(key)) return "read";
  if (key === "optimize") return "stored";
  if (value === undefined) return values.has(key) ? "read" : "denied";
  // Many programs say this on every connection. It is what they have already.
  if (key === "journal_mode" && value.toLowerCase() === "wal") return "read";
  if (settings.has(key)) return "setting";
  return stored.has(key) ? "stored" : "denied";
}
