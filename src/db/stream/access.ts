/**
 * What the words of a unit say about where it may run, and what can have become of it when its answer never came.
 * Guesses in advance, as those of sql/classify.ts, on which they rest.
 *
 * Not here: where units run (node/route/), the last word on what a statement is (sql/shape.ts).
 */

import { ownSavepointPrefix } from "../sql/authorizer.ts";
import { afterStatement, shapeOf } from "../sql/classify.ts";
import type { SqlRequest, Stmt, Unit } from "../sql/request.ts";
import type { Shape, StatementKind } from "../sql/shape.ts";
import { parseScript, type Statement } from "../sql/tokenizer.ts";

/**
 * Where a unit may run.
 *   read              any node: it changes nothing and leaves nothing open
 *   read-transaction  any node, on a connection of its own: it leaves a READONLY transaction open
 *   deferred          any node, likewise: it leaves a transaction open that has written nothing yet
 *   write             the leader
 */
type Access = "read" | "read-transaction" | "deferred" | "write";

/** `begin`: when a plain BEGIN takes the writer. */
export function accessOf(unit: Unit, begin: "deferred" | "immediate" = "deferred"): Access {
  let open: "no" | "readonly" | "yes" = "no";
  for (const shape of shapesIn(unit)) {
    // In a READONLY transaction writes are refused, wherever it is.
    if ((shape.writes || shape.immediate) && open !== "readonly") return "write";
    open = afterStatement(open, shape);
  }
  if (open === "no") return "read";
  if (open === "readonly") return "read-transaction";
  return begin === "immediate" ? "write" : "deferred";
}

/** Whether the unit, within a transaction, seems to write. What it says about transactions does not count. */
export function mayWrite(unit: Unit): boolean {
  // Settings are those of the stream, wherever it is.
  for (const { writes, kind } of shapesIn(unit)) if (writes && kind !== "setting") return true;
  return false;
}

/**
 * The kind of a request that is one statement about a transaction and nothing else, and that surely is good SQL: it may
 * be answered without asking SQLite.
 */
export function controlOf(request: SqlRequest | undefined): Shape | undefined {
  if (request?.type !== "execute" && request?.type !== "sequence") return undefined;
  if (request.type === "execute" && hasArguments(request.stmt)) return undefined;
  const sql = request.type === "execute" ? request.stmt.sql : request.sql;
  const shapes = shapesOf(sql);
  if (shapes.length !== 1 || !isControl(shapes[0]!)) return undefined;
  return isSurelyGood(parseScript(sql)[0]!) ? shapes[0] : undefined;
}

const goodControl =
  /^(?:BEGIN(?: DEFERRED| IMMEDIATE| EXCLUSIVE)?( TRANSACTION)?( READONLY)?|(?:COMMIT|END|ROLLBACK)( TRANSACTION)?)$/;

/** A name with small letters was quoted; no keyword has one letter, and none but those of time a digit or `_`. */
function isSurelyGood({ head, explain }: Statement): boolean {
  if (explain) return false;
  if (head[0] !== "SAVEPOINT") return goodControl.test(head.join(" "));
  const [, name = ""] = head;
  if (name.toLowerCase().startsWith(ownSavepointPrefix)) return false;
  const isQuoted = name !== name.toUpperCase();
  return (
    head.length === 2 &&
    (isQuoted || (/^(?:\w|\w*[\d_]\w*)$/.test(name) && !/^CURRENT_/.test(name)))
  );
}

/**
 * Whether the unit surely reads nothing from the database: it says something about transactions, or asks for what needs
 * no table. Erring towards "it reads" only means that its transaction has its view sooner.
 */
export function readsNothing(unit: Unit): boolean {
  for (const sql of textsIn(unit)) if (!parseScript(sql).every(needsNoTable)) return false;
  return true;
}

function needsNoTable(statement: Statement): boolean {
  if (isControl(shapeOf(statement))) return true;
  const word = statement.head[0];
  const isPlain = (word === "SELECT" || word === "VALUES") && !statement.explain;
  return isPlain && !/\b(?:from|in)\b/i.test(statement.text);
}

function hasArguments({ args, namedArgs }: Stmt): boolean {
  return args.length + namedArgs.length > 0;
}

const controls: ReadonlySet<StatementKind> = new Set([
  ...(["begin", "commit", "rollback"] as const),
  ...(["savepoint", "release", "rollback-to"] as const),
]);

function isControl({ kind }: Shape): boolean {
  return controls.has(kind);
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
