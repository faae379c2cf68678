/**
 * The other side: one stock connection for each stream, opened as a program opens it, that is asked for what a Hrana
 * request means. Nothing is shared with the program's own way of doing it: texts are taken apart by SQLite
 * itself, every statement is compiled for its one run.
 */

import { constants, DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { sqlErrorFrom } from "../../../src/db/sql/sql-error.ts";
import { type Answer, valueText } from "./answers.ts";
import type { Condition, Request, Statement, Step } from "./list.ts";
import { isRefusedToRun, protocolCodes, refusal } from "./refusals.ts";
import { scriptOf } from "./texts.ts";

/** What the nodes answered for each step: the stock connection leaves out what they refused under a log kind. */
export type Refused = (at: number) => boolean;

/** Compiles texts that are only counted. */
const counting = new DatabaseSync(":memory:");

export class StockStream {
  readonly #db: DatabaseSync;
  readonly #counters: StatementSync;
  #refusedFor: string | undefined;
  /** The statement compiled last must not run. */
  #isRefusedToRun = false;

  constructor(path: string, foreignKeys: boolean) {
    this.#db = new DatabaseSync(path, {
      enableForeignKeyConstraints: foreignKeys,
      enableDoubleQuotedStringLiterals: true,
      allowBareNamedParameters: false,
      readBigInts: true,
      returnArrays: true,
      timeout: 0,
    });
    this.#db.exec("PRAGMA journal_mode = wal; PRAGMA synchronous = off");
    this.#counters = this.#db.prepare("SELECT changes(), last_insert_rowid()");
    this.#db.setAuthorizer((action, ...[first, second, , origin]) => {
      this.#isRefusedToRun ||= isRefusedToRun(action, second ?? "", origin ?? "");
      const why = refusal(action, first ?? "", second ?? "");
      this.#refusedFor ??= why;
      return why === undefined ? constants.SQLITE_OK : constants.SQLITE_DENY;
    });
  }

  /** Whether a transaction is open. */
  get isOpen(): boolean {
    return this.#db.isTransaction;
  }

  /** It has the largest rowid, or has had it: SQLite takes the next one by chance. */
  get isByChance(): boolean {
    const [, rowid] = this.#counters.get() as unknown as [bigint, bigint];
    return rowid > 2n ** 32n && !knownRowids.has(rowid);
  }

  close(): void {
    this.#db.close();
  }

  /** The answers to the steps of a request; a script has one for all. */
  run(request: Request, refused: Refused): Answer[] {
    switch (request.type) {
      case "execute":
        return request.steps.map(({ statement }, at) => this.#execute(statement, refused(at)));
      case "batch":
      case "cursor":
        return this.#batch(request.steps, refused);
      case "sequence":
        return [refused(0) ? refusedAnswer : this.#script(scriptOf(request))];
      case "describe":
        return request.steps.map(({ statement }) => this.#describe(statement));
      case "get_autocommit":
        return [{ type: "autocommit", is: !this.isOpen }];
    }
  }

  #batch(steps: readonly Step[], refused: Refused): Answer[] {
    const answers: Answer[] = [];
    steps.forEach(({ statement, condition }, at) => {
      const isMet = condition === undefined || this.#isMet(condition, answers);
      answers.push(isMet ? this.#execute(statement, refused(at)) : { type: "skipped" });
    });
    return answers;
  }

  #isMet(condition: Condition, answers: readonly Answer[]): boolean {
    switch (condition.type) {
      case "ok":
        return answers[condition.step]?.type === "rows";
      case "error":
        return answers[condition.step]?.type !== "rows";
      case "not":
        return !this.#isMet(condition.cond, answers);
      case "and":
        return condition.conds.every((each) => this.#isMet(each, answers));
      case "or":
        return condition.conds.some((each) => this.#isMet(each, answers));
      case "is_autocommit":
        return !this.isOpen;
    }
  }

  #execute(statement: Statement, isRefused: boolean): Answer {
    if (isRefused) return refusedAnswer;
    return this.#answered(() => {
      const compiled = this.#only(statement.sql);
      const { args } = statement;
      if (lacksValues(statement, compiled)) throw new Refusal(protocolCodes.args);
      const named = args.filter(({ name }) => name !== undefined);
      const values: unknown[] = args.filter(({ name }) => name === undefined);
      const bound = values.map((arg) => (arg as { value: unknown }).value);
      if (named.length > 0) {
        bound.unshift(Object.fromEntries(named.map(({ name, value }) => [name, value])));
      }
      const rows = this.#rows(compiled, bound as SQLInputValue[]);
      // Only by running it has SQLite noticed that another connection renamed a column.
      const cols = columnsOf(compiled);
      // A comment may have eaten the INSERT, and left VALUES.
      const isRead = cols.length > 0 && !/RETURNING/i.test(statement.sql);
      const counted = isRead ? {} : this.#counted(statement);
      return { type: "rows", cols, rows, ...counted };
    });
  }

  #script(sql: string): Answer {
    return this.#answered(() => {
      if (sql.includes("\0")) throw new Refusal(protocolCodes.nul);
      let rest = sql;
      while (rest !== "") {
        const compiled = this.#compiled(rest);
        if (compiled === undefined) break;
        this.#rows(compiled, []);
        rest = rest.slice(compiled.sourceSQL.length);
      }
      return { type: "done" };
    });
  }

  #describe({ sql }: Statement): Answer {
    // What another connection did to the schema is noticed only by reading.
    this.#db.prepare("SELECT count(*) FROM sqlite_schema").get();
    return this.#answered(() => ({ type: "describe", cols: columnsOf(this.#only(sql)) }));
  }

  /** The statement of a text that has one. */
  #only(sql: string): StatementSync {
    if (sql.includes("\0")) throw new Refusal(protocolCodes.nul);
    const compiled = this.#compiled(sql);
    if (compiled === undefined) throw new Refusal(protocolCodes.none);
    if (holdsMore(sql.slice(compiled.sourceSQL.length))) throw new Refusal(protocolCodes.many);
    return compiled;
  }

  /** Undefined: no statement is left in the text. */
  #compiled(sql: string): StatementSync | undefined {
    this.#isRefusedToRun = false;
    try {
      return this.#db.prepare(sql);
    } catch (error) {
      if (isEmpty(error)) return undefined;
      throw error;
    }
  }

  #rows(compiled: StatementSync, values: SQLInputValue[]): string[] {
    if (this.#isRefusedToRun) throw new Refusal("BLOCKED");
    if (compiled.columns().length === 0) {
      compiled.run(...values);
      return [];
    }
    const rows = compiled.all(...values) as unknown as Parameters<typeof valueText>[0][][];
    return rows.map((row) => row.map(valueText).join("|"));
  }

  #counted({ verb }: Statement): { affected?: number; rowid?: string } {
    if (verb === "unknown") return {};
    if (verb === "other") return { affected: 0 };
    const [changes, rowid] = this.#counters.get() as unknown as [bigint, bigint];
    const affected = Number(changes);
    return verb === "insert" ? { affected, rowid: String(rowid) } : { affected };
  }

  #answered(run: () => Answer): Answer {
    this.#refusedFor = undefined;
    try {
      return run();
    } catch (error) {
      if (error instanceof Refusal) return { type: "error", code: error.code, message: "" };
      if (this.#refusedFor !== undefined) {
        return { type: "error", code: "BLOCKED", message: this.#refusedFor };
      }
      const sqlError = sqlErrorFrom(error);
      if (sqlError === undefined) throw error;
      const { code, message, extendedCode: extended } = sqlError;
      return { type: "error", code, message, extended };
    }
  }
}

/** Those that lists ask for. */
const knownRowids: ReadonlySet<bigint> = new Set([2n ** 63n - 1n, 2n ** 53n + 1n]);

const refusedAnswer: Answer = { type: "error", code: "BLOCKED", message: "" };

class Refusal extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

function isEmpty(error: unknown): boolean {
  return (error as { message?: string }).message?.includes("contains no statements") === true;
}

function holdsMore(rest: string): boolean {
  if (/^[\s;]*$/.test(rest) && !/[\u00a0\u2028\v]/.test(rest)) return false;
  try {
    counting.prepare(rest);
    return true;
  } catch (error) {
    return !isEmpty(error);
  }
}

/** EXPLAIN takes NULL for what it lacks. */
function lacksValues({ sql, args, lacks }: Statement, compiled: StatementSync): boolean {
  if (/^\W*explain\b/i.test(sql)) return false;
  return lacks === true || (args.length === 0 && compiled.expandedSQL !== compiled.sourceSQL);
}

function columnsOf(statement: StatementSync): string[] {
  return statement.columns().map(({ name, type }) => `${name}:${type}`);
}
