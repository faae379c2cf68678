/**
 * Whether a statement can be shown to do the same on every copy: a list of what is known to, not of what is known not
 * to. Copies have equal rows; what they need not share is the plan by which SQLite finds rows (statistics, what a
 * connection remembers of virtual tables), the rowid of a table that has another key, and how the rows lie in the file.
 *
 *   INSERT   of values, one row after the other, without a SELECT from tables
 *   UPDATE,  row by row without a SELECT, without triggers, without a rule for conflicts, without asking clock or
 *   DELETE   chance: whatever row comes first, the outcome is the same
 *
 * Not here: whether it must be repeated at all (recorder.ts).
 */

import type { Compiled } from "../sql/statement-cache.ts";
import { parseScript } from "../sql/tokenizer.ts";
import type { SchemaFacts } from "./schema-facts.ts";

/** Functions whose answer depends on the connection, not on the data. */
const ofConnection: ReadonlySet<string> = new Set([
  ...["changes", "total_changes", "sqlite_source_id", "sqlite_version", "sqlite_offset"],
]);

/** Functions that give another answer each time (outside.ts), which belongs to the row that was found then. */
const fromOutside: ReadonlySet<string> = new Set([
  ...["random", "randomblob", "date", "time", "datetime", "julianday", "unixepoch", "strftime"],
  ...["timediff", "current_timestamp", "current_date", "current_time"],
]);

/** Undefined when it does the same everywhere. */
export function whyNotRepeatable(compiled: Compiled, facts: SchemaFacts): string | undefined {
  const { shape, functions, readsPhysical, reads, statement, touched } = compiled;
  for (const name of functions) {
    if (ofConnection.has(name)) return `it uses ${name}()`;
  }
  if (readsPhysical !== undefined) return `it reads ${readsPhysical}`;
  if (limitsWithoutOrder(statement.text)) return "it has LIMIT without ORDER BY";
  for (const name of reads.rowids) {
    if (facts.of(name)?.hidesRowid)
      return `it reads the rowid of table ${name}, whose key is another`;
  }
  if (reads.selects && reads.columns)
    return "what it selects may be found in another order elsewhere";
  const tables = touched.map((name) => facts.of(name));
  for (const table of tables) {
    if (table === undefined || compiled.isIndirect) return "triggers act in the order of rows";
    if (table.hidesRowid && /\b(?:_rowid_|rowid|oid)\b/i.test(statement.text))
      return `it may give table ${table.name} a rowid, and its key is another`;
    if (table.isVirtual) return `virtual table ${table.name} decides itself when to write what`;
  }
  if (shape.inserts) return undefined;
  const resolves = tables.some((table) => table?.resolves || table?.replaces);
  if (resolves || /\b(?:IGNORE|REPLACE|FAIL|ROLLBACK)\b/i.test(statement.text))
    return "which rows are in conflict depends on their order";
  for (const name of functions) {
    if (fromOutside.has(name))
      return `it uses ${name}() for rows that may be found in another order`;
  }
  return undefined;
}

/** Whether a statement asks for some rows without saying which come first. */
function limitsWithoutOrder(sql: string): boolean {
  return parseScript(sql).some(({ text }) => /\bLIMIT\b/i.test(text) && !/\bORDER\b/i.test(text));
}
