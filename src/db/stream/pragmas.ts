/**
 * Which PRAGMAs clients may use, and as what. Everything that is not in these tables is refused.
 *
 * A stream of a client is a connection of its own to it, and shares a real one with others. So what a PRAGMA sets is
 * kept with the stream:
 *
 *   setting  changes how statements run: set on the real connection while the stream uses it (settings.ts)
 *   kept     changes how a connection works, not what it answers, or is minded by us: it has the value that the client
 *            set, reads back as such, and does nothing else (model.ts)
 *   fixed    what it tells or would do is ours to decide: the answer of a database that needs nothing done (model.ts)
 *
 * Not here: how a refusal is told (authorizer.ts).
 */

/** Take an argument and only read. */
const readers: ReadonlySet<string> = new Set([
  ...["table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo"],
  ...["foreign_key_list", "foreign_key_check", "integrity_check", "quick_check"],
]);

/** Only read, when no value is given. */
const values: ReadonlySet<string> = new Set([
  ...[
    "application_id",
    "auto_vacuum",
    "collation_list",
    "compile_options",
    "data_version",
    "encoding",
  ],
  ...["freelist_count", "function_list", "journal_mode", "module_list", "page_count", "page_size"],
  ...["pragma_list", "schema_version", "stats", "user_version", "writable_schema"],
]);

/** Set on the connection for each stream, and the value of a new one. */
export const settings: ReadonlyMap<string, string> = new Map([
  ["automatic_index", "1"],
  ["case_sensitive_like", "0"],
  ["defer_foreign_keys", "0"],
  ["foreign_keys", "0"],
  ["ignore_check_constraints", "0"],
  ["legacy_alter_table", "0"],
  ["recursive_triggers", "0"],
  ["reverse_unordered_selects", "0"],
  ["trusted_schema", "1"],
]);

/** Remembered, and without effect on the connection. */
const kept: ReadonlySet<string> = new Set([
  ...["analysis_limit", "busy_timeout", "cache_size", "cache_spill", "cell_size_check"],
  ...["checkpoint_fullfsync", "fullfsync", "journal_size_limit", "mmap_size", "query_only"],
  ...["read_uncommitted", "secure_delete", "synchronous", "temp_store", "threads"],
  ...["wal_autocheckpoint"],
]);

/** Answered without asking the connection. */
const fixed: ReadonlySet<string> = new Set([
  ...["count_changes", "database_list", "empty_result_callbacks", "full_column_names"],
  ...["hard_heap_limit", "incremental_vacuum", "legacy_file_format", "locking_mode"],
  ...["max_page_count", "short_column_names", "shrink_memory", "soft_heap_limit", "wal_checkpoint"],
]);

/** With these values they ask for what is so, or for what SQLite would not do either once there is a table. */
const granted: Readonly<Record<string, RegExp>> = {
  auto_vacuum: /^(?:0|none)$/i,
  encoding: /^utf-?(?:8|16(?:le|be)?)$/i,
  incremental_vacuum: /^/,
  legacy_file_format: /^/,
  locking_mode: /^normal$/i,
  page_size: /^\d+$/,
  wal_checkpoint: /^/,
};

/** Change the database. */
const stored: ReadonlySet<string> = new Set(["user_version", "application_id"]);

export type PragmaUse = "read" | "setting" | "kept" | "fixed" | "stored" | "denied";

/** What a PRAGMA does. `name` in any case. A value makes the difference between reading and setting. */
export function pragmaUse(name: string, value: string | undefined): PragmaUse {
  const key = name.toLowerCase();
  if (readers.has(key)) return "read";
  if (key === "optimize") return "stored";
  if (kept.has(key)) return "kept";
  if (value === undefined) {
    // It tells nothing, not even its value.
    if (key === "case_sensitive_like") return "fixed";
    if (fixed.has(key)) return "fixed";
    return values.has(key) || settings.has(key) ? "read" : "denied";
  }
  // Many programs say this on every connection. It is what they have already.
  if (key === "journal_mode" && value.toLowerCase() === "wal") return "read";
  if (settings.has(key)) return "setting";
  if (granted[key]?.test(value) === true) return "fixed";
  return stored.has(key) ? "stored" : "denied";
}

/** Whether a stream may have this as its own, and the value is one that SQLite answers. */
export function isSetting(name: string, value: string): boolean {
  return (settings.has(name) || kept.has(name)) && /^-?\d{1,19}$/.test(value);
}
