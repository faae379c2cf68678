// What other tools lose on the way: parts of full-text indexes and their settings, large values, rows that a constraint
// would leave out. What cannot be carried over is refused before anything is done.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, afterEach, beforeEach, test } from "node:test";
import { FakeNode } from "../../../test/fake-node.ts";
import { runCaptured } from "../../../test/run-captured.ts";
import { limits } from "../../limits.ts";
import { argumentsOf } from "./fts5.ts";

const dir = mkdtempSync(join(tmpdir(), "paceline-carried-"));
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

function rowsOf(db: DatabaseSync, query: string): unknown[] {
  const statement = db.prepare(query);
  statement.setReturnArrays(true);
  return statement.all();
}

function same(path: string, query: string): void {
  const db = new DatabaseSync(path, { readOnly: true });
  assert.deepEqual(rowsOf(node.db, query), rowsOf(db, query), query);
  db.close();
}

async function imported(path: string, ...more: string[]): Promise<string> {
  const { status, out, err } = await runCaptured(["import", "--url", node.url, path, ...more]);
  assert.equal(status, 0, err);
  return out + err;
}

/** Nothing was written. */
async function refused(path: string, expected: RegExp, ...more: string[]): Promise<void> {
  const { status, err } = await runCaptured(["import", "--url", node.url, path, ...more]);
  assert.equal(status, 1, err);
  assert.match(err, expected);
  assert.deepEqual(rowsOf(node.db, "SELECT name FROM sqlite_schema"), []);
  assert.deepEqual(
    node.ran.filter((sql) => !sql.startsWith("SELECT")),
    [],
  );
}

/** Every word with its place, and the rows that the index lists. */
function sameIndex(path: string, name: string): void {
  const vocab = `CREATE VIRTUAL TABLE temp.v_${name} USING fts5vocab(main, ${name}, instance)`;
  const source = new DatabaseSync(path, { readOnly: true });
  for (const db of [source, node.db]) db.exec(vocab);
  const words = `SELECT * FROM temp.v_${name}`;
  assert.deepEqual(rowsOf(node.db, words), rowsOf(source, words), name);
  source.close();
  same(path, `SELECT * FROM ${name}_docsize`);
  same(path, `SELECT k, v FROM ${name}_config WHERE k <> 'version' ORDER BY k`);
}

const articles = `CREATE TABLE d (id INTEGER PRIMARY KEY, b, pub);
  INSERT INTO d VALUES (1, 'secret plan', 0), (2, 'public plan', 1), (3, 'other \ufffd', 1), (9, NULL, 1);`;

test("a full-text index over a view arrives", async () => {
  const path = file(`${articles}
    CREATE VIEW v AS SELECT id, b AS t, pub AS "u ""u" FROM d;
    CREATE VIRTUAL TABLE f USING fts5(t, "u ""u" UNINDEXED, content = 'v', content_rowid = [id], tokenize = "porter ascii");
    INSERT INTO f (f) VALUES ('rebuild');`);
  assert.match(await imported(path), /imported 2 tables with 4 rows and 1 view in/);
  sameIndex(path, "f");
  same(path, "SELECT rowid, * FROM f ('plans')");
});

test("an index that holds some rows only shows no more than it did", async () => {
  const path = file(`${articles}
    CREATE VIRTUAL TABLE f USING fts5(b, content='d', content_rowid='id');
    INSERT INTO f (rowid, b) SELECT id, b FROM d WHERE pub = 1;
    CREATE VIRTUAL TABLE empty USING fts5(b, content='d', content_rowid='id');
    CREATE VIRTUAL TABLE early USING fts5(b, content='not_there');`);
  await imported(path);
  for (const name of ["f", "empty", "early"]) sameIndex(path, name);
  assert.deepEqual(rowsOf(node.db, "SELECT b FROM f('plan')"), [["public plan"]]);
});

test("an index that differs from its table is refused: it may hide what the table has", async () => {
  const over = (fill: string, columns = "b"): string =>
    file(
      `${articles} CREATE VIRTUAL TABLE f USING fts5(${columns}, content='d', content_rowid='id'); ${fill}`,
    );
  const differs = /index f does not hold the texts of d as they are now[\s\S]*'rebuild'/;
  const fill = "INSERT INTO f (rowid, b) SELECT id, b FROM d WHERE pub = 1;";
  await refused(over(fill.replace(" b FROM", " replace(b, 'plan', 'x') FROM")), differs);
  await refused(over(`${fill} UPDATE d SET b = 'private plan' WHERE id = 2;`), differs);
  await refused(over(`${fill} DELETE FROM d WHERE id = 2;`), differs);
  await refused(over(fill, "b, columnsize=0"), /all rows; without columnsize it lists none/);
  const whole = over("INSERT INTO f (f) VALUES ('rebuild');", "b, columnsize=0");
  await imported(whole);
  same(whole, "SELECT rowid, b FROM f('plan')");
});

test("settings of a full-text index arrive", async () => {
  const settings = (
    name: string,
  ): string => `INSERT INTO ${name} (${name}, rank) VALUES ('pgsz', 128),
    ('rank', 'bm25(10.0, 5.0)'), ('automerge', 2), ('crisismerge', 20), ('usermerge', 8), ('secure-delete', 1),
    ('hashsize', 4096), ('deletemerge', 30);`;
  const path = file(`${articles}
    CREATE VIRTUAL TABLE own USING fts5(b, pub); ${settings("own")}
    INSERT INTO own SELECT b, pub FROM d;
    CREATE VIRTUAL TABLE f USING fts5(b, content='d', content_rowid='id', detail=full); ${settings("f")}
    INSERT INTO f (f) VALUES ('rebuild');`);
  await imported(path);
  for (const name of ["own", "f"]) sameIndex(path, name);
  const size = rowsOf(node.db, "SELECT count(*) FROM own_config");
  assert.ok(Number((size[0] as number[])[0]) >= 9);
});

test("values larger than a request arrive, in pieces", async () => {
  const text = "'äöü€😀' || CAST(x'ff41' AS TEXT)";
  const path = file(`
    CREATE TABLE t (id INTEGER PRIMARY KEY, a, b BLOB, c);
    INSERT INTO t VALUES (7, 'small', randomblob(13000000), 5), (8, NULL, x'00ff', 6);
    INSERT INTO t SELECT 9, replace(hex(zeroblob(400000)), '0', ${text}), x'01', randomblob(30000);
    CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    INSERT INTO w VALUES ('k', zeroblob(6000000)), ('l', 1);
    CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f SELECT replace(hex(zeroblob(1500000)), '00', 'word ');`);
  await imported(path);
  same(path, "SELECT id, typeof(a), CAST(a AS BLOB), typeof(b), b, typeof(c), c FROM t");
  same(path, "SELECT k, typeof(v), v FROM w");
  same(path, "SELECT count(*), length(x) FROM f('word')");
  assert.ok(node.largest < 8_000_000, `${node.largest}`);
  assert.deepEqual(rowsOf(node.db, "SELECT name FROM sqlite_schema WHERE name GLOB 'pace*'"), []);
});

test("a row that is too large is named before anything is done", async () => {
  const half = Math.ceil(limits.valueBytesMax / 2) + 1;
  const path = file(`CREATE TABLE t (k TEXT PRIMARY KEY, a, b) WITHOUT ROWID;
    INSERT INTO t VALUES ('it', zeroblob(${half}), zeroblob(${half})), ('a', 1, 2);`);
  await refused(path, /table t: the row with k 'it' has [\d,]+ bytes; .* up to [\d,]+ bytes/);
});

test("virtual tables are those that a cluster has", async () => {
  const path = file(`CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('red fox');
    CREATE VIRTUAL TABLE v USING fts5vocab(f, row);`);
  await imported(path);
  same(path, "SELECT * FROM v");
  node.db.exec("DROP TABLE v; DROP TABLE f");
  node.ran.length = 0;
  const old = file("CREATE VIRTUAL TABLE f USING fts4(x);");
  await refused(old, /"fts4", which a cluster does not have[\s\S]*It has fts5, fts5vocab, rtree/);
});

test("a view of a hundred compound terms arrives", async () => {
  const terms = Array.from({ length: 100 }, (_, i) => `SELECT ${i} AS n`).join(" UNION ALL ");
  const path = file(`CREATE VIEW v AS ${terms};`);
  assert.match(await imported(path), /imported 0 tables with 0 rows and 1 view/);
  same(path, "SELECT sum(n) FROM v");
});

test("rows without their parent are imported and told; --strict refuses them", async () => {
  const path = file(`PRAGMA foreign_keys = off;
    CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE);
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    INSERT INTO child VALUES (1, 1), (5, 77); INSERT INTO parent VALUES (1);`);
  await refused(
    path,
    /foreign keys: 1 row without[\s\S]*child rowid 5: no such row in parent/,
    "--strict",
  );
  node.db.exec("PRAGMA foreign_keys = on");
  assert.match(
    await imported(path),
    /as it is in the file: foreign keys: 1 row without the parent/,
  );
  same(path, "SELECT * FROM child");
  assert.match(await imported(path, "--replace", "--json"), /"foreignKeyViolations":1/);
});

test("a row that the cluster refuses is named, and all is removed again", async () => {
  const path = file(`CREATE TABLE t (id INTEGER PRIMARY KEY, x);
    INSERT INTO t VALUES (1, 1), (2, 2), (30, zeroblob(20000)), (4, 4);`);
  node.db.limits.length = 10_000;
  const { status, err } = await runCaptured(["import", "--url", node.url, path]);
  assert.equal(status, 1);
  assert.match(err, /table t, id 30: string or blob too big[\s\S]*removed again/);
  assert.deepEqual(rowsOf(node.db, "SELECT name FROM sqlite_schema"), []);
});

test("a row that a constraint of its own table refuses is named; another clause does not leave it out", async () => {
  const broken = async (before: string, after: string): Promise<string> => {
    const path = join(dir, `${files++}.sqlite`);
    const db = new DatabaseSync(path, { defensive: false });
    db.exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, n ${before});
      INSERT INTO t VALUES (1, 1), (30, NULL), (4, 4); PRAGMA writable_schema = on;
      UPDATE sqlite_schema SET sql = replace(sql, 'n ${before}', 'n ${after}');`);
    db.close();
    const { status, err } = await runCaptured(["import", "--url", node.url, path]);
    assert.equal(status, 1);
    assert.deepEqual(rowsOf(node.db, "SELECT name FROM sqlite_schema"), []);
    return err;
  };
  const check = await broken("ANY", "CHECK (n IS NOT NULL)");
  assert.match(check, /table t, id 30: CHECK constraint failed[\s\S]*removed again/);
  const missing = await broken("ANY", "NOT NULL ON CONFLICT IGNORE");
  assert.match(missing, /rows that its own constraints refuse: NULL value in t.n/);
});

const thousand = `CREATE TABLE t (id INTEGER PRIMARY KEY, x);
  WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO t SELECT i, hex(randomblob(2000)) FROM n;`;

test("rows whose statement takes too long go one by one", async () => {
  const path =
    file(`${thousand} CREATE VIRTUAL TABLE f USING fts5(x, content='t', content_rowid='id');
    INSERT INTO f (f) VALUES ('rebuild');`);
  const plain = node.db.prepare.bind(node.db);
  let slow = 0;
  node.db.prepare = (sql) => {
    if (!/^INSERT.*\),\(/.test(sql)) return plain(sql);
    slow++;
    throw new Error("a statement ran longer than 5000 ms");
  };
  await imported(path);
  assert.ok(slow > 4);
  node.db.prepare = plain;
  same(path, "SELECT * FROM t");
  sameIndex(path, "f");
});

test("an import that is interrupted removes what it had created", async () => {
  const path = file(thousand);
  const interrupt = new AbortController();
  const plain = node.db.prepare.bind(node.db);
  node.db.prepare = (sql) => {
    if (sql.startsWith("INSERT OR ABORT")) interrupt.abort();
    return plain(sql);
  };
  const args = ["import", "--url", node.url, path];
  const { status, err } = await runCaptured(args, "", interrupt.signal);
  assert.equal(status, 1);
  assert.match(err, /interrupted[\s\S]*removed again/);
  assert.deepEqual(rowsOf(node.db, "SELECT name FROM sqlite_schema"), []);
});

test("progress and outcome are told in the same words as elsewhere", async () => {
  const path =
    file(`CREATE TABLE t (a INTEGER PRIMARY KEY, b); CREATE INDEX i ON t (b); CREATE INDEX j ON t (b, a);
    WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1234) INSERT INTO t SELECT i, i FROM n;`);
  node.db.exec("CREATE TABLE paceline_import_00ff (step)");
  const said = await imported(path);
  assert.match(said, /imported 1 table with 1,234 rows and 2 indexes in/);
  assert.match(
    said,
    /a table paceline_import_00ff: of an import under way, or of one that was killed/,
  );
});

test("arguments of a virtual table are taken apart as SQLite does", () => {
  assert.deepEqual(
    argumentsOf(
      "CREATE VIRTUAL TABLE f USING fts5 (a, \"b,(c\", content='it''s, (x', [d)], x=(1,2))",
    ),
    ["a", '"b,(c"', "content='it''s, (x'", "[d)]", "x=(1,2)"],
  );
});
