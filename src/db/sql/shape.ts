/**
 * What a compiled statement is, by what SQLite's authorizer saw while it was compiled. This is the last word on how it
 * is run; the words of its text (classify.ts) only guess in advance where to send it.
 *
 * Words decide in two cases. How a transaction begins (IMMEDIATE, READONLY) SQLite tells nobody. And what compiles to
 * no action at all (VACUUM, DROP … IF EXISTS of nothing) is taken for what it says: a wrong guess there ends in an
 * error of SQLite's, because none of them does anything inside a transaction.
 */

import { pragmaUse } from "../stream/pragmas.ts";
import type { Trace } from "./authorizer.ts";
import type { Unit } from "./request.ts";
import type { Statement } from "./tokenizer.ts";

const upkeepWords = /\b(?:VACUUM|REINDEX|ANALYZE|INDEX|ALTER|DROP|rebuild|optimize)\b/i;

export type StatementKind =
  | "select" // SELECT, VALUES, WITH … SELECT, and whatever is not known
  | "change" // INSERT, UPDATE, DELETE, REPLACE
  | "schema" // CREATE, DROP, ALTER
  | "upkeep" // ANALYZE, REINDEX, PRAGMA optimize, PRAGMA user_version = …
  | "setting" // a PRAGMA that changes how the connection runs statements
  | "kept" // a PRAGMA that is answered from what the stream keeps
  | "vacuum"
  | "begin"
  | "commit"
  | "rollback"
  | "savepoint"
  | "release"
  | "rollback-to";

export type Shape = {
  readonly kind: StatementKind;
  /** May change the database; such a statement never runs on a reader. */
  readonly writes: boolean;
  /** INSERT or REPLACE: its answer carries a rowid. */
  readonly inserts: boolean;
  /** BEGIN only: `BEGIN READONLY`, libSQL's word for a transaction that may be served by any node. */
  readonly readonly: boolean;
  /** BEGIN only: takes the write lock at once. */
  readonly immediate: boolean;
  /** Name of the savepoint. */
  readonly name: string | undefined;
  /** It may be used again as it was compiled. */
  readonly cacheable: boolean;
};

/** A statement that reads. */
export const plainShape: Shape = {
  kind: "select",
  writes: false,
  inserts: false,
  readonly: false,
  immediate: false,
  name: undefined,
  cacheable: true,
};

/** `guess` is the shape by words. The statement may be behind EXPLAIN: this is what is explained. */
export function compiledShape(trace: Trace, guess: Shape): Shape {
  const { control, pragma } = trace;
  if (control !== undefined) {
    const { readonly, immediate } = guess;
    const begin = control.kind === "begin" ? { readonly, immediate } : {};
    return { ...plainShape, ...control, ...begin };
  }
  if (pragma !== undefined) {
    return pragmaShape(pragma.name, pragma.value);
  }
  // ANALYZE may make its table, and CREATE INDEX fills the index.
  const { isSchema, upkeep } = trace;
  // Of a view there is nothing to analyze, but what was known of it goes.
  const analyzes = upkeep === "analyze" || (guess.kind === "upkeep" && trace.touched.size > 0);
  if (analyzes) return { ...plainShape, kind: "upkeep", writes: true };
  if (isSchema) return { ...plainShape, kind: "schema", writes: true };
  if (upkeep === "reindex") return { ...plainShape, kind: "upkeep", writes: true };
  if (trace.touched.size > 0) {
    return { ...plainShape, kind: "change", writes: true, inserts: trace.inserts };
  }
  const isIdle = guess.kind === "schema" || guess.kind === "upkeep" || guess.kind === "vacuum";
  return isIdle ? guess : plainShape;
}

/** Some PRAGMAs act while they are compiled, and all are compiled each time. */
export function pragmaShape(name: string, value: string | undefined): Shape {
  const shape = { ...plainShape, cacheable: false };
  switch (pragmaUse(name, value)) {
    case "setting":
      return { ...shape, kind: "setting", writes: true };
    case "stored":
      return { ...shape, kind: "upkeep", writes: true };
    case "kept":
    case "fixed":
      return { ...shape, kind: "kept" };
    default:
      return shape;
  }
}

/** Whether a unit has such a statement, by its words: for how long its answer is waited for. */
export function hasUpkeep({ requests }: Unit): boolean {
  const texts = requests.flatMap((request) => {
    if (request.type === "execute") return [request.stmt.sql];
    if (request.type === "batch") return request.steps.map(({ stmt }) => stmt.sql);
    return request.type === "sequence" ? [request.sql] : [];
  });
  return texts.some((sql) => upkeepWords.test(sql));
}

/**
 * Whether a statement works on whole tables, so that its time is theirs: a bound for runaway queries would only mean
 * that a large database cannot be looked after.
 */
export function isUpkeep({ head }: Statement, { kind }: Shape): boolean {
  if (kind === "vacuum" || kind === "upkeep") return true;
  if (kind === "schema") {
    const isIndex = head[1] === "INDEX" || (head[1] === "UNIQUE" && head[2] === "INDEX");
    return head[0] === "ALTER" || head[0] === "DROP" || (head[0] === "CREATE" && isIndex);
  }
  // INSERT INTO t(t) VALUES ('rebuild'), FTS5's way to say it.
  const [insert, into, table, open, column, close, values] = head;
  const isCommand = open === "(" && column === table && close === ")" && values === "VALUES";
  return insert === "INSERT" && into === "INTO" && isCommand;
}
