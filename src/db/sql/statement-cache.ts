/**
 * SQL texts that were seen lately, taken apart and compiled. Keyed by the whole text as the client sent it, so that a
 * repeated request costs one look-up.
 *
 * Two generations instead of a list ordered by use: what is used moves to the young one, and when that is full the
 * old one is dropped. Within a factor of two it keeps the same texts, and a hit costs nothing but the look-up.
 *
 * After a change of schema SQLite compiles a cached statement anew by itself, but what we noted about it (columns,
 * triggers) would be stale: `forgetCompiled` makes the next use compile again.
 */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { limits } from "../../limits.ts";
import { ownCounters } from "../stream/counters.ts";
import { type BindingPlan, bindingPlan } from "./arguments.ts";
import { type Authorizer, newTrace, type PragmaCall, type Trace } from "./authorizer.ts";
import { shapeOf } from "./classify.ts";
import { quoted } from "./quoted.ts";
import { compiledShape, plainShape, type Shape } from "./shape.ts";
import { isTooLong, SqlError, sqlErrorFrom } from "./sql-error.ts";
import { parametersOf, parseScript, plainCalls, renameCalls, type Statement } from "./tokenizer.ts";

/** Texts in one generation. ORMs use some hundred; each compiled statement is a few kilobytes. */
const generationTextsMax = 512;
/** Longer texts are rarely sent twice, and a thousand of them would be a gigabyte. */
const cachedTextLengthMax = 16_384;
/** If it is seen where it is none, a statement that failed is committed for nothing. */
const failing = /\bFAIL\b/i;
/** If it is seen where it is none, a look at each virtual table is wasted. */
const checkingPattern = /(?:integrity|quick)_check/i;

/** A statement and what it seems to be. */
export type ShapedStatement = { readonly statement: Statement; readonly shape: Shape };

/** A compiled statement with everything a call needs. */
export type Compiled = {
  readonly statement: Statement;
  /** How it is run. */
  readonly shape: Shape;
  /** EXPLAIN left out. */
  readonly explained: Shape;
  readonly call: StatementSync;
  readonly plan: BindingPlan;
  /** JSON array of Hrana's Col. */
  readonly cols: string;
  readonly hasColumns: boolean;
  /** Works through a trigger or view: its own count of changes may be 0 although something changed. */
  readonly isIndirect: boolean;
  /** Tables and views that it writes, also through triggers and foreign keys. */
  readonly touched: readonly string[];
  /** It inserts into a table of AUTOINCREMENT, whose counter may move although no row comes in. */
  readonly counts: boolean;
  /** Functions that it calls, in lower case. */
  readonly functions: ReadonlySet<string>;
  /** What it reads that is not the same on every node. */
  readonly readsPhysical: string | undefined;
  readonly reads: Trace["reads"];
  /** It is a PRAGMA. */
  readonly pragma: PragmaCall | undefined;
  /** It calls last_insert_rowid(). */
  readonly usesRowid: boolean;
  /** It calls changes() or total_changes() where the call cannot be renamed: in a view, trigger or table. */
  readonly usesChanges: boolean;
  readonly usesTotal: boolean;
  /** PRAGMA integrity_check or quick_check, or a table of that name. */
  readonly checksTables: boolean;
};

type Entry = {
  readonly statements: readonly ShapedStatement[];
  /** Compiled form of the only statement, and the schema it was compiled under. */
  compiled: Compiled | undefined;
  schema: number;
};

export class StatementCache {
  readonly #db: DatabaseSync;
  readonly #authorizer: Authorizer;
  readonly #tableText: StatementSync;
  readonly #words: StatementSync;
  /** Words that the schema has, and which schema that was. */
  #has = { schema: -1, deferred: false, fail: false };
  #young = new Map<string, Entry>();
  #old = new Map<string, Entry>();
  /** Called before a statement of the schema is compiled. */
  beforeSchema: () => void = () => {};
  /** Counts changes of schema seen by this connection. */
  #schema = 0;

  constructor(db: DatabaseSync, authorizer: Authorizer) {
    this.#db = db;
    this.#authorizer = authorizer;
    this.#tableText = db.prepare(
      "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ? COLLATE NOCASE",
    );
    this.#words = db.prepare(
      "SELECT sql FROM main.sqlite_schema WHERE sql LIKE '%DEFERRED%' OR sql LIKE '%FAIL%'",
    );
  }

  /** Whether the schema may have a foreign key that is looked at only when a transaction is committed. */
  get defersKeys(): boolean {
    return this.#schemaWords().deferred;
  }

  /** Whether a constraint of the statement, its tables or triggers may say FAIL: what was done before it stays then. */
  readonly mayFail = ({ statement }: Compiled): boolean =>
    this.#schemaWords().fail || failing.test(statement.text);

  #schemaWords(): { readonly deferred: boolean; readonly fail: boolean } {
    if (this.#has.schema !== this.#schema) {
      const found = this.#authorizer.asOurselves(() => this.#words.all());
      const text = (found as unknown as string[][]).join("\n");
      const [deferred, fail] = [/\bDEFERRED\b/i.test(text), failing.test(text)];
      this.#has = { schema: this.#schema, deferred, fail };
    }
    return this.#has;
  }

  /** The statements of a text, not compiled. Throws SqlError on text that SQLite would not see the end of. */
  statements(sql: string): readonly ShapedStatement[] {
    return this.#entry(sql).statements;
  }

  /** The only statement of a text. Throws SqlError when there is none, more than one, or an invalid one. */
  compiled(sql: string): Compiled {
    const entry = this.#entry(sql);
    if (entry.compiled !== undefined && entry.schema === this.#schema) return entry.compiled;
    const compiled = this.compile(onlyStatement(entry.statements));
    if (compiled.shape.cacheable) {
      entry.compiled = compiled;
      entry.schema = this.#schema;
    }
    return compiled;
  }

  /** Compiles without looking into the cache or leaving anything in it. */
  compile(guessed: ShapedStatement): Compiled {
    if (guessed.shape.kind === "schema") this.beforeSchema();
    const compiled = this.#prepare(guessed);
    if (compiled.explained.kind === guessed.shape.kind) return compiled;
    // Either the words misled us, or SQLite opened a virtual table on the way, whose own statements were seen as well:
    // that happens once.
    if (compiled.shape.kind === "schema") this.beforeSchema();
    return this.#prepare(guessed);
  }

  #prepare({ statement, shape: guess }: ShapedStatement): Compiled {
    const authorizer = this.#authorizer;
    authorizer.reason = undefined;
    authorizer.isIndirect = false;
    authorizer.compiling = true;
    try {
      const text = guess.readonly ? "BEGIN DEFERRED" : statement.whole;
      const { call, trace } = this.#traced(text);
      const columns = call.columns();
      const explained = compiledShape(trace, guess);
      const shape = explains(statement, trace, columns) ? explanation(explained) : explained;
      const run = callsCounter(trace, shape)
        ? this.#traced(renameCalls(text, ownCounters))
        : { call, trace };
      // What changes the schema writes no values of its own, even where it is compiled to a change.
      const filled = shape.kind === "change" ? [...trace.filled] : [];
      const texts = filled.map((table) => this.#textOf(table));
      const ofTables = texts.flatMap(connectionCalls);
      const functions = new Set([...run.trace.functions, ...ofTables]);
      return {
        ...{ statement, shape, explained, call: run.call, pragma: trace.pragma },
        plan: bindingPlan(parametersOf(statement.text)),
        cols: JSON.stringify(columns.map(({ name, type }) => ({ name, decltype: type }))),
        hasColumns: columns.length > 0,
        isIndirect: authorizer.isIndirect,
        touched: [...trace.touched],
        counts: trace.inserts && texts.some((text) => /AUTOINCREMENT/i.test(text)),
        functions: new Set([...trace.functions, ...ofTables]),
        usesRowid: functions.has("last_insert_rowid"),
        usesChanges: functions.has("changes"),
        usesTotal: functions.has("total_changes"),
        readsPhysical: trace.readsPhysical,
        reads: trace.reads,
        checksTables: checkingPattern.test(statement.text),
      };
    } catch (error) {
      throw isTooLong(error) ? textTooLong() : refusedOr(error, authorizer);
    } finally {
      authorizer.compiling = false;
    }
  }

  #traced(sql: string): { readonly call: StatementSync; readonly trace: Trace } {
    this.#authorizer.trace = newTrace();
    const call = this.#db.prepare(sql);
    const { trace } = this.#authorizer;
    // SQLite compiles statements anew when it likes; what it says then is not about this one.
    this.#authorizer.trace = newTrace();
    return { call, trace };
  }

  /** The schema is, or may be, another one than before. */
  forgetCompiled(): void {
    this.#schema++;
  }

  /** What made the table; empty for a view. */
  #textOf(table: string): string {
    const found = this.#authorizer.asOurselves(() => this.#tableText.get(table));
    return (found as unknown as [string] | undefined)?.[0] ?? "";
  }

  #entry(sql: string): Entry {
    const young = this.#young.get(sql);
    if (young !== undefined) return young;
    const entry = this.#old.get(sql) ?? parsedEntry(sql);
    if (sql.length > cachedTextLengthMax) return entry;
    this.#young.set(sql, entry);
    if (this.#young.size > generationTextsMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    return entry;
  }

  /**
   * FTS5 keeps the structure of an index per connection. A query makes it look whether another connection changed it,
   * but integrity_check does not: it would compare new rows with the old index and report a corruption that is none
   * (SQLite 3.53; with stock connections as well).
   */
  lookAtIndexes(): void {
    this.#authorizer.asOurselves(() => {
      const found = this.#db.prepare("PRAGMA main.table_list").all() as unknown as string[][];
      for (const [, name, type] of found) {
        if (type !== "virtual") continue;
        try {
          this.#db.prepare(`SELECT 1 FROM main.${quoted(name!)} LIMIT 1`).get();
        } catch {
          // It cannot be read: that is for the check to say. What was wanted happened when it was opened.
        }
      }
    });
  }
}

type Columns = ReturnType<StatementSync["columns"]>;

/** The statement lists what another would do. No statement that begins or ends a transaction has columns itself. */
function explains(statement: Statement, trace: Trace, columns: Columns): boolean {
  if (columns.length === 0) return false;
  if (trace.control !== undefined) return true;
  const first = columns[0]!.name;
  return statement.explain && (first === "addr" || first === "id");
}

/** Functions whose answer belongs to the connection. */
const ofConnection =
  /^(?:changes|total_changes|last_insert_rowid|sqlite_version|sqlite_source_id)$/;

/**
 * Those that the DEFAULTs and CHECKs of a table call. The authorizer is told of calls in a DEFAULT never, of those in a
 * CHECK only when SQLite reads the schema.
 */
function connectionCalls(table: string): string[] {
  if (!/changes|rowid|sqlite_/i.test(table)) return [];
  return [...plainCalls(table)].map(({ name }) => name).filter((name) => ofConnection.test(name));
}

/** Its own calls are renamed; texts of the schema stay as they are. */
function callsCounter({ functions }: Trace, { kind }: Shape): boolean {
  if (kind !== "select" && kind !== "change") return false;
  return Object.keys(ownCounters).some((name) => functions.has(name));
}

function explanation({ cacheable }: Shape): Shape {
  return { ...plainShape, cacheable };
}

/**
 * The rows of a compiled statement, one after the other. Every loop over a statement that is used again goes through
 * here: `node:sqlite` does not reset a statement whose iteration has thrown, and its next use, whoever asks for it,
 * would not run and would throw the old error once more. Asking for an iterator resets it, and throws that error a last
 * time.
 */
export function* rowsOf(call: StatementSync, values: readonly SQLInputValue[]): Generator<unknown> {
  try {
    yield* call.iterate(...values);
  } catch (error) {
    reset(call);
    throw error;
  }
}

function reset(call: StatementSync): void {
  try {
    call.iterate().return?.();
  } catch {
    // The old error, which is on its way already.
  }
}

/** What was thrown while a statement was compiled or run, as the client is told. Rethrows what is our own fault. */
export function refusedOr(error: unknown, authorizer: Authorizer): SqlError {
  const { reason } = authorizer;
  authorizer.reason = undefined;
  const sqlError = sqlErrorFrom(error);
  if (sqlError === undefined) throw error;
  if (reason === undefined) return sqlError;
  const { isHidden } = authorizer;
  authorizer.isHidden = false;
  return new SqlError(isHidden ? "TABLE_NOT_HERE" : "BLOCKED", reason);
}

function parsedEntry(sql: string): Entry {
  if (sql.includes("\0")) {
    throw new SqlError(
      "SQL_PARSE_ERROR",
      "SQL text holds a NUL character, where SQLite stops reading",
    );
  }
  const statements = parseScript(sql).map((statement) => ({
    statement,
    shape: shapeOf(statement),
  }));
  return { statements, compiled: undefined, schema: -1 };
}

function textTooLong(): SqlError {
  return new SqlError(
    "SQLITE_TOOBIG",
    `the SQL text of a statement has at most ${limits.sqlBytesMax} bytes: bind long values as parameters, or send ` +
      "several statements",
  );
}

function onlyStatement(statements: readonly ShapedStatement[]): ShapedStatement {
  const [first, second] = statements;
  if (first === undefined) throw new SqlError("SQL_NO_STATEMENT", "SQL string holds no statement");
  if (second !== undefined) {
    throw new SqlError("SQL_MANY_STATEMENTS", "SQL string contains more than one statement");
  }
  return first;
}
