/**
 * What the nodes refuse although stock SQLite does it. This list is all there is: any other refusal is a difference.
 *
 * Under a logical log kind more is refused, each with its reason: a statement that no kind can carry
 * (docs/log-kinds.md). What was refused is left out on the stock connection as well.
 */

import { constants } from "node:sqlite";

const temporary = "TEMP objects live on one connection and are not replicated";
const files = "other files of the machine are not replicated";
const ours = "Paceline decides how the database is stored";

const refusedActions: ReadonlyMap<number, string> = new Map([
  [constants.SQLITE_ATTACH, files],
  [constants.SQLITE_DETACH, files],
  [constants.SQLITE_CREATE_TEMP_INDEX, temporary],
  [constants.SQLITE_CREATE_TEMP_TABLE, temporary],
  [constants.SQLITE_CREATE_TEMP_TRIGGER, temporary],
  [constants.SQLITE_CREATE_TEMP_VIEW, temporary],
]);

const refusedPragmas: ReadonlyMap<string, string> = new Map([
  ["journal_mode", ours],
  ["locking_mode", ours],
  ["writable_schema", "the schema is changed by statements of the schema only"],
]);

/** These are answered; a PRAGMA that is not known is refused, where SQLite does nothing without a word. */
const answeredPragmas: ReadonlySet<string> = new Set([
  ...["foreign_keys", "recursive_triggers", "defer_foreign_keys", "legacy_alter_table"],
  ...["ignore_check_constraints", "table_info", "table_xinfo", "index_list", "foreign_key_list"],
  ...["foreign_key_check", "integrity_check", "quick_check", "encoding", "query_only"],
  // The last one is asked by FTS5 itself.
  ...["journal_mode", "data_version"],
]);

const savepointPrefix = "paceline_";

/** Why the nodes refuse an action of a statement; undefined: they must not. Arguments as the authorizer has them. */
export function refusal(action: number, first: string, second: string): string | undefined {
  if (action === constants.SQLITE_PRAGMA) {
    const name = first.toLowerCase();
    if (!answeredPragmas.has(name)) return "it may change how the database is stored";
    return second === "" ? undefined : refusedPragmas.get(name);
  }
  if (action === constants.SQLITE_SAVEPOINT && second.toLowerCase().startsWith(savepointPrefix)) {
    return "names of the nodes' own savepoints";
  }
  if (action === constants.SQLITE_FUNCTION && second.toLowerCase() === "load_extension") {
    return "extensions cannot be loaded";
  }
  return refusedActions.get(action);
}

/** Refused before it runs: inside a view or trigger SQLite counts for the connection, which clients share. */
export function isRefusedToRun(action: number, second: string, origin: string): boolean {
  return action === constants.SQLITE_FUNCTION && second === "total_changes" && origin !== "";
}

/**
 * Under a logical log kind: refused before it ran, or told of a foreign key mismatch because triggers of ours were on
 * the table already when foreign keys were turned on (docs/log-kinds.md).
 */
export function isRefusedByKind(code: string, message: string): boolean {
  return code === "BLOCKED" || message.startsWith("foreign key mismatch");
}

/**
 * A text with several statements is refused as such before the first of them is compiled, so it may be another error
 * than that of the first statement.
 */
export function isManyBeforeBad(code: string, stockCode: string, sql: string): boolean {
  const { many } = protocolCodes;
  return code === many && stockCode !== many && /;.*[^ \t\n\f\r;]/s.test(sql);
}

/** The protocol's own errors, before SQLite is asked. */
export const protocolCodes = {
  none: "SQL_NO_STATEMENT",
  many: "SQL_MANY_STATEMENTS",
  /** SQLite stops at a NUL character; what stands behind it would be lost without a word. */
  nul: "SQL_PARSE_ERROR",
  args: "ARGS_INVALID",
} as const;

/** Where rows are recorded, triggers note them; SQLite counts the notes in total_changes() (docs/log-kinds.md). */
export function countsNotes(sql: string): boolean {
  return /total_changes/i.test(sql);
}

/** The rowid of a table that has another key is no content under a logical log kind, and each node has its own. */
export function asksRowid(sql: string): boolean {
  return /\b(?:rowid|_rowid_|oid)\b/i.test(sql);
}

/**
 * Where rows are recorded, triggers note them, and SQLite finds all rows of an INSERT … SELECT before it puts the first
 * one in: last_insert_rowid() is the same for all of them (docs/log-kinds.md).
 */
export function findsFirst(sql: string): boolean {
  return /\b(?:insert|replace)\b.*\bselect\b.*last_insert_rowid/is.test(sql);
}
