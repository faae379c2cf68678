/** What a leader records, told as the change stream tells it, and put into a file by those who follow it. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { transaction, workloadSchema } from "../../../test/process/kinds.ts";
import { type JsonStep, toJsonStep } from "../../api/changes/change-json.ts";
import { CorruptionError } from "../../base/errors.ts";
import { namedSteps } from "../../changes/named-steps.ts";
import { decodeTransactions, encodeTransactions } from "../../changes/steps-codec.ts";
import { RowCopy } from "../../db/copy/row-copy.ts";
import type { Stmt, Unit, Value } from "../../db/sql/request.ts";
import { newDatabase, TestWriter, unit } from "../../db/sql/test-database.ts";
import type { LogKind } from "../../vocabulary.ts";
import { copySteps } from "./copy-steps.ts";

class Followed {
  readonly leader: TestWriter;
  readonly #path = `${newDatabase()}.copy`;
  copy = new RowCopy(this.#path);

  constructor(logKind: LogKind = "pages") {
    this.leader = new TestWriter({ logKind, changes: true, statements: false });
  }

  run(...units: Unit[]): JsonStep[] {
    const event = this.record(...units);
    if (event !== undefined) this.copy.apply(this.leader.position, copySteps(event));
    return (event ?? []).flat();
  }

  record(...units: Unit[]): JsonStep[][] | undefined {
    const { recorded } = this.leader.run(units);
    if (recorded?.changes === undefined) return undefined;
    const transactions = decodeTransactions(encodeTransactions(recorded.changes));
    const told = namedSteps(transactions).map((steps) => steps.map(toJsonStep));
    return JSON.parse(JSON.stringify(told)) as JsonStep[][];
  }

  /** As after a crash. */
  reopen(): void {
    this.copy.close();
    this.copy = new RowCopy(this.#path);
  }

  assertEqual(): void {
    const copy = new DatabaseSync(this.#path, { readBigInts: true, returnArrays: true });
    const [found, expected] = [contentOf(copy), contentOf(this.leader.db)];
    assert.deepEqual(found, expected);
    assert.deepEqual(copy.prepare("PRAGMA integrity_check").all(), [["ok"]]);
    copy.close();
  }
}

/** Rows of all tables, those that virtual tables keep for themselves excepted, and the schema. */
function contentOf(db: DatabaseSync): Record<string, unknown[]> {
  const schema = (
    db
      .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
      .all() as unknown as string[][]
  ).filter(([, name]) => !/^(sqlite_paceline|paceline_copied|words_.*)$/.test(name!));
  const all: Record<string, unknown[]> = { schema };
  for (const [type, name] of schema) {
    if (type !== "table") continue;
    const rows = db.prepare(`SELECT * FROM "${name}"`).all();
    all[name!] = rows.map((row) => JSON.stringify(row, shown)).sort();
  }
  return all;
}

function shown(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return `${value}n`;
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
}

for (const kind of ["pages", "rows", "triggers"] as const) {
  test(`a hard workload of log kind ${kind} ends with the same tables`, () => {
    const followed = new Followed(kind);
    followed.run(unit(...workloadSchema));
    const unitOf = (n: number): Unit => {
      const requests = transaction(n).map(({ sql, args }) => {
        const stmt: Stmt = { sql, args: args as Value[], namedArgs: [], wantRows: true };
        return { type: "execute", stmt } as const;
      });
      return { requests, foreignKeys: true };
    };
    for (let n = 0; n < 2_000; n += 7) {
      followed.run(...Array.from({ length: 7 }, (_, i) => unitOf(n + i)));
      if (n % 210 === 0) followed.reopen();
    }
    followed.assertEqual();
  });
}

test("rows whose unique columns change places", () => {
  const followed = new Followed();
  followed.run(unit("CREATE TABLE t(id INTEGER PRIMARY KEY, place INT UNIQUE, x)"));
  followed.run(unit("INSERT INTO t(place) VALUES (1), (2), (3), (4), (5)"));
  followed.run(
    unit("BEGIN", "UPDATE t SET place = -place", "UPDATE t SET place = 6 + place", "COMMIT"),
  );
  followed.run(
    unit("BEGIN", "DELETE FROM t WHERE id = 3", "INSERT INTO t VALUES (9, 3, 'n')", "COMMIT"),
  );
  const turned = [
    "BEGIN",
    "UPDATE t SET place = -place",
    "UPDATE t SET place = 6 + place",
    "COMMIT",
  ];
  followed.run(unit(...turned), unit("UPDATE t SET x = place"), unit(...turned));
  followed.assertEqual();
});

test("triggers that delete act once", () => {
  const followed = new Followed();
  followed.run(
    unit(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
      "CREATE TABLE log(id INTEGER PRIMARY KEY, what)",
      "INSERT INTO log VALUES (1, 'a'), (2, 'b')",
      "CREATE TRIGGER z AFTER INSERT ON t BEGIN DELETE FROM log WHERE what IS NOT 'kept' AND (what IS NULL OR id = new.id); INSERT INTO log VALUES (new.id + 10, 'x'); END",
    ),
  );
  const steps = followed.run(unit("INSERT INTO t VALUES (1, 'new')"));
  assert.deepEqual(steps.map(({ op }) => op).sort(), ["delete", "insert", "insert"]);
  // Whichever of the two tables comes first.
  followed.run(
    unit("BEGIN", "INSERT INTO t VALUES (2, 'n')", "INSERT INTO log VALUES (2, 'again')", "COMMIT"),
  );
  followed.run(
    unit("INSERT INTO t VALUES (11, 'newer')"),
    unit("INSERT INTO log VALUES (1, 'back')"),
  );
  followed.assertEqual();
});

test("statements that rows cannot say: triggers, foreign keys, failures, rowids, VACUUM", () => {
  const followed = new Followed();
  const withKeys = (...sql: string[]): Unit => ({ ...unit(...sql), foreignKeys: true });
  followed.run(
    unit(
      "CREATE TABLE loose(x UNIQUE)",
      "CREATE TABLE kept(id INTEGER PRIMARY KEY AUTOINCREMENT, of)",
      "CREATE TRIGGER l AFTER INSERT ON loose BEGIN INSERT INTO kept(of) VALUES (new.x); END",
      "CREATE TABLE parent(id INTEGER PRIMARY KEY)",
      "CREATE TABLE child(of REFERENCES parent(id) ON DELETE CASCADE)",
    ),
  );
  followed.run(unit("INSERT INTO loose VALUES (1), (2)"));
  followed.run(unit("INSERT OR FAIL INTO loose VALUES (7), (1), (8)"));
  followed.run(
    unit(
      "INSERT INTO kept(id) VALUES (77), (50), (99), (60)",
      "INSERT INTO loose VALUES (last_insert_rowid())",
    ),
  );
  followed.run(
    unit("INSERT INTO parent VALUES (1), (2)", "INSERT INTO child VALUES (1), (2), (1)"),
  );
  followed.run(
    withKeys("DELETE FROM parent WHERE id = 1"),
    unit("INSERT INTO kept VALUES (100, 'k')"),
  );
  followed.run(unit("DELETE FROM loose WHERE rowid = 1"));
  followed.run(
    unit("INSERT INTO parent VALUES (5)"),
    unit("VACUUM"),
    unit("INSERT INTO parent VALUES (6)"),
  );
  followed.run(unit("DELETE FROM loose WHERE rowid = 1"));
  followed.assertEqual();
});

test("an entry that takes several transactions goes on after a crash where it was", () => {
  const followed = new Followed();
  followed.run(
    unit("CREATE TABLE t(id INTEGER PRIMARY KEY)", "CREATE TABLE loose(x REFERENCES t(id))"),
  );
  const event = followed.record(
    unit("INSERT INTO t VALUES (1)"),
    { ...unit("INSERT INTO loose VALUES (1)"), foreignKeys: true },
    unit("INSERT INTO t VALUES (2)"),
  )!;
  const steps = copySteps(event);
  const before = followed.copy.position;
  const broken = [...steps.slice(0, -1), { type: "sequence", table: "none", value: 1n } as const];
  assert.throws(() => followed.copy.apply(followed.leader.position, broken));
  followed.reopen();
  assert.deepEqual(followed.copy.position, before);
  assert.equal(followed.copy.apply(followed.leader.position, steps), true);
  assert.equal(followed.copy.apply(followed.leader.position, steps), false);
  followed.assertEqual();
});

test("a file that differs is not guessed at, and stays as it was", () => {
  const followed = new Followed();
  followed.run(unit("CREATE TABLE t(id INTEGER PRIMARY KEY, x)", "INSERT INTO t VALUES (1, 'a')"));
  const other = new Followed();
  other.run(unit("CREATE TABLE t(id INTEGER PRIMARY KEY, x)", "INSERT INTO t VALUES (1, 'z')"));
  const event = followed.record(
    unit("INSERT INTO t VALUES (2, 'b')", "UPDATE t SET x = 'c' WHERE id = 1"),
  )!;
  const { position } = other.copy;
  assert.throws(
    () => other.copy.apply(followed.leader.position, copySteps(event)),
    CorruptionError,
  );
  assert.deepEqual(other.copy.position, position);
  other.assertEqual();
});

test("rows with NULL in their key, which SQLite's sessions do not see", () => {
  const followed = new Followed();
  followed.run(
    unit(
      "CREATE TABLE t(id TEXT PRIMARY KEY, v)",
      "CREATE TABLE two(a, b, c, PRIMARY KEY(a, b))",
      "CREATE TRIGGER both AFTER INSERT ON two BEGIN INSERT INTO t VALUES (NULL, new.c); END",
    ),
  );
  const steps = followed.run(unit("INSERT INTO t VALUES ('a', 1), (NULL, 2), ('b', 3), (NULL, 4)"));
  assert.equal(steps.filter((step) => step.op === "insert").length, 4);
  followed.assertEqual();
  followed.run(unit("UPDATE t SET v = v * 10"), unit("INSERT INTO t VALUES (NULL, 5), ('c', 6)"));
  followed.run(
    unit("DELETE FROM t WHERE id IS NULL"),
    unit("UPDATE t SET id = NULL WHERE id = 'b'"),
  );
  followed.assertEqual();
  followed.run(unit("DELETE FROM t WHERE id IS NULL"));
  followed.run(unit("INSERT INTO two VALUES (1, NULL, 'x'), (1, 1, 'y')"));
  followed.run(
    unit(
      "DELETE FROM t",
      "BEGIN",
      "SAVEPOINT s",
      "INSERT INTO t VALUES (NULL, 7)",
      "ROLLBACK TO s",
      "COMMIT",
    ),
    unit("INSERT INTO t VALUES ('d', 8)"),
  );
  followed.assertEqual();
  assert.deepEqual(
    followed.run(unit("UPDATE t SET v = 9 WHERE id = 'd'")).map(({ op }) => op),
    ["update"],
  );
  followed.assertEqual();
});
