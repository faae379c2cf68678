// What is imported must be what was in the file: every value, every rowid, every index, view and trigger.

import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, afterEach, beforeEach, test } from "node:test";
import { FakeNode } from "../../test/fake-node.ts";
import { runCaptured } from "../../test/run-captured.ts";

const dir = mkdtempSync(join(tmpdir(), "paceline-import-"));
let node: FakeNode;

beforeEach(async () => {
  node = await FakeNode.start();
});
afterEach(() => node.stop());
after(() => rmSync(dir, { recursive: true }));

let files = 0;
function file(sql: string): string {
  const path = join(dir, `${files++}.sqlite`);
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
  return path;
}

/** Rows of a query on the file and on the cluster, exact in type and value. */
function same(path: string, query: string): void {
  const rows = (db: DatabaseSync): unknown[] => {
    const statement = db.prepare(query);
    statement.setReadBigInts(true);
    statement.setReturnArrays(true);
    return statement.all();
  };
  const db = new DatabaseSync(path, { readOnly: true });
  assert.deepEqual(rows(node.db), rows(db), query);
  db.close();
}

async function importFile(path: string, ...more: string[]) {
  return await runCaptured(["import", "--url", node.url, path, ...more]);
}

const schemaQuery =
  "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name";

test("every kind of value arrives exactly", async () => {
  const path = file(`
    CREATE TABLE v (id INTEGER PRIMARY KEY, x);
    INSERT INTO v (x) VALUES (9223372036854775807), (-9223372036854775808), (1.5), (9e999), (-9e999), (-0.0),
      (2.0), (NULL), (''), (x''), (x'00ff10'), ('a' || char(0) || 'b'), ('ä€😀'), ('\ufffd'),
      (CAST(x'66ff41' AS TEXT)), (CAST(x'eda080' AS TEXT)), (zeroblob(3000000));`);
  const { status, out } = await importFile(path);
  assert.equal(status, 0);
  assert.match(out, /imported 1 table with 17 rows in .* the cluster is at 42@3/);
  same(path, "SELECT id, typeof(x), CAST(x AS BLOB), length(x) FROM v ORDER BY id");
  same(path, "SELECT id, format('%!.20g', x) FROM v WHERE typeof(x) = 'real' ORDER BY id");
});

test("rowids, AUTOINCREMENT, generated columns, WITHOUT ROWID and odd names arrive", async () => {
  const path = file(`
    CREATE TABLE plain (a, b);
    INSERT INTO plain (rowid, a, b) VALUES (7, 'x', 1), (-3, 'y', 2), (9007199254740993, 'z', 3);
    CREATE TABLE shadowed (rowid, _rowid_ TEXT);
    INSERT INTO shadowed (oid, rowid, _rowid_) VALUES (40, 1, 'q');
    CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, x);
    INSERT INTO auto VALUES (5, 'e'), (900, 'f'); DELETE FROM auto WHERE id = 900;
    CREATE TABLE gen (a INTEGER, twice AS (a * 2), thrice INT GENERATED ALWAYS AS (a * 3) STORED, z);
    INSERT INTO gen (a, z) VALUES (1, 'one'), (2, 'two');
    CREATE TABLE pairs (k TEXT, n INT, v BLOB, PRIMARY KEY (k, n)) WITHOUT ROWID, STRICT;
    INSERT INTO pairs VALUES ('b', 1, x'01'), ('a', 2, NULL), (CAST(x'ff' AS TEXT), 3, x'03');
    CREATE TABLE "odd ""name""; --" ("select" INT, "a b" TEXT DEFAULT (upper('x')));
    INSERT INTO "odd ""name""; --" VALUES (1, 'it''s');
    CREATE TABLE backwards (id INTEGER PRIMARY KEY DESC, x); INSERT INTO backwards VALUES (3, 'c'), (1, 'a');
    CREATE TABLE empty (a);
    PRAGMA user_version = 12; PRAGMA application_id = 99;`);
  assert.equal((await importFile(path)).status, 0);
  same(path, schemaQuery);
  same(path, "SELECT rowid, * FROM plain ORDER BY rowid");
  same(path, "SELECT oid, * FROM shadowed");
  same(path, "SELECT * FROM sqlite_sequence");
  same(path, "SELECT rowid, * FROM gen");
  same(path, "SELECT hex(k), n, v FROM pairs");
  same(path, 'SELECT * FROM "odd ""name""; --"');
  same(path, "SELECT rowid, * FROM backwards");
  same(path, "PRAGMA user_version");
  same(path, "PRAGMA application_id");
});

test("indexes, views and triggers arrive, and triggers do not fire", async () => {
  const path = file(`
    CREATE TABLE t (a, b); CREATE TABLE log (x);
    CREATE UNIQUE INDEX t_a ON t (a) WHERE b > 0; CREATE INDEX t_e ON t (a || b);
    CREATE VIEW w AS SELECT a FROM v; CREATE VIEW v AS SELECT a FROM t;
    CREATE TRIGGER t_insert AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); SELECT 1; END;
    CREATE TRIGGER v_insert INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES (new.a, 0); END;
    INSERT INTO t VALUES (1, 2), (2, 3); DELETE FROM log; ANALYZE;`);
  assert.equal((await importFile(path)).status, 0);
  same(path, schemaQuery);
  same(path, "SELECT count(*) FROM log");
  node.db.exec("INSERT INTO v VALUES (9)");
  assert.equal(node.db.prepare("SELECT x FROM log").get()!["x"], 9);
});

test("full-text and spatial tables arrive", async () => {
  const path = file(`
    CREATE VIRTUAL TABLE f5 USING fts5(title, body); INSERT INTO f5 (rowid, title, body) VALUES (8, 'one', 'red fox');
    CREATE TABLE doc (id INTEGER PRIMARY KEY, text); INSERT INTO doc VALUES (3, 'green fox');
    CREATE VIRTUAL TABLE ext USING fts5(text, content='doc', content_rowid='id');
    INSERT INTO ext(ext) VALUES ('rebuild');
    CREATE VIRTUAL TABLE r USING rtree(id, x0, x1, +label); INSERT INTO r VALUES (4, 1.5, 2.5, 'here');`);
  assert.equal((await importFile(path)).status, 0);
  same(path, schemaQuery);
  for (const table of ["f5", "ext"]) {
    same(path, `SELECT rowid, * FROM ${table} WHERE ${table} MATCH 'fox'`);
  }
  same(path, "SELECT * FROM r WHERE x0 > 1");
});

test("refusals and unknown outcomes neither lose nor double a row", async () => {
  const path = file(`
    CREATE TABLE t (x); CREATE TABLE w (k TEXT PRIMARY KEY, b) WITHOUT ROWID;
    WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
      INSERT INTO t SELECT randomblob(100000) FROM n;
    INSERT INTO w SELECT hex(x), x FROM t LIMIT 5;
    CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('word');
    CREATE TABLE keyless (rowid, _rowid_, oid); INSERT INTO keyless VALUES (1, 1, 1), (1, 1, 1);
    CREATE TABLE big (id INTEGER PRIMARY KEY, x); INSERT INTO big VALUES (1, randomblob(9000000));
    CREATE VIRTUAL TABLE e USING fts5(k, content=w, content_rowid=n);
    ALTER TABLE w ADD COLUMN n INT; UPDATE w SET n = unicode(k);
    INSERT INTO e (rowid, k) SELECT n, 'some text' FROM w LIMIT 0;
    CREATE VIRTUAL TABLE g USING fts5(x, content=t); INSERT INTO g (g) VALUES ('rebuild');
    CREATE INDEX t_x ON t (length(x)); CREATE VIEW v AS SELECT 1;`);
  node.faults = ["unknown", "refuse", undefined, "hang-up", "unknown", undefined];
  node.faults.push(
    ...Array<"unknown">(40)
      .fill("unknown")
      .flatMap((f) => [f, undefined]),
  );
  const { status, err } = await importFile(path);
  assert.equal(status, 0, err);
  assert.match(err, /waiting: /);
  same(path, schemaQuery);
  same(path, "SELECT rowid, x FROM t");
  same(path, "SELECT * FROM w");
  same(path, "SELECT rowid, * FROM f WHERE f MATCH 'word'");
  same(path, "SELECT count(*) FROM keyless");
  same(path, "SELECT * FROM big");
  node.db.exec("INSERT INTO g (g, rank) VALUES ('integrity-check', 1)");
});

test("what is in the way is left alone, unless it is to be replaced", async () => {
  const path = file(
    "CREATE TABLE Orders (a); INSERT INTO Orders VALUES (1); CREATE INDEX i ON Orders (a);",
  );
  node.db.exec("CREATE TABLE orders (old); INSERT INTO orders VALUES ('keep'); CREATE TABLE i (x)");
  const refused = await importFile(path);
  assert.equal(refused.status, 1);
  assert.match(refused.err, /table orders, table i[\s\S]*--replace/);
  assert.deepEqual(
    node.ran.filter((sql) => !sql.startsWith("SELECT")),
    [],
  );
  assert.equal((await importFile(path, "--replace")).status, 0);
  same(path, schemaQuery);
  same(path, "SELECT * FROM orders");
});

test("a failure removes what had been created", async () => {
  const path = file("CREATE TABLE a (x); INSERT INTO a VALUES (1); CREATE TABLE b (x);");
  const db = new DatabaseSync(path);
  db.exec("CREATE VIEW v AS SELECT no_such_function(x) FROM a; CREATE INDEX b_x ON b (x);");
  db.close();
  // The cluster's SQLite refuses the index.
  const plain = node.db.prepare.bind(node.db);
  node.db.prepare = (sql) => plain(sql.startsWith("CREATE INDEX") ? "SELECT no_such_column" : sql);
  const { status, err } = await importFile(path);
  assert.equal(status, 1);
  assert.match(err, /no such column[\s\S]*removed again/);
  assert.deepEqual(plain("SELECT name FROM sqlite_schema").all(), []);
});

test("a file that is no whole SQLite database is refused before anything is asked", async () => {
  const check = async (path: string, expected: RegExp): Promise<void> => {
    const { status, err } = await importFile(path);
    assert.equal(status, 1, path);
    assert.match(err, expected);
  };
  const write = (name: string, content: string | Buffer): string => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  await check(join(dir, "gone"), /ENOENT/);
  await check(dir, /is not a file/);
  await check(write("empty", ""), /is empty/);
  await check(
    write("text.sql", "CREATE TABLE t(a);\n"),
    /starts with "CREATE TABLE t\([\s\S]*sqlite3 new.sqlite </,
  );
  await check(
    write("bytes", Buffer.from("1f8b0800000000", "hex")),
    /starts with bytes 1f 8b[\s\S]*gunzip/,
  );
  const whole = file("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(20000));");
  const { readFileSync, truncateSync } = await import("node:fs");
  const cut = join(dir, "cut");
  copyFileSync(whole, cut);
  truncateSync(cut, 8192);
  await check(cut, /cut short: its header says/);
  const bytes = readFileSync(whole);
  bytes.fill(0xab, 4096, 4200);
  await check(write("damaged", bytes), /damaged/);
  assert.deepEqual(node.seen, []);
});

test("virtual tables that a cluster cannot hold are named", async () => {
  const path = file("CREATE VIRTUAL TABLE f USING fts5(x, content='');");
  const { status, err } = await importFile(path);
  assert.equal(status, 1);
  assert.match(err, /f is a full-text index without its texts/);
});

// A music shop's database; it lies beside the checkout where there is one.
const chinook = join(import.meta.dirname, "../../../shared/data/chinook.sqlite");

test("a real database arrives row by row", { skip: !existsSync(chinook) }, async () => {
  const path = chinook;
  const { status, err } = await importFile(path);
  assert.equal(status, 0, err);
  same(path, schemaQuery);
  const db = new DatabaseSync(path, { readOnly: true });
  const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
  db.close();
  for (const table of tables) same(path, `SELECT rowid, * FROM "${table["name"]}"`);
});
