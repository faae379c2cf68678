/**
 * What a statement seems to be, judged by its words alone: enough to send it to the right process. A wrong guess costs
 * a detour, never correctness: readers cannot write, what a statement may touch is decided by SQLite's authorizer
 * (authorizer.ts), and how it is run by what it was compiled to (shape.ts).
 */

import type { Unit } from "./request.ts";
import { plainShape, pragmaShape, type Shape, type StatementKind } from "./shape.ts";
import { parseScript, type Statement } from "./tokenizer.ts";

export function shapeOf(statement: Statement): Shape {
  const { head } = statement;
  if (head[0] === "PRAGMA") return pragmaByWords(head);
  if (statement.explain) return plainShape;
  const word = head[0] === "WITH" ? statement.verbAfterWith : head[0];
  switch (word) {
    case "INSERT":
    case "REPLACE":
      return { ...plainShape, kind: "change", writes: true, inserts: true };
    case "UPDATE":
    case "DELETE":
      return { ...plainShape, kind: "change", writes: true };
    case "CREATE":
    case "DROP":
    case "ALTER":
      return { ...plainShape, kind: "schema", writes: true };
    case "ANALYZE":
    case "REINDEX":
      return { ...plainShape, kind: "upkeep", writes: true };
    case "VACUUM":
      return { ...plainShape, kind: "vacuum", writes: true, cacheable: false };
    default:
      return transactionShape(head);
  }
}

function pragmaByWords(head: readonly string[]): Shape {
  // PRAGMA [schema .] name [= value | ( value )]
  const at = head[2] === "." ? 3 : 1;
  const value = head[at + 1] === undefined ? undefined : (head[at + 2] ?? "");
  return pragmaShape(head[at] ?? "", value);
}

function transactionShape(head: readonly string[]): Shape {
  switch (head[0]) {
    case "BEGIN": {
      const mode = head[1];
      const end = mode === "TRANSACTION" ? 2 : 1;
      const isReadonly = head[end] === "READONLY" && head.length === end + 1;
      const immediate = mode === "IMMEDIATE" || mode === "EXCLUSIVE";
      return { ...plainShape, kind: "begin", readonly: isReadonly, immediate };
    }
    case "COMMIT":
    case "END":
      return { ...plainShape, kind: "commit" };
    case "ROLLBACK": {
      const at = head.indexOf("TO");
      if (at < 0) return { ...plainShape, kind: "rollback" };
      return { ...plainShape, kind: "rollback-to", name: nameAt(head, at + 1) };
    }
    case "SAVEPOINT":
      return { ...plainShape, kind: "savepoint", name: head[1] };
    case "RELEASE":
      return { ...plainShape, kind: "release", name: nameAt(head, 1) };
    default:
      return plainShape;
  }
}

/** The name at `at`, or behind the word SAVEPOINT that may stand there. */
function nameAt(head: readonly string[], at: number): string | undefined {
  return head[at] === "SAVEPOINT" && head[at + 1] !== undefined ? head[at + 1] : head[at];
}

/**
 * Where a unit may run.
 *   read              any node: it changes nothing and leaves nothing open
 *   read-transaction  any node, on a connection of its own: it leaves a READONLY transaction open
 *   write             the leader
 */
export function accessOf(unit: Unit): "read" | "write" | "read-transaction" {
  let open: "no" | "readonly" | "yes" = "no";
  for (const shape of shapesIn(unit)) {
    if (shape.writes || shape.immediate) return "write";
    open = afterStatement(open, shape);
  }
  if (open === "no") return "read";
  return open === "readonly" ? "read-transaction" : "write";
}

/**
 * Whether something of the unit may have been committed although its answer never came. False: whatever it did was
 * inside a transaction that nobody can finish any more, so it is as if it had never been sent.
 *
 * A statement may roll the transaction back by itself (OR ROLLBACK, RAISE), and what comes after it then commits alone;
 * so only the first statement in a transaction is surely inside.
 */
export function mayCommit(unit: Unit, inTransaction: boolean): boolean {
  let open = inTransaction;
  let inside = 0;
  for (const shape of shapesIn(unit)) {
    if (shape.kind === "begin" || shape.kind === "savepoint") open = true;
    else if (shape.kind === "commit" || shape.kind === "release") return true;
    else if (shape.kind === "rollback") open = false;
    else if (!open && shape.writes) return true;
    else if (inside++ > 0 && shape.writes) return true;
  }
  return false;
}

/** Whether the unit has a statement that begins or ends a transaction, so that it may leave one open. */
export function touchesTransaction(unit: Unit): boolean {
  for (const sql of textsIn(unit)) {
    // Most texts need not be taken apart.
    if (!/begin|savepoint/i.test(sql)) continue;
    if (shapesOf(sql).some(({ kind }) => kind === "begin" || kind === "savepoint")) return true;
  }
  return false;
}

/** Whether the unit has a PRAGMA that may change what its stream keeps, and is answered anywhere. */
export function touchesStream(unit: Unit): boolean {
  for (const sql of textsIn(unit)) {
    if (/pragma/i.test(sql) && shapesOf(sql).some(({ kind }) => kind === "kept")) return true;
  }
  return false;
}

/** What the statements of a unit seem to be, in order. */
export function* kindsOf(unit: Unit): Generator<StatementKind> {
  for (const { kind } of shapesIn(unit)) yield kind;
}

/** Whether the unit seems to end inside a transaction. A guess: conditions of a batch are taken as met. */
export function leavesOpen(shapes: readonly Shape[]): boolean {
  let open: "no" | "readonly" | "yes" = "no";
  for (const shape of shapes) open = afterStatement(open, shape);
  return open !== "no";
}

function afterStatement(open: "no" | "readonly" | "yes", shape: Shape): "no" | "readonly" | "yes" {
  switch (shape.kind) {
    case "begin":
      return shape.readonly ? "readonly" : "yes";
    case "savepoint":
      return open === "no" ? "yes" : open;
    case "commit":
    case "rollback":
      return "no";
    case "release":
      // The outermost savepoint's RELEASE commits; an inner one's, inside BEGIN, does not. Erring towards "closed"
      // is put right by whoever runs it.
      return open === "readonly" ? open : "no";
    default:
      return open;
  }
}

/** One after the other: who has seen enough looks at no more of them. */
function* shapesIn(unit: Unit): Generator<Shape> {
  for (const sql of textsIn(unit)) yield* shapesOf(sql);
}

function* textsIn({ requests }: Unit): Generator<string> {
  for (const request of requests) {
    if (request.type === "execute") yield request.stmt.sql;
    else if (request.type === "batch") for (const { stmt } of request.steps) yield stmt.sql;
    else if (request.type === "sequence") yield request.sql;
  }
}

/** Of short texts that were asked for lately: a batch says the same thousands of times. */
let shapesByText = new Map<string, readonly Shape[]>();
const knownTextsMax = 1_000;
const knownTextCharsMax = 2_000;

function shapesOf(sql: string): readonly Shape[] {
  const known = shapesByText.get(sql);
  if (known !== undefined) return known;
  const shapes = parseScript(sql).map(shapeOf);
  if (sql.length > knownTextCharsMax) return shapes;
  if (shapesByText.size >= knownTextsMax) shapesByText = new Map();
  shapesByText.set(sql, shapes);
  return shapes;
}
