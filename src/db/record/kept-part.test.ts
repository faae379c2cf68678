// A statement that fails keeps what stock SQLite keeps of it, whatever it shares a transaction with, on every copy.

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { decodeTransactions, encodeTransactions } from "../../changes/steps-codec.ts";
import type { LogKind } from "../../vocabulary.ts";
import { openScratch } from "../process/connection.ts";
import type { SqlRequest, Unit } from "../sql/request.ts";
import { newDatabase, TestWriter, unit } from "../sql/test-database.ts";
import { Replayer } from "./replayer.ts";

const row = "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b DEFAULT 0";
const unique = `${row}, UNIQUE(a))`;
const values = "VALUES (1), (2), (1), (3)";

/** Schema, and statements of which some fail half-way. */
const stories: Readonly<Record<string, { schema: string[]; run: string[] }>> = {
  "UNIQUE ON CONFLICT FAIL": {
    schema: [`${row}, UNIQUE(a) ON CONFLICT FAIL)`],
    run: [`INSERT INTO t(a) ${values}`, "UPDATE t SET a = a + 10", "UPDATE t SET a = 7"],
  },
  "NOT NULL ON CONFLICT FAIL": {
    schema: ["CREATE TABLE t(id INTEGER PRIMARY KEY, a NOT NULL ON CONFLICT FAIL)"],
    run: ["INSERT INTO t(a) VALUES (1), (NULL), (3)"],
  },
  "OR FAIL behind WITH": {
    schema: [unique],
    run: [
      `WITH x(a) AS (${values}) INSERT OR FAIL INTO t(a) SELECT a FROM x`,
      "WITH n AS MATERIALIZED (SELECT 9 AS to_a) UPDATE OR /* why */ FAIL t SET a = (SELECT to_a FROM n)",
    ],
  },
  "OR FAIL and CHECK": {
    schema: [`${row}, CHECK(a < 3))`],
    run: ["INSERT OR FAIL INTO t(a) VALUES (1), (2), (3), (0)", "INSERT INTO t(a) VALUES (1), (5)"],
  },
  "a trigger with OR FAIL inside": {
    schema: [
      `${row})`,
      "CREATE TABLE log(id INTEGER PRIMARY KEY, a UNIQUE)",
      "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT OR FAIL INTO log(a) VALUES (new.a % 2); END",
    ],
    run: [`INSERT INTO t(a) ${values}`],
  },
  "a trigger whose own rows fail half-way": {
    schema: [
      `${row})`,
      "CREATE TABLE u(id INTEGER PRIMARY KEY, a UNIQUE)",
      "CREATE TRIGGER g BEFORE INSERT ON t BEGIN INSERT OR FAIL INTO u(a) VALUES (new.a), (1); END",
    ],
    run: [
      "INSERT INTO u(a) VALUES (1)",
      "INSERT INTO t(a) VALUES (5)",
      "INSERT INTO t(a) VALUES (6)",
    ],
  },
  "a trigger on a view with OR FAIL inside": {
    schema: [
      unique,
      "CREATE VIEW v AS SELECT a FROM t",
      "CREATE TRIGGER g INSTEAD OF INSERT ON v BEGIN INSERT OR FAIL INTO t(a) VALUES (new.a); END",
    ],
    run: [`INSERT INTO v(a) ${values}`],
  },
  "RAISE(FAIL)": {
    schema: [
      `${row})`,
      "CREATE TRIGGER g BEFORE INSERT ON t WHEN new.a = 3 BEGIN SELECT RAISE(FAIL, 'three'); END",
    ],
    run: ["INSERT INTO t(a) VALUES (1), (3), (2)"],
  },
  "nothing is kept without FAIL": {
    schema: [unique, "CREATE TABLE f(a UNIQUE ON CONFLICT FAIL)"],
    run: [`INSERT INTO t(a) ${values}`, `INSERT OR ABORT INTO f ${values}`],
  },
  "OR ROLLBACK, in the statement and in the table": {
    schema: [unique, "CREATE TABLE r(a UNIQUE ON CONFLICT ROLLBACK)"],
    run: [
      "INSERT INTO t(a) VALUES (8)",
      `WITH x(a) AS (${values}) INSERT OR ROLLBACK INTO t(a) SELECT a FROM x`,
      `INSERT INTO r ${values}`,
    ],
  },
  "half-way, by what is no constraint": {
    schema: ["CREATE TABLE t(id INTEGER PRIMARY KEY, a)", "CREATE TABLE u(a UNIQUE)"],
    run: [
      "INSERT INTO t(id) VALUES (1), ('x')",
      "INSERT OR IGNORE INTO t(id) VALUES (2), (3), ('x')",
      "INSERT OR REPLACE INTO t(id, a) VALUES (3, 1), (4, 1), ('x', 1)",
      "INSERT OR ROLLBACK INTO t(id) VALUES (5), ('x')",
      "INSERT OR FAIL INTO t(id) VALUES (6), ('x')",
      "UPDATE OR IGNORE t SET a = abs(-9223372036854775806 - id)",
      "INSERT INTO u(a) SELECT abs(-9223372036854775805 - id) AS a FROM t ORDER BY id",
    ],
  },
  "half-way, behind a trigger that has counted": {
    schema: [
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a)",
      "CREATE TABLE log(id INTEGER PRIMARY KEY, a)",
      "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log(a) VALUES (new.id); END",
    ],
    run: [
      "INSERT OR IGNORE INTO t(id) VALUES (1), (2), ('x')",
      "INSERT INTO t(id) VALUES (3), (3)",
      "INSERT INTO t(id) VALUES (4), ('x')",
    ],
  },
  "half-way, by a type of a STRICT table": {
    schema: ["CREATE TABLE t(id INTEGER PRIMARY KEY ON CONFLICT IGNORE, a INT) STRICT"],
    run: [
      "INSERT INTO t(a) VALUES (1), ('x')",
      "INSERT OR IGNORE INTO t(a) VALUES (2), (3), ('x')",
      "UPDATE OR IGNORE t SET a = CASE a WHEN 2 THEN 'x' ELSE 7 END",
    ],
  },
  "the counter of AUTOINCREMENT moves without a row": {
    schema: ["CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE)"],
    run: ["INSERT INTO t(a) VALUES (1)", "INSERT OR IGNORE INTO t(a) VALUES (1)"],
  },
};

const between = (n: number) => `INSERT INTO others VALUES (${n})`;

/** The same statements in different company. Each gives the units, and what one stock connection is told. */
const companies: Readonly<
  Record<string, (run: readonly string[]) => { units: Unit[]; stock: string[] }>
> = {
  alone: (run) => ({ units: run.map((sql) => unit(sql)), stock: [...run] }),
  "in one request": (run) => {
    const all = [between(1), ...run, between(2)];
    return { units: [unit(...all)], stock: all };
  },
  "as a batch in a transaction": (run) => ({
    units: [unit(between(1)), unit(batch("BEGIN", ...run, between(2), "COMMIT")), unit(between(3))],
    stock: [between(1), "BEGIN", ...run, between(2), "COMMIT", between(3)],
  }),
  "with RETURNING": (run) => {
    const all = run.map((sql) => (sql.includes(" v(") ? sql : `${sql} RETURNING a`));
    return {
      units: [unit(between(1)), ...all.map((sql) => unit(sql))],
      stock: [between(1), ...all],
    };
  },
};

/** All steps whatever became of the one before. */
function batch(...sql: string[]): SqlRequest {
  const steps = sql.map((text) => ({
    stmt: { sql: text, args: [], namedArgs: [], wantRows: true },
    condition: undefined,
  }));
  return { type: "batch", steps };
}

function contentOf(db: DatabaseSync): unknown {
  const tables = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    .all() as unknown as string[][];
  return tables.map(([name]) => [
    name,
    db
      .prepare(`SELECT * FROM "${name}"`)
      .all()
      .map((found) => String(found))
      .sort(),
  ]);
}

const all = ["pages", "rows", "statements", "triggers"] as const;
const others = "CREATE TABLE others(a INTEGER PRIMARY KEY)";

for (const logKind of all) {
  test(`log kind ${logKind}: a failed statement keeps what stock SQLite keeps`, () => {
    for (const [story, { schema, run }] of Object.entries(stories)) {
      for (const [company, units] of Object.entries(companies)) {
        const { units: sent, stock: told } = units(run);
        const stock = new DatabaseSync(":memory:", { returnArrays: true, readBigInts: true });
        for (const sql of [...schema, others, ...told]) attempt(stock, sql);
        const { leader, follower } = replicated(logKind, [unit(...schema, others), ...sent]);
        const what = `${story}, ${company}`;
        assert.deepEqual(contentOf(leader), contentOf(stock), `${what}: the leader`);
        if (follower !== undefined) assert.deepEqual(contentOf(follower), contentOf(leader), what);
      }
    }
  });
}

function attempt(db: DatabaseSync, sql: string): void {
  try {
    db.prepare(sql).all();
  } catch {
    // Some are to fail.
  }
}

/** What units leave behind, and on a copy that is told what was recorded. */
function replicated(logKind: LogKind, units: readonly Unit[]) {
  const writer = new TestWriter({ logKind, changes: false, statements: false });
  const follower = logKind === "pages" ? undefined : openScratch(newDatabase());
  const replayer = follower && new Replayer(follower);
  let left = units;
  while (left.length > 0) {
    // Units that are left when a transaction stays open come in the next run.
    const { recorded, outcomes, open } = writer.run(left);
    left = left.slice(outcomes.length);
    if (open) writer.run([unit("ROLLBACK")], "continue");
    if (recorded === undefined || replayer === undefined) continue;
    const section = logKind === "statements" ? recorded.statements! : recorded.changes!;
    replayer.replay(decodeTransactions(encodeTransactions(section)), writer.position);
  }
  return { leader: writer.db, follower };
}
