/**
 * Copies that are kept by what a leader recorded, of every log kind and of the change stream: after whatever a client
 * does, each has the leader's rows, rowids included where they can be seen, or the client was refused before it ran.
 */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { rowsIn } from "../../../test/process/kinds.ts";
import { toJsonStep } from "../../api/changes/change-json.ts";
import { Prng } from "../../base/prng.ts";
import { namedSteps } from "../../changes/named-steps.ts";
import type { RecordedTransaction } from "../../changes/steps.ts";
import { decodeTransactions, encodeTransactions } from "../../changes/steps-codec.ts";
import { RowCopy } from "../../db/copy/row-copy.ts";
import { openScratch } from "../../db/process/connection.ts";
import { Replayer } from "../../db/record/replayer.ts";
import type { Unit } from "../../db/sql/request.ts";
import { newDatabase, TestWriter, unit } from "../../db/sql/test-database.ts";
import type { EntryId } from "../../vocabulary.ts";
import { copySteps } from "./copy-steps.ts";

const ways = ["rows", "triggers", "statements", "changes --into"] as const;
type Way = (typeof ways)[number];

class Pair {
  readonly leader: TestWriter;
  readonly follower: DatabaseSync;
  readonly #way: Way;
  readonly #take: (transactions: RecordedTransaction[], position: EntryId) => void;

  constructor(way: Way) {
    this.#way = way;
    const isCopy = way === "changes --into";
    const logKind = isCopy ? "pages" : way;
    this.leader = new TestWriter({ logKind, changes: isCopy, statements: false });
    const path = newDatabase();
    if (!isCopy) {
      this.follower = openScratch(path);
      const replayer = new Replayer(this.follower);
      this.#take = (transactions, position) => replayer.replay(transactions, position);
      return;
    }
    const copy = new RowCopy(`${path}.copy`);
    this.follower = new DatabaseSync(`${path}.copy`, {
      ...{ readOnly: true, readBigInts: true, returnArrays: true },
      enableDoubleQuotedStringLiterals: true,
    });
    this.#take = (transactions, position) => {
      const told = namedSteps(transactions).map((steps) => steps.map(toJsonStep));
      copy.apply(position, copySteps(JSON.parse(JSON.stringify(told))));
    };
  }

  take(transactions: RecordedTransaction[]): void {
    this.#take(transactions, this.leader.position);
  }

  /** Answers, as text. */
  run(...units: Unit[]): string[] {
    const { recorded, outcomes } = this.leader.run(units);
    const section = this.#way === "statements" ? recorded?.statements : recorded?.changes;
    if (section !== undefined) {
      this.#take(decodeTransactions(encodeTransactions(section)), this.leader.position);
    }
    return outcomes.flatMap(({ results }) => results);
  }

  /** Each by itself; none may fail. */
  each(...sqls: string[]): void {
    for (const sql of sqls) {
      for (const answer of this.run(unit(sql))) assert.match(answer, /^{"type":"ok"/, sql);
    }
  }

  assertEqual(hint = ""): void {
    const found = rowsIn(this.follower);
    delete found["paceline_copied"];
    found[""] = found[""]!.filter((row) => !row.includes("paceline_copied"));
    assert.deepEqual(found, rowsIn(this.leader.db), `${this.#way} ${hint}`);
    const check = this.follower.prepare("PRAGMA integrity_check").all();
    assert.deepEqual(JSON.stringify(check), '[["ok"]]', `${this.#way} ${hint}`);
  }
}

for (const way of ways) {
  test(`${way}: what is read from hidden rowids, or in the order of a scan`, () => {
    const pair = new Pair(way);
    pair.each(
      "CREATE TABLE h(k TEXT PRIMARY KEY NOT NULL)",
      "INSERT INTO h VALUES ('zeta'), ('alpha'), ('mu')",
      "CREATE TABLE nk(x)",
      "INSERT INTO nk SELECT rowid FROM h WHERE k = 'zeta'",
      "CREATE VIRTUAL TABLE ff USING fts5(k)",
      "INSERT INTO ff(k) SELECT k FROM h NOT INDEXED",
      "DELETE FROM ff WHERE rowid = 1",
      "CREATE TABLE nk2(x)",
      "INSERT INTO nk2 VALUES ((SELECT group_concat(k) FROM h NOT INDEXED))",
      "INSERT INTO nk2 VALUES ((SELECT k FROM h NOT INDEXED WHERE k > 'b'))",
      "INSERT INTO nk2 SELECT row_number() OVER () || k FROM h NOT INDEXED",
      "CREATE TABLE made AS SELECT rowid AS r, k FROM h NOT INDEXED",
      "CREATE TABLE unnamed AS SELECT rowid AS _rowid_, k AS rowid, k AS oid FROM h NOT INDEXED",
      "CREATE VIRTUAL TABLE boxes USING rtree(id, low, high)",
      "INSERT INTO boxes SELECT NULL, rowid, rowid + 1 FROM h NOT INDEXED",
      "UPDATE nk2 SET x = x || (SELECT k FROM h NOT INDEXED)",
      "DELETE FROM nk2 WHERE rowid IN (SELECT rowid FROM nk2 LIMIT 1)",
      "INSERT INTO nk VALUES (random())",
      "VACUUM",
      "INSERT INTO nk SELECT x FROM nk2",
    );
    pair.assertEqual();
  });

  test(`${way}: text that is no UTF-8, and what looks like it`, () => {
    const pair = new Pair(way);
    const exact = (table: string, columns: string) => {
      const sql = `SELECT ${columns} FROM ${table} ORDER BY 1, 2, 3`;
      const found = pair.follower.prepare(sql).all();
      assert.deepEqual(found, pair.leader.db.prepare(sql).all(), `${way} ${table}`);
      return found.length;
    };
    // random() has what is in the second half travel as rows under every kind.
    for (const more of ["", " || substr(random(), 1, 0)"]) {
      const wrong = (hex: string) => `CAST(x'${hex}' || ''${more} AS TEXT)`;
      const n = more.length;
      pair.each(
        `CREATE TABLE loose${n}(a, b TEXT)`,
        `CREATE TABLE taken${n}(_rowid_, b TEXT)`,
        `CREATE TABLE keyed${n}(k TEXT PRIMARY KEY NOT NULL, v) WITHOUT ROWID`,
        `INSERT INTO loose${n} VALUES (${wrong("00ff")}, x'6100ff' || 'x'${more}), ('\ufffd', ${wrong("efbfbd")}), (x'ff', ${wrong("fe")})`,
        `INSERT INTO loose${n} VALUES (1, ${wrong("efbbbf61")}), (2, ${wrong("eda080")}), (3, ${wrong("c3")}), (4, NULL)`,
        `INSERT INTO taken${n} SELECT * FROM loose${n}`,
        `UPDATE taken${n} SET b = 'whole' WHERE b = ${wrong("fe")}`,
        `UPDATE taken${n} SET _rowid_ = ${wrong("fd")} WHERE b = 'whole'`,
        `UPDATE loose${n} SET b = ${wrong("fd")} WHERE b = ${wrong("fe")}`,
        `DELETE FROM taken${n} WHERE b = ${wrong("c3")}`,
        `INSERT INTO keyed${n} VALUES (${wrong("ff")}, 1), (${wrong("fe")}, 2), ('\ufffd', ${wrong("fd")})`,
        `UPDATE keyed${n} SET v = ${wrong("80")} WHERE k = ${wrong("fe")}`,
        `UPDATE keyed${n} SET k = ${wrong("81")} WHERE k = ${wrong("ff")}`,
        `DELETE FROM keyed${n} WHERE k = ${wrong("fe")}`,
        `INSERT INTO keyed${n} VALUES (${wrong("fe")}, 3)`,
        `CREATE TABLE made${n} AS SELECT a, b FROM loose${n}`,
        `CREATE TABLE unnamed${n} AS SELECT a AS _rowid_, b AS rowid, 1 AS oid FROM loose${n}`,
      );
      pair.assertEqual();
      assert.equal(exact(`loose${n}`, "hex(a), hex(b), typeof(a), typeof(b)"), 7);
      assert.equal(exact(`made${n}`, "hex(a), hex(b), typeof(a), typeof(b)"), 7);
      assert.equal(exact(`taken${n}`, "hex(_rowid_), hex(b), typeof(_rowid_), typeof(b)"), 6);
      assert.equal(exact(`unnamed${n}`, "hex(_rowid_), hex(rowid), typeof(_rowid_)"), 7);
      assert.equal(exact(`keyed${n}`, "hex(k), hex(v), typeof(v)"), 3);
    }
  });

  test(`${way}: columns that have the names of the rowid`, () => {
    const pair = new Pair(way);
    pair.each(
      'CREATE TABLE s("_rowid_" TEXT, v TEXT)',
      "INSERT INTO s VALUES ('x', '1'), ('x', '2')",
      'CREATE TABLE s2("_RowId_" TEXT, rowid, v UNIQUE)',
      "INSERT INTO s2 VALUES ('x', 1, 1), ('x', 2, 2), ('y', NULL, 3)",
      "UPDATE s2 SET v = v + 0.5, _rowid_ = NULL WHERE rowid IS NOT 2",
      "DELETE FROM s2 WHERE v = 2",
      "CREATE TABLE s3(rowid TEXT, _rowid_ INT, oid BLOB)",
      "INSERT INTO s3 VALUES ('a', 1, x'01'), ('a', 1, x'01'), ('b', 2, x'02')",
      "DELETE FROM s3 WHERE _rowid_ = 2",
      "UPDATE s3 SET oid = x'03'",
    );
    pair.assertEqual();
    const reading = unit("INSERT INTO s3 SELECT * FROM s3 WHERE oid > 1");
    if (way === "changes --into") assert.throws(() => pair.run(reading), /may do something else/);
    else assert.match(pair.run(reading)[0]!, /all names of the rowid.*"BLOCKED"/);
  });

  test(`${way}: a full text index that finds rows by a hidden rowid is refused`, () => {
    const pair = new Pair(way);
    pair.each(
      "CREATE TABLE h(k TEXT PRIMARY KEY NOT NULL)",
      "INSERT INTO h VALUES ('zeta')",
      "CREATE VIRTUAL TABLE e USING fts5(k, content='h')",
      "CREATE TABLE own(id INTEGER PRIMARY KEY, v)",
      "INSERT INTO own VALUES (7, 'plan')",
      "CREATE VIRTUAL TABLE eo USING fts5(v, content=[own], content_rowid=id)",
      "INSERT INTO eo(eo) VALUES ('rebuild')",
    );
    pair.assertEqual();
    const rebuild = unit("INSERT INTO e(e) VALUES ('rebuild')");
    if (way === "changes --into") assert.throws(() => pair.run(rebuild), /may do something else/);
    else assert.match(pair.run(rebuild)[0]!, /give it an INTEGER PRIMARY KEY.*"BLOCKED"/);
  });

  test(`${way}: a number that is noted for a row that does not come`, () => {
    const pair = new Pair(way);
    pair.each(
      "CREATE TABLE i(id INTEGER PRIMARY KEY AUTOINCREMENT, v NOT NULL)",
      "CREATE TABLE t(id INTEGER PRIMARY KEY)",
    );
    pair.run(unit("INSERT OR IGNORE INTO i(v) VALUES (NULL)"), unit("INSERT INTO t VALUES (1)"));
    pair.assertEqual();
  });

  test(`${way}: texts in double quotes, which nodes accept in a schema`, () => {
    const pair = new Pair(way);
    pair.each(
      'CREATE TABLE dq(a TEXT DEFAULT "x", CHECK(a <> "bad"))',
      'CREATE INDEX dqi ON dq(a) WHERE a <> "zz"',
      "INSERT INTO dq DEFAULT VALUES",
    );
    pair.assertEqual();
  });

  test(`${way}: triggers that delete act once, and keep their order`, () => {
    const pair = new Pair(way);
    pair.each(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
      "CREATE TABLE log(what)",
      "CREATE TRIGGER b AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('b' || new.id); END",
      "CREATE TRIGGER a AFTER INSERT ON t BEGIN DELETE FROM log WHERE rowid % 3 = new.id % 3; INSERT INTO log VALUES ('a'); END",
      "CREATE TRIGGER c AFTER INSERT ON t BEGIN INSERT INTO log VALUES ('c' || new.id); END",
      "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
      "INSERT INTO t SELECT id + 10, v FROM t",
    );
    pair.assertEqual();
    assert.deepEqual(
      pair.follower.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all(),
      pair.leader.db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all(),
    );
  });
}

test("statements: what goes of rows that sessions do not see is refused", () => {
  const pair = new Pair("statements");
  pair.each(
    "CREATE TABLE z(k TEXT PRIMARY KEY, v)",
    "DELETE FROM z",
    "INSERT INTO z VALUES (NULL, 1)",
  );
  const [answer] = pair.run(unit("DELETE FROM z WHERE v IN (SELECT v FROM z)"));
  assert.match(answer!, /rows with NULL in their primary key.*"BLOCKED"/);
  pair.assertEqual();
});

test("an index that was filled by rows and is then written by a statement", () => {
  const pair = new Pair("rows");
  pair.each("CREATE VIRTUAL TABLE f USING fts5(a)", "INSERT INTO f VALUES ('one two')");
  // As older versions recorded it.
  const sql = "INSERT INTO f VALUES ('two three')";
  for (let round = 0; round < 3; round++) {
    const plain = { foreignKeys: false, failed: false, isUnsure: false, lastRowid: undefined };
    const statement = { sql, args: [], namedArgs: [], captured: [], ...plain };
    pair.take([{ steps: [{ type: "statement", why: "", statement }] }]);
    pair.leader.db.exec(sql);
    const found = "SELECT rowid FROM f WHERE f MATCH 'two'";
    assert.deepEqual(pair.follower.prepare(found).all(), pair.leader.db.prepare(found).all());
    pair.follower.exec("INSERT INTO f(f) VALUES ('integrity-check')");
    pair.each(`INSERT INTO f VALUES ('two ${round}')`);
  }
});

/** Statements of all kinds on tables of all kinds; many fail, as those of clients do. */
class Statements {
  readonly #prng: Prng;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
  }

  static readonly schema: readonly string[] = [
    "CREATE TABLE h(k TEXT PRIMARY KEY NOT NULL, v)",
    "CREATE TABLE w(a, b, v, PRIMARY KEY (b, a)) WITHOUT ROWID",
    "CREATE TABLE i(id INTEGER PRIMARY KEY AUTOINCREMENT, v UNIQUE)",
    "CREATE TABLE n(k, v)",
    "CREATE TABLE u(k, v UNIQUE ON CONFLICT REPLACE)",
    "CREATE TABLE s(_rowid_, v UNIQUE)",
    "CREATE TABLE x(rowid, _rowid_, oid)",
    "CREATE TABLE z(k TEXT PRIMARY KEY, v)",
    "CREATE TABLE g(k, v, twice AS (v || v) STORED)",
    "CREATE TABLE child(of REFERENCES i(id) ON DELETE CASCADE, k)",
    "CREATE VIRTUAL TABLE f USING fts5(k, v)",
    "CREATE VIRTUAL TABLE e USING fts5(v, content='i', content_rowid='id')",
    "CREATE VIRTUAL TABLE r USING rtree(id, low, high)",
    "CREATE TRIGGER ei AFTER INSERT ON i BEGIN INSERT INTO e(rowid, v) VALUES (new.id, new.v); END",
    "CREATE TRIGGER nd AFTER INSERT ON n BEGIN DELETE FROM g WHERE v = new.v; INSERT INTO g(k, v) VALUES (new.k, new.v); END",
    "CREATE TRIGGER hu AFTER UPDATE ON h BEGIN INSERT INTO n SELECT k, rowid FROM h WHERE k > new.k LIMIT 2; END",
    "CREATE VIEW view AS SELECT k, v FROM n",
    "CREATE TRIGGER vi INSTEAD OF INSERT ON view BEGIN INSERT INTO n VALUES (new.k, new.v); INSERT INTO h VALUES (new.k, new.v); END",
  ];

  next(): string {
    const { table, columns } = this.#pick(targets);
    const either = this.#pick(["", "", "", " OR IGNORE", " OR REPLACE", " OR FAIL"]);
    const where = this.#pick([
      "v = $v",
      "rowid = $n",
      "v > $v",
      "$c LIKE '%1%'",
      "1",
      "v IN (SELECT v FROM n)",
    ]);
    const one = columns.split(",")[0]!;
    const sql = this.#pick([
      `INSERT${either} INTO ${table}(${columns}) VALUES ($1), ($2)`,
      `INSERT${either} INTO ${table}(${columns}) VALUES ($1)`,
      `INSERT${either} INTO ${table}(${columns}) SELECT ${columns} FROM ${table} WHERE ${where}`,
      `INSERT${either} INTO ${table}(${one}) SELECT rowid FROM ${this.#pick(targets).table} NOT INDEXED`,
      `INSERT${either} INTO ${table}(${one}) SELECT k FROM h NOT INDEXED WHERE v > $v LIMIT 2`,
      `INSERT INTO ${table}(${one}) VALUES ((SELECT group_concat(k) FROM h NOT INDEXED))`,
      `INSERT INTO ${table}(rowid, ${one}) VALUES ($n, $v)`,
      `UPDATE${either} ${table} SET ${one} = $v WHERE ${where}`,
      `UPDATE${either} ${table} SET ${one} = random() % 9 WHERE ${where}`,
      `UPDATE${either} ${table} SET ${one} = (SELECT max(rowid) FROM h) WHERE ${where}`,
      `UPDATE${either} ${table} SET rowid = $n WHERE ${where}`,
      `DELETE FROM ${table} WHERE ${where}`,
      `DELETE FROM ${table} WHERE rowid IN (SELECT rowid FROM ${table} ORDER BY 1 LIMIT 2)`,
      this.#pick([
        "VACUUM",
        "ANALYZE",
        "REINDEX",
        "INSERT INTO f(f) VALUES ('optimize')",
        "DROP TABLE made",
      ]),
      `CREATE TABLE made AS SELECT rowid AS r, * FROM ${this.#pick(targets).table} NOT INDEXED`,
      "INSERT INTO view VALUES ($v, $v)",
      this.#pick([
        "ALTER TABLE n ADD COLUMN c$n DEFAULT 5",
        "CREATE INDEX IF NOT EXISTS hi ON h(v)",
        "DROP INDEX hi",
      ]),
    ]);
    return sql
      .replaceAll("$c", one)
      .replace(/\$[12]/g, () =>
        columns
          .split(",")
          .map(() => this.#value())
          .join(),
      )
      .replace(/\$[vn]/g, (what) =>
        what === "$n" ? String(this.#prng.integer(1, 9)) : this.#value(),
      );
  }

  #value(): string {
    return this.#pick([
      "1",
      "2",
      "3",
      "'a'",
      "'b1'",
      "x'01'",
      "2.5",
      "NULL",
      "random() % 5",
      "CURRENT_TIMESTAMP",
      "''",
    ]);
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#prng.integer(0, from.length)]!;
  }
}

const targets = [
  ...["h k,v", "w a,b,v", "i v", "n k,v", "u k,v", "s _rowid_,v", "x rowid,oid", "z k,v", "g k,v"],
  ...["child of,k", "f k,v", "r id,low,high"],
].map((line) => ({ table: line.split(" ")[0]!, columns: line.split(" ")[1]! }));

for (const way of ways) {
  test(`${way}: whatever is done, the copy is the leader's, or it was refused`, () => {
    for (let seed = 1; seed <= 8; seed++) {
      const statements = new Statements(seed);
      const prng = new Prng(seed + 1_000);
      const pair = new Pair(way);
      pair.each(...Statements.schema);
      const done: string[] = [];
      try {
        for (let round = 0; round < 30; round++) {
          const units = Array.from({ length: prng.integer(1, 4) }, () => {
            const sqls = Array.from({ length: prng.integer(1, 4) }, () => statements.next());
            const asOne = prng.chance(0.3)
              ? [
                  "BEGIN",
                  ...sqls,
                  "SAVEPOINT p",
                  statements.next(),
                  "ROLLBACK TO p",
                  statements.next(),
                  "COMMIT",
                ]
              : sqls;
            done.push(...asOne);
            return { ...unit(...asOne), foreignKeys: prng.chance(0.5) };
          });
          pair.run(...units);
        }
      } catch (error) {
        const isUnsure = /may do something else here/.test(String(error));
        if (isUnsure && way === "changes --into") continue;
        throw new Error(`${way}, seed ${seed}: ${done.slice(-12).join(";\n")}`, { cause: error });
      }
      pair.assertEqual(`seed ${seed}`);
    }
  });
}
