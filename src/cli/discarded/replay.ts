/**
 * Puts discarded writes back, one client transaction at a time, without guessing: a row is changed only if it is what
 * it was before the lost change; if it is what it was after, there is nothing to do; anything else is a conflict, and
 * then nothing of that transaction is done.
 *
 * Changes that triggers made are not repeated: the triggers make them again. Statements that rows cannot tell (the
 * schema, tables without a key) cannot be checked, so they run only when asked for.
 */

import { quoted } from "../../db/sql/quoted.ts";
import type { Value } from "../../db/sql/request.ts";
import type { DiscardedChange } from "../../node/discarded/contents.ts";
import type { Hrana, WireStmt } from "../remote/hrana.ts";
import { Refused } from "../remote/remote.ts";

export type Replayed = {
  readonly position: string;
  readonly transaction: number;
  readonly outcome: "replayed" | "already there" | "conflict";
  /** Of a conflict, for people. */
  readonly why: string | undefined;
};

type RowLine = Extract<DiscardedChange, { table: string }>;
type Row = Readonly<Record<string, Value>>;
/** What must be done about one change: nothing, a statement, or it cannot be. */
type Verdict =
  | { readonly type: "there" }
  | { readonly type: "run"; readonly stmt: WireStmt }
  | { readonly type: "conflict"; readonly why: string };

/** Replays all in order, telling of each as it is done. Throws Failure when the cluster does not answer. */
export async function* replay(
  hrana: Hrana,
  changes: readonly DiscardedChange[],
  unchecked: boolean,
): AsyncGenerator<Replayed> {
  for (const transaction of transactionsOf(changes)) {
    const { position, transaction: number } = transaction[0]!;
    yield { position, transaction: number, ...(await replayOne(hrana, transaction, unchecked)) };
  }
}

function transactionsOf(changes: readonly DiscardedChange[]): DiscardedChange[][] {
  const groups: DiscardedChange[][] = [];
  for (const change of changes) {
    const last = groups.at(-1)?.[0];
    const isSame = last?.position === change.position && last.transaction === change.transaction;
    if (isSame) groups.at(-1)!.push(change);
    else groups.push([change]);
  }
  return groups;
}

async function replayOne(
  hrana: Hrana,
  changes: readonly DiscardedChange[],
  unchecked: boolean,
): Promise<Pick<Replayed, "outcome" | "why">> {
  await hrana.execute({ sql: "BEGIN IMMEDIATE", want_rows: false }, true);
  try {
    let ran = 0;
    for (const change of changes) {
      if ("table" in change && change.indirect) continue;
      const verdict = await judge(hrana, change, unchecked);
      if (verdict.type === "there") continue;
      if (verdict.type === "conflict") {
        await hrana.rollback();
        return { outcome: "conflict", why: verdict.why };
      }
      await hrana.execute(verdict.stmt, true);
      ran++;
    }
    await hrana.execute({ sql: "COMMIT", want_rows: false }, true);
    return { outcome: ran === 0 ? "already there" : "replayed", why: undefined };
  } catch (error) {
    await hrana.rollback();
    // A constraint that says no is a conflict; a cluster that does not answer is not.
    if (!(error instanceof Refused) || !error.code.startsWith("SQLITE_")) throw error;
    return { outcome: "conflict", why: error.message };
  }
}

async function judge(hrana: Hrana, change: DiscardedChange, unchecked: boolean): Promise<Verdict> {
  if ("table" in change) return judgeRow(change, await rowOf(hrana, change));
  const { sql, args, namedArgs } = change;
  if (!unchecked) {
    return { type: "conflict", why: `cannot be checked, so it runs only with --unchecked: ${sql}` };
  }
  if (namedArgs.length > 0) {
    return { type: "conflict", why: `has named arguments, run it by hand: ${sql}` };
  }
  return { type: "run", stmt: { sql, args, want_rows: false } };
}

function judgeRow(change: RowLine, now: Row | undefined): Verdict {
  const { operation, before, after } = change;
  const where = describe(change);
  switch (operation) {
    case "insert":
      if (now === undefined) return { type: "run", stmt: insertOf(change, after!) };
      return matches(after!, now)
        ? { type: "there" }
        : conflict(`${where} exists, with other values`);
    case "update":
      if (now === undefined) return conflict(`${where} is gone`);
      if (matches({ ...keyOf(change), ...after }, now)) return { type: "there" };
      if (matches(before!, now)) return { type: "run", stmt: updateOf(change, after!) };
      return conflict(`${where} has changed since: ${differing(before!, now).join(", ")}`);
    case "delete":
      if (now === undefined) return { type: "there" };
      if (matches(before!, now)) return { type: "run", stmt: deleteOf(change) };
      return conflict(`${where} has changed since: ${differing(before!, now).join(", ")}`);
  }
}

async function rowOf(hrana: Hrana, change: RowLine): Promise<Row | undefined> {
  const { sql, args } = whereOf(change);
  const result = await hrana.execute(
    { sql: `SELECT * FROM ${quoted(change.table)}${sql}`, args },
    true,
  );
  const [row] = result.rows;
  if (row === undefined) return undefined;
  return Object.fromEntries(result.cols.map(({ name }, i) => [name ?? "", row[i]!]));
}

function keyOf({ key, before, after }: RowLine): Row {
  const row = before ?? after ?? {};
  return Object.fromEntries(key.map((column) => [column, row[column] ?? { type: "null" }]));
}

function whereOf(change: RowLine): { sql: string; args: Value[] } {
  const key = Object.entries(keyOf(change));
  const terms = key.map(([column]) => `${quoted(column)} IS ?`);
  return { sql: ` WHERE ${terms.join(" AND ")}`, args: key.map(([, value]) => value) };
}

function insertOf({ table }: RowLine, after: Row): WireStmt {
  const columns = Object.keys(after);
  const marks = columns.map(() => "?").join(", ");
  return {
    sql: `INSERT INTO ${quoted(table)} (${columns.map(quoted).join(", ")}) VALUES (${marks})`,
    args: Object.values(after),
    want_rows: false,
  };
}

function updateOf(change: RowLine, after: Row): WireStmt {
  const where = whereOf(change);
  const terms = Object.keys(after).map((column) => `${quoted(column)} = ?`);
  return {
    sql: `UPDATE ${quoted(change.table)} SET ${terms.join(", ")}${where.sql}`,
    args: [...Object.values(after), ...where.args],
    want_rows: false,
  };
}

function deleteOf(change: RowLine): WireStmt {
  const where = whereOf(change);
  return {
    sql: `DELETE FROM ${quoted(change.table)}${where.sql}`,
    args: where.args,
    want_rows: false,
  };
}

function matches(wanted: Row, now: Row): boolean {
  return differing(wanted, now).length === 0;
}

/** Columns of `wanted` that are something else now. */
function differing(wanted: Row, now: Row): string[] {
  return Object.keys(wanted).filter((column) => textOf(wanted[column]) !== textOf(now[column]));
}

/** Equal for equal values, whoever wrote them down: padding of base64 is optional. */
function textOf(value: Value | undefined): string {
  if (value === undefined) return "";
  if (value.type === "blob") return `blob ${value.base64.replace(/=+$/, "")}`;
  return value.type === "null" ? "null" : `${value.type} ${value.value}`;
}

function describe(change: RowLine): string {
  const key = Object.entries(keyOf(change)).map(([column, value]) => `${column}=${textOf(value)}`);
  return `${change.table} ${key.join(" ")}`;
}

function conflict(why: string): Verdict {
  return { type: "conflict", why };
}
