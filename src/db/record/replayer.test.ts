import assert from "node:assert/strict";
import type { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { transaction, workloadSchema } from "../../../test/process/kinds.ts";
import { CorruptionError } from "../../base/errors.ts";
import { Prng } from "../../base/prng.ts";
import { decodeTransactions, encodeTransactions } from "../../changes/steps-codec.ts";
import type { LogKind } from "../../vocabulary.ts";
import { openScratch } from "../process/connection.ts";
import type { Stmt, Unit, Value } from "../sql/request.ts";
import { newDatabase, TestWriter, unit } from "../sql/test-database.ts";
import { Replayer } from "./replayer.ts";

/** A leader that records, and a follower that runs it again. */
class Pair {
  readonly leader: TestWriter;
  readonly follower: DatabaseSync;
  readonly #kind: LogKind;
  readonly #replayer: Replayer;
  bytes = 0;
  warnings: string[] = [];

  constructor(kind: LogKind, tables?: readonly string[]) {
    this.#kind = kind;
    this.leader = new TestWriter({ logKind: kind, changes: false, statements: false, tables });
    const path = newDatabase();
    this.follower = openScratch(path);
    this.#replayer = new Replayer(this.follower);
  }

  run(...units: Unit[]): string[] {
    const { recorded, outcomes, warnings } = this.leader.run(units);
    this.warnings.push(...warnings);
    if (recorded !== undefined) {
      const section = this.#kind === "statements" ? recorded.statements : recorded.changes;
      const bytes = encodeTransactions(section!);
      this.bytes += bytes.byteLength;
      this.#replayer.replay(decodeTransactions(bytes), this.leader.position);
    }
    return outcomes.flatMap(({ results }) => results);
  }

  assertEqual(...except: string[]): void {
    const expected = contentOf(this.leader.db);
    const found = contentOf(this.follower);
    for (const table of except) {
      delete expected[table];
      delete found[table];
    }
    assert.deepEqual(found, expected);
    const check = this.follower.prepare("PRAGMA integrity_check").get() as unknown as string[];
    assert.deepEqual([...check], ["ok"]);
  }
}

function contentOf(db: DatabaseSync): Record<string, string[]> {
  const names = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'words_%'")
    .all() as unknown as string[][];
  const all: Record<string, string[]> = {};
  for (const [name] of names) {
    const rows = db.prepare(`SELECT * FROM "${name}"`).all();
    all[name!] = rows.map((row) => JSON.stringify(row, shown)).sort();
  }
  all["schema"] = db
    .prepare("SELECT type, name, sql FROM sqlite_schema")
    .all()
    .map((row) => JSON.stringify(row))
    .sort();
  return all;
}

function shown(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return `${value}n`;
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
}

function unitOf(n: number): Unit {
  const requests = transaction(n).map(({ sql, args }) => {
    const stmt: Stmt = { sql, args: args as Value[], namedArgs: [], wantRows: true };
    return { type: "execute", stmt } as const;
  });
  return { requests, foreignKeys: true };
}

for (const kind of ["rows", "statements", "triggers"] as const) {
  test(`log kind ${kind}: a hard workload gives the same rows`, () => {
    const pair = new Pair(kind);
    pair.run(unit(...workloadSchema));
    for (let n = 0; n < 3_000; n += 7) {
      pair.run(...Array.from({ length: 7 }, (_, i) => unitOf(n + i)));
    }
    pair.assertEqual();
    assert.ok(Number(pair.leader.rows("SELECT count(*) FROM sales")[0]![0]) > 10);
    assert.ok(Number(pair.leader.rows("SELECT count(*) FROM journal")[0]![0]) > 100);
  });

  test(`log kind ${kind}: the same in another order, in real transactions`, () => {
    const pair = new Pair(kind);
    const prng = new Prng(5);
    pair.run(unit(...workloadSchema));
    const order = Array.from({ length: 1_200 }, (_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = prng.integer(Math.max(0, i - 100), i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    for (let at = 0; at < order.length; at += 6) {
      const requests = order.slice(at, at + 6).flatMap((n) => unitOf(n).requests);
      pair.run(unit("PRAGMA foreign_keys = on", ...requests), unitOf(order[at]! + 5_000));
    }
    pair.assertEqual();
  });

  test(`log kind ${kind}: rows that stayed without their number of AUTOINCREMENT`, () => {
    const pair = new Pair(kind);
    pair.run(unit("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v)"));
    pair.run(unit("BEGIN", "INSERT OR FAIL INTO t VALUES (1000, 1), (1, 2), (0.5, 3)", "COMMIT"));
    pair.assertEqual();
    pair.run(unit("INSERT INTO t(v) VALUES (4)"));
    pair.assertEqual();
  });

  test(`log kind ${kind}: numbers of AUTOINCREMENT that move without a row, of several tables`, () => {
    const pair = new Pair(kind);
    const table = (name: string) =>
      `CREATE TABLE ${name}(id INTEGER PRIMARY KEY AUTOINCREMENT, v CHECK (v <> 4))`;
    pair.run(unit(table("t"), table("u"), "INSERT INTO t VALUES (0, 0)"));
    pair.run(unit("UPDATE u SET v = 5"), unit("INSERT INTO u SELECT * FROM t WHERE v = 7"));
    pair.run(unit("UPDATE u SET v = 5"), unit("INSERT OR IGNORE INTO t VALUES (9, 4)"));
    pair.assertEqual();
  });

  test(`log kind ${kind}: a trigger replaces rows of another table`, () => {
    const pair = new Pair(kind);
    pair.run(
      unit(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
        "CREATE TABLE s(id INTEGER PRIMARY KEY, v)",
      ),
      unit("CREATE TABLE keyed(id INTEGER PRIMARY KEY, v UNIQUE)", "CREATE TABLE plain(v UNIQUE)"),
      unit(
        "CREATE TRIGGER a AFTER INSERT ON t BEGIN REPLACE INTO keyed(v) VALUES (new.v); END",
        "CREATE TRIGGER b AFTER INSERT ON s BEGIN REPLACE INTO plain(v) VALUES (new.v); END",
      ),
    );
    for (const v of [1, 2, 1, 2, 3]) {
      const told = pair.run(
        unit(`INSERT INTO t(v) VALUES (replace(${v}, '', ''))`),
        unit(`INSERT INTO s(v) VALUES (${v})`),
      );
      assert.doesNotMatch(told[0]!, /error/);
      assert.match(told[1]!, /may replace rows of table plain.*BLOCKED/);
      pair.assertEqual();
    }
  });

  test(`log kind ${kind}: triggers act once, whatever they do`, () => {
    const pair = new Pair(kind);
    pair.run(
      unit(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
        "CREATE TABLE log(id INTEGER PRIMARY KEY, what)",
        "CREATE TABLE total(id INTEGER PRIMARY KEY, n)",
        "INSERT INTO total VALUES (1, 0)",
        "CREATE TRIGGER a BEFORE INSERT ON t BEGIN INSERT INTO log(what) VALUES ('b ' || new.id); END",
        "CREATE TRIGGER b AFTER INSERT ON t BEGIN UPDATE total SET n = n + 1; REPLACE INTO log VALUES (1000 + new.id, 'x'); END",
        "CREATE TRIGGER c AFTER UPDATE ON t BEGIN DELETE FROM log WHERE id = new.id; END",
        "CREATE TRIGGER d BEFORE DELETE ON t BEGIN SELECT RAISE(IGNORE) WHERE old.v = 'stay'; END",
        "CREATE TRIGGER e AFTER INSERT ON log BEGIN UPDATE total SET n = n + 100; END",
        "CREATE VIEW w AS SELECT * FROM t",
        "CREATE TRIGGER f INSTEAD OF INSERT ON w BEGIN INSERT INTO t VALUES (new.id, 'by view'); END",
      ),
    );
    pair.run(unit("INSERT INTO t VALUES (1, 'a'), (2, 'stay'), (3, 'c')"));
    pair.run(unit("UPDATE t SET v = v WHERE id < 3"), unit("INSERT INTO w(id) VALUES (9)"));
    pair.run(unit("DELETE FROM t"), unit("UPDATE t SET v = 'go', id = 30"), unit("DELETE FROM t"));
    pair.assertEqual();
  });

  test(`log kind ${kind}: the schema in all its turns`, () => {
    const pair = new Pair(kind);
    pair.run(unit("CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, v DEFAULT (random()))"));
    pair.run(
      unit(
        "BEGIN",
        "INSERT INTO a(v) VALUES (1)",
        "ALTER TABLE a ADD COLUMN w DEFAULT 3",
        "INSERT INTO a(v, w) VALUES (2, 2)",
        "ALTER TABLE a RENAME COLUMN v TO vv",
        "INSERT INTO a DEFAULT VALUES",
        "COMMIT",
      ),
    );
    pair.run(
      unit("ALTER TABLE a RENAME TO b", "CREATE TABLE c AS SELECT random() AS r, * FROM b"),
      unit("DROP TABLE c"),
      unit("CREATE UNIQUE INDEX i ON b(vv)"),
    );
    pair.run(
      unit("BEGIN", "DELETE FROM b WHERE id = 3", "ROLLBACK"),
      unit("INSERT INTO b(vv) VALUES (9)", "DELETE FROM b WHERE vv = 9"),
    );
    pair.run(unit("UPDATE sqlite_sequence SET seq = 4", "ANALYZE", "DELETE FROM sqlite_stat1"));
    pair.run(unit("PRAGMA user_version = 5"), unit("VACUUM"), unit("ANALYZE"), unit("REINDEX"));
    pair.run(
      unit("ALTER TABLE b DROP COLUMN w", "CREATE TABLE k(x, y, PRIMARY KEY (y, x)) WITHOUT ROWID"),
    );
    pair.run(unit("INSERT INTO k VALUES (1, 2), (2, 1)", "INSERT INTO b(vv) VALUES (77)"));
    pair.assertEqual();
    assert.deepEqual(
      pair.follower.prepare("PRAGMA user_version").get(),
      pair.leader.db.prepare("PRAGMA user_version").get(),
    );
    assert.deepEqual(pair.leader.rows("SELECT seq FROM sqlite_sequence"), [[5]]);
  });

  test(`log kind ${kind}: a copy that differs is noticed`, () => {
    const pair = new Pair(kind);
    pair.run(
      unit("CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE)", "INSERT INTO t VALUES (1, 1)"),
    );
    pair.follower.exec("INSERT INTO t VALUES (2, 2)");
    assert.throws(() => pair.run(unit("INSERT INTO t VALUES (2, 3)")), CorruptionError);
  });
}

test("values of clock and chance are the leader's", () => {
  const pair = new Pair("statements");
  pair.run(
    unit(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a DEFAULT CURRENT_TIMESTAMP, b DEFAULT (random()), c, d, e, f)",
    ),
  );
  for (let i = 0; i < 20; i++) {
    pair.run(
      unit(
        "INSERT INTO t(c, d, e, f) VALUES (julianday('now'), date('2026-02-28', '+1 day'), strftime('%f', 'now', 'localtime'), time('12:00', 'localtime'))",
      ),
    );
  }
  pair.run(
    unit(
      "UPDATE t SET b = randomblob(id), c = unixepoch(), d = timediff('now', '2020-01-01'), e = unixepoch('subsec'), f = strftime('%f', 'subsec') WHERE id % 2",
    ),
  );
  pair.run(unit("INSERT INTO t(c, f) SELECT random(), last_insert_rowid() FROM t ORDER BY id"));
  pair.assertEqual();
});

test("the originals and what replaces them say the same", () => {
  const pair = new Pair("statements");
  const plain = openScratch(newDatabase());
  for (const sql of [
    "SELECT date('2026-01-31', '+1 month'), datetime(0, 'unixepoch'), time('25:00'), date(NULL), julianday('2000-01-01')",
    "SELECT strftime('%s %j', '2026-05-05 01:02:03'), unixepoch('1970-01-02'), timediff('2026-01-01', '2025-01-01')",
    "SELECT typeof(random()), length(randomblob(9)), typeof(unixepoch()), typeof(julianday('now')), length(datetime())",
    "SELECT length(CURRENT_TIMESTAMP), length(CURRENT_DATE), length(CURRENT_TIME), datetime('now') = CURRENT_TIMESTAMP",
    "SELECT length(strftime('%Y-%m-%d')), typeof(unixepoch('now', 'subsec')), date('now', '+0 days') = date()",
    "SELECT typeof(unixepoch('subsec')), length(datetime('subsec')), length(timediff('now', 'now')), datetime('x'), date()",
  ]) {
    assert.deepEqual(pair.leader.db.prepare(sql).get(), plain.prepare(sql).get(), sql);
  }
});

test("what cannot be repeated travels as rows, with the reason told once", () => {
  const pair = new Pair("statements");
  pair.run(unit("CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "CREATE TABLE loose(a)"));
  for (const _ of [1, 2]) {
    pair.run(
      unit("INSERT INTO t(v) SELECT changes()"),
      unit("INSERT INTO t(v) SELECT 1 UNION ALL SELECT 2 LIMIT 1"),
    );
  }
  pair.assertEqual();
  assert.equal(pair.warnings.length, 2, pair.warnings.join());
  const [answer] = pair.run(unit("REPLACE INTO loose SELECT total_changes()"));
  assert.match(answer!, /"code":"BLOCKED"/);
  assert.deepEqual(pair.leader.rows("SELECT * FROM loose"), []);
});

test("what SQLite compiles anew is not taken for what is being compiled", () => {
  const pair = new Pair("rows");
  pair.run(
    unit(
      ...["CREATE TABLE loose(a)", "CREATE TABLE t(id INTEGER PRIMARY KEY)"],
      "CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO loose VALUES (new.id); END",
    ),
  );
  const insert = unit("INSERT INTO t VALUES (NULL)");
  for (const answer of pair.run(insert, unit("CREATE INDEX i ON loose(a)"), insert, insert)) {
    assert.match(answer, /"type":"ok"/);
  }
  pair.assertEqual();
});

test("rows that SQLite would leave out silently are refused", () => {
  const pair = new Pair("rows");
  pair.run(unit("CREATE TABLE t(k TEXT PRIMARY KEY, v)", "INSERT INTO t VALUES ('a', 1)"));
  const [first, second] = pair.run(
    unit("INSERT INTO t VALUES ('b', 2), (NULL, 3)"),
    unit("BEGIN", "INSERT INTO t VALUES ('c', 3)", "UPDATE t SET k = NULL WHERE v = 1", "COMMIT"),
  );
  assert.match(first!, /BLOCKED/);
  assert.match(second!, /ok/);
  pair.assertEqual();
  assert.deepEqual(pair.leader.rows("SELECT k FROM t ORDER BY v"), [["a"], ["c"]]);
});

test("triggers see tables without key, keys that move, and what other triggers do to a row", () => {
  const pair = new Pair("triggers");
  pair.run(
    unit(
      "CREATE TABLE loose(a, b)",
      "CREATE TABLE t(k, n INT, v, PRIMARY KEY (k, n))",
      "CREATE TABLE q(id INTEGER PRIMARY KEY, v)",
      "CREATE TRIGGER tidy AFTER INSERT ON q BEGIN UPDATE q SET v = v || '!' WHERE id = new.id; END",
      "CREATE TRIGGER more AFTER UPDATE ON q WHEN length(new.v) < 4 BEGIN UPDATE q SET v = v || '?' WHERE id = new.id; END",
    ),
  );
  pair.run(
    unit(
      "INSERT INTO loose VALUES (1, 'x'), (1, 'x'), (2, NULL)",
      "INSERT INTO q VALUES (1, 'a'), (2, 'abcdef')",
    ),
  );
  pair.run(
    unit("UPDATE loose SET b = 'y' WHERE rowid = 2"),
    unit("DELETE FROM loose WHERE a = 2"),
    unit("UPDATE q SET v = 'z'"),
  );
  pair.run(
    unit(
      "INSERT INTO t VALUES ('a', 1, 1), ('b', 2, 2)",
      "UPDATE t SET n = n + 10",
      "UPDATE t SET k = 'c', v = 9 WHERE k = 'b'",
    ),
  );
  pair.run(
    unit(
      "BEGIN",
      "DELETE FROM q",
      "INSERT INTO q VALUES (1, 'again'), (7, 'n')",
      "DELETE FROM q WHERE id = 7",
      "COMMIT",
    ),
  );
  pair.run(
    unit("BEGIN", "INSERT INTO q VALUES (8, 'k')", "ROLLBACK"),
    unit("INSERT INTO q VALUES (9, 'l')"),
    unit("INSERT OR IGNORE INTO q VALUES (9, 'm'), (10, 'o')"),
  );
  pair.assertEqual();
  assert.deepEqual(pair.warnings, []);
});

test("keys that might be NULL are looked at, whoever collects the rows", () => {
  for (const kind of ["rows", "triggers"] as const) {
    const pair = new Pair(kind);
    pair.run(unit("CREATE TABLE t(k TEXT PRIMARY KEY, v)", "INSERT INTO t VALUES ('a', 1)"));
    for (const n of [1, 2, 3]) pair.run(unit(`INSERT INTO t VALUES ('${n}', ${n})`));
    pair.run(
      unit("CREATE INDEX i ON t(v)"),
      unit("UPDATE t SET v = v + 1"),
      unit("DELETE FROM t WHERE k = 'a'"),
    );
    pair.assertEqual();
  }
});

test("a transaction that changed nothing leaves the record of the one before alone", () => {
  for (const kind of ["rows", "triggers"] as const) {
    const pair = new Pair(kind);
    const on = "PRAGMA foreign_keys = on";
    pair.run(unit("CREATE TABLE t(id INTEGER PRIMARY KEY, v)"));
    pair.run(
      unit(on, "INSERT INTO t VALUES (1, 1)", "BEGIN", "UPDATE t SET v = 2 WHERE id = 9", "COMMIT"),
    );
    pair.run(
      unit(
        on,
        "UPDATE t SET v = 3",
        "UPDATE t SET v = 2 WHERE id = 9",
        "DELETE FROM t WHERE id = 9",
      ),
    );
    pair.run(
      unit(
        on,
        "UPDATE t SET v = 4",
        "BEGIN",
        "DELETE FROM t",
        "ROLLBACK",
        "INSERT INTO t VALUES (2, 2)",
      ),
    );
    pair.assertEqual();
  }
});

test("only chosen tables travel", () => {
  for (const kind of ["rows", "triggers"] as const) {
    const pair = new Pair(kind, ["wanted"]);
    pair.run(
      unit(
        "CREATE TABLE wanted(id INTEGER PRIMARY KEY, v)",
        "CREATE TABLE other(id INTEGER PRIMARY KEY, v)",
        "CREATE TABLE loose(v)",
        "CREATE TRIGGER both AFTER INSERT ON wanted BEGIN INSERT INTO other(v) VALUES (new.v); END",
      ),
    );
    pair.run(
      unit("INSERT INTO wanted VALUES (1, 'a'), (2, CAST(x'61ff' AS TEXT))"),
      unit("INSERT INTO other VALUES (9, 'b')"),
      unit("INSERT INTO loose VALUES (1)"),
    );
    pair.assertEqual("other", "loose");
    const text = pair.follower.prepare("SELECT typeof(v), hex(v) FROM wanted WHERE id = 2");
    assert.deepEqual(text.all(), [["text", "61FF"]]);
    assert.deepEqual(pair.follower.prepare("SELECT * FROM other").all(), []);
    assert.deepEqual(pair.follower.prepare("SELECT * FROM loose").all(), []);
  }
});
