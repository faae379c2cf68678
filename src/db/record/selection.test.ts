/** Copies that keep the rows of some tables only. */

import assert from "node:assert/strict";
import type { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { CorruptionError } from "../../base/errors.ts";
import { decodeTransactions, encodeTransactions } from "../../changes/steps-codec.ts";
import { openScratch } from "../process/connection.ts";
import { newDatabase, TestWriter, unit } from "../sql/test-database.ts";
import { Replayer } from "./replayer.ts";

type Kind = "rows" | "triggers";

/** A leader, and a follower that keeps `tables`. */
class Pair {
  readonly leader: TestWriter;
  readonly follower: DatabaseSync;
  readonly #replayer: Replayer;

  constructor(logKind: Kind, tables: readonly string[], before: readonly string[] = []) {
    this.leader = new TestWriter({ logKind, changes: false, statements: false });
    const path = newDatabase();
    this.follower = openScratch(path);
    this.#replayer = new Replayer(this.follower, tables);
    // As pages that were copied: all tables, with their rows.
    for (const sql of before) {
      this.follower.exec(sql);
      this.leader.run([unit(sql)]);
    }
  }

  run(...sqls: string[]): void {
    for (const sql of sqls) {
      const { recorded, outcomes } = this.leader.run([unit(sql)]);
      assert.ok(!JSON.stringify(outcomes).includes('\\"error\\"'), JSON.stringify(outcomes));
      if (recorded === undefined) continue;
      const bytes = encodeTransactions(recorded.changes!);
      this.#replayer.replay(decodeTransactions(bytes), this.leader.position);
    }
  }

  /** The chosen tables are as on the leader, the others empty; the schema is the same. */
  assertKept(chosen: readonly string[], others: readonly string[]): void {
    for (const name of chosen) {
      const [here, there] = [this.follower, this.leader.db].map((db) => rowsOf(db, name));
      assert.deepEqual(here, there, name);
      assert.ok(here!.length > 0, `${name} has rows`);
    }
    for (const name of others) assert.deepEqual(rowsOf(this.follower, name), [], name);
    const schema = "SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2";
    assert.deepEqual(this.follower.prepare(schema).all(), this.leader.db.prepare(schema).all());
    const check = this.follower.prepare("PRAGMA integrity_check").get() as unknown as string[];
    assert.deepEqual([...check], ["ok"]);
  }
}

const rowsOf = (db: DatabaseSync, name: string) => db.prepare(`SELECT * FROM "${name}"`).all();

const tables = [
  "CREATE TABLE Items(id INTEGER PRIMARY KEY, name TEXT UNIQUE, price REAL)",
  "CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, item REFERENCES items(id) ON DELETE CASCADE)",
  "CREATE TABLE audit(id INTEGER PRIMARY KEY, what TEXT)",
  "CREATE TRIGGER log AFTER INSERT ON items BEGIN INSERT INTO audit(what) VALUES(new.name); END",
];
const rows = [
  "INSERT INTO items(name, price) VALUES('a', 1), ('b', 2), ('c', 3)",
  "INSERT INTO orders(item) SELECT id FROM items",
  "UPDATE items SET price = (SELECT count(*) FROM orders) WHERE id = 1",
  "DELETE FROM orders WHERE id = 2",
];

for (const kind of ["rows", "triggers"] as const) {
  test(`${kind}: rows of chosen tables only, whatever their statements read`, () => {
    const pair = new Pair(kind, ["ITEMS"]);
    pair.run(...tables, ...rows);
    pair.assertKept(["items"], ["orders", "audit"]);
    assert.equal(rowsOf(pair.follower, "sqlite_sequence").length, 0);
  });

  test(`${kind}: the schema of all tables follows`, () => {
    const pair = new Pair(kind, ["orders"]);
    pair.run(...tables, ...rows);
    pair.run(
      "ALTER TABLE audit ADD COLUMN at TEXT DEFAULT 'then'",
      "CREATE UNIQUE INDEX only_one ON audit(what)",
      "ALTER TABLE items RENAME TO goods",
      "CREATE VIEW v AS SELECT * FROM goods JOIN orders ON item = goods.id",
      "INSERT INTO goods(name) VALUES('d')",
      "CREATE TABLE copy AS SELECT * FROM goods",
      "ALTER TABLE orders ADD COLUMN amount INTEGER DEFAULT 7",
      "INSERT INTO orders(item, amount) VALUES(1, 8)",
      "DROP TABLE copy",
      "PRAGMA user_version = 7",
      "VACUUM",
    );
    pair.assertKept(["orders"], ["goods", "audit"]);
    const version = pair.follower.prepare("PRAGMA user_version").get() as unknown as [bigint];
    assert.equal(version[0], 7n);
  });

  test(`${kind}: rows of other tables that came with copied pages go, without their triggers`, () => {
    const drops = "CREATE TRIGGER gone AFTER DELETE ON orders BEGIN DELETE FROM items; END";
    const pair = new Pair(kind, ["items"], [...tables, ...rows, drops]);
    pair.run("INSERT INTO items(name) VALUES('z')");
    pair.assertKept(["items"], ["orders", "audit"]);
  });

  test(`${kind}: rows that come to a chosen name with a table that was renamed cannot be made here`, () => {
    const pair = new Pair(kind, ["items"]);
    pair.run("CREATE TABLE x(id INTEGER PRIMARY KEY)", "INSERT INTO x VALUES(1)");
    assert.throws(() => pair.run("ALTER TABLE x RENAME TO items"), CorruptionError);
  });

  test(`${kind}: a chosen table that is made of another comes with its rows`, () => {
    const pair = new Pair(kind, ["items"]);
    pair.run("CREATE TABLE x(id INTEGER PRIMARY KEY)", "INSERT INTO x VALUES(1), (2)");
    pair.run("CREATE TABLE items AS SELECT id + 1 FROM x", "CREATE TABLE other AS SELECT * FROM x");
    pair.assertKept(["items"], ["x", "other"]);
  });
}

test("what a statement reads need not be here", () => {
  const pair = new Pair("rows", ["words", "notes"]);
  pair.run(
    "CREATE TABLE notes(x)",
    "CREATE TABLE secrets(x)",
    "CREATE VIRTUAL TABLE words USING fts5(x)",
    "CREATE VIRTUAL TABLE hidden USING fts5(x)",
    "INSERT INTO notes VALUES(1), (2)",
    "INSERT INTO secrets VALUES(1), (2)",
    "INSERT INTO words SELECT 'word ' || x FROM notes",
    "INSERT INTO hidden SELECT 'word ' || x FROM secrets",
    "UPDATE secrets SET x = (SELECT max(x) FROM notes)",
  );
  pair.run("INSERT INTO notes SELECT x FROM secrets", "INSERT INTO words SELECT x FROM secrets");
  pair.assertKept(["notes", "words"], ["secrets", "hidden"]);
  const found = "SELECT rowid FROM words WHERE words MATCH 'word'";
  assert.deepEqual(pair.follower.prepare(found).all(), pair.leader.db.prepare(found).all());
});

test("what a statement writes elsewhere on its way is not kept", () => {
  const pair = new Pair("rows", ["notes"]);
  pair.run(
    "CREATE TABLE notes(x)",
    "CREATE TABLE audit(x)",
    "CREATE TRIGGER log AFTER INSERT ON notes BEGIN INSERT INTO audit VALUES(new.x); END",
    "INSERT INTO notes VALUES(1)",
  );
  pair.assertKept(["notes"], ["audit"]);
});
