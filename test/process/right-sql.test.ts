/**
 * SQL that other systems' users reported bugs with, on three nodes and through a follower: every answer and row is what
 * stock SQLite gives. The numbers are those of the faults of issue 9.
 */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient } from "@libsql/client";
import { TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { type Answered, HranaStream } from "./hrana-stream.ts";
import { execute, rowsOf } from "./sql.ts";

let cluster: TestCluster;
let url: string;
before(async () => {
  cluster = await TestCluster.start();
  const leader = await cluster.leader();
  url = cluster.url(cluster.nodes.find(({ id }) => id !== leader)!.id);
});
after(() => cluster.stop());

/** Rows of a query, or what went wrong. */
async function told(sql: string): Promise<unknown> {
  const outcome = await execute(url, sql);
  return outcome.type === "ok" ? outcome.rows : outcome.message;
}

/** Statements in one request of a stream that ends with it. */
async function together(...sql: string[]): Promise<readonly Answered[]> {
  const stream = new HranaStream(url);
  const answers = await stream.all(...sql);
  await stream.close();
  return answers;
}

const mark = "\ufeff";

test("fault 1: a byte order mark in front of a statement changes nothing", async () => {
  const client = createClient({ url });
  await client.execute("CREATE TABLE bomt(a)");
  await client.execute(`${mark}INSERT INTO bomt VALUES(1)`);
  await client.executeMultiple(`${mark}INSERT INTO bomt VALUES(2)`);
  await client.batch(
    [`${mark}INSERT INTO bomt VALUES(3)`, `${mark}CREATE TABLE bomnew(a)`],
    "write",
  );
  client.close();
  assert.deepEqual(await told("SELECT group_concat(a) FROM bomt"), [["1,2,3"]]);
  assert.deepEqual(await told("SELECT count(*) FROM bomnew"), [[0]]);
});

test("fault 1: COMMIT behind a mark ends nothing that is another's", async () => {
  const answers = await together(
    ...["CREATE TABLE gt(a)", "INSERT INTO gt VALUES(1)", `${mark}COMMIT`],
  );
  assert.deepEqual(
    answers.map(({ message }) => message),
    [undefined, undefined, "cannot commit - no transaction is active"],
  );
  assert.deepEqual(await told("SELECT count(*) FROM gt"), [[1]]);

  for (const sql of ["CREATE TABLE dup(c, n, UNIQUE(c, n))", "CREATE TABLE dummy(a)"])
    await told(sql);
  let ended = false;
  const ending = async () => {
    while (!ended) await together("INSERT INTO dummy VALUES(1)", `${mark}COMMIT`);
  };
  const disturbing = ending();
  const client = async (c: number) => {
    for (let n = 0; n < 25; n++) {
      const outcome = await execute(url, "INSERT INTO dup VALUES(?, ?)", [c, n]);
      assert.equal(outcome.type, "ok", JSON.stringify(outcome));
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, c) => client(c)));
  ended = true;
  await disturbing;
  assert.deepEqual(await told("SELECT count(*) FROM dup"), [[200]]);
});

test("fault 1: in an interactive transaction a mark changes nothing", async () => {
  await told("CREATE TABLE ended(v)");
  const run = async (...sql: string[]) => {
    const stream = new HranaStream(url);
    const said: string[] = [];
    for (const text of sql) said.push(await stream.said(text));
    await stream.close();
    return said;
  };
  const none = ["ok", "ok", "ok", "SQLITE_ERROR"];
  const insert = "INSERT INTO ended VALUES(1)";
  assert.deepEqual(await run("BEGIN", insert, `${mark}COMMIT`, "ROLLBACK"), none);
  assert.deepEqual(await told("SELECT count(*) FROM ended"), [[1]]);
  assert.deepEqual(await run("BEGIN", `${mark}ROLLBACK`, insert, "COMMIT"), none);
  assert.deepEqual(await told("SELECT count(*) FROM ended"), [[2]]);
  await told("CREATE TABLE balance(b)");
  await told("INSERT INTO balance VALUES(100)");
  await together("UPDATE balance SET b = b + 100", `${mark}COMMIT`, `${mark}RELEASE s`);
  assert.deepEqual(await told("SELECT b FROM balance"), [[200]]);
});

test("fault 2: what ON CONFLICT FAIL keeps is kept, whatever shares the transaction", async () => {
  await told("CREATE TABLE keeps(id INTEGER PRIMARY KEY, a UNIQUE ON CONFLICT FAIL)");
  assert.match(String(await told("INSERT INTO keeps(a) VALUES(1),(2),(1),(3)")), /UNIQUE/);
  assert.deepEqual(await told("SELECT group_concat(a) FROM keeps"), [["1,2"]]);
  await together("INSERT INTO keeps(a) VALUES(4)", "INSERT INTO keeps(a) VALUES(5),(4)");
  assert.deepEqual(await told("SELECT group_concat(a) FROM keeps"), [["1,2,4,5"]]);
  await told("CREATE TABLE filled(a NOT NULL ON CONFLICT FAIL)");
  await told("INSERT INTO filled VALUES(1),(NULL),(3)");
  assert.deepEqual(await told("SELECT group_concat(a) FROM filled"), [["1"]]);
  await told("CREATE TABLE plain(a UNIQUE)");
  await told("WITH x(a) AS (VALUES(1),(2),(1),(3)) INSERT OR FAIL INTO plain SELECT a FROM x");
  assert.deepEqual(await told("SELECT group_concat(a) FROM plain"), [["1,2"]]);
});

test("fault 3: a statement that failed with rows blames nobody else", async () => {
  await told("CREATE TABLE st2(id INTEGER PRIMARY KEY, u UNIQUE)");
  const insert = "INSERT INTO st2(u) VALUES (?) RETURNING id";
  const said: string[] = [];
  for (const value of ["y1", "p1", "y1", "p2", "p3", "y1", "p4"]) {
    said.push((await execute(url, insert, [value])).type);
  }
  assert.deepEqual(said, ["ok", "ok", "failed", "ok", "ok", "failed", "ok"]);
  const json = "SELECT json_extract(?, '$.a') AS v";
  const found: string[] = [];
  for (const value of ["{}", "{", "{}", "{}"]) found.push((await execute(url, json, [value])).type);
  assert.deepEqual(found, ["ok", "failed", "ok", "ok"]);
  // In a transaction, and for another client after it.
  const stream = new HranaStream(url);
  const name = "INSERT INTO st2(u) VALUES ('t1') RETURNING id";
  const twice = [await stream.said("BEGIN"), await stream.said(name), await stream.said(name)];
  assert.deepEqual(twice, ["ok", "ok", "SQLITE_CONSTRAINT_UNIQUE"]);
  await stream.one("ROLLBACK");
  await stream.close();
  assert.equal((await execute(url, name)).type, "ok");
});

test("fault 12: a stream is a connection", async () => {
  await told("CREATE TABLE t1(id INTEGER PRIMARY KEY, a UNIQUE)");
  const stream = new HranaStream(url);
  const other = new HranaStream(url);
  const rows = async (sql: string) => (await stream.one(sql)).rows;
  const counters = "SELECT last_insert_rowid(), changes(), total_changes()";
  await stream.one("INSERT INTO t1 VALUES(41,'h'),(42,'i')");
  await other.one("INSERT INTO t1 VALUES(977,'x')");
  assert.deepEqual(await rows(counters), [["42", "2", "2"]]);
  await stream.one("INSERT INTO t1(a) VALUES('h') ON CONFLICT DO NOTHING");
  assert.deepEqual(await rows(counters), [["42", "0", "2"]]);
  assert.deepEqual((await other.one(counters)).rows, [["977", "1", "1"]]);
  await stream.one("PRAGMA legacy_alter_table=1");
  await stream.one("PRAGMA recursive_triggers=ON");
  assert.deepEqual(await rows("PRAGMA legacy_alter_table"), [["1"]]);
  assert.deepEqual(await rows("PRAGMA recursive_triggers"), [["1"]]);
  assert.deepEqual((await other.one("PRAGMA recursive_triggers")).rows, [["0"]]);
  // A transaction that begins where it is read and moves to the writer takes all of it along.
  await stream.one("BEGIN");
  assert.deepEqual(await rows(counters), [["42", "0", "2"]]);
  await stream.one("PRAGMA ignore_check_constraints=1");
  await stream.one("INSERT INTO t1 VALUES(43,'j')");
  assert.deepEqual(await rows(counters), [["43", "1", "3"]]);
  await stream.one("COMMIT");
  assert.deepEqual(await rows(counters), [["43", "1", "3"]]);
  assert.deepEqual(await rows("PRAGMA ignore_check_constraints"), [["1"]]);
  await Promise.all([stream.close(), other.close()]);
  const whole = await together(
    ...["PRAGMA foreign_keys=ON", "CREATE TABLE t2(a)", "INSERT INTO t2 VALUES(1),(2),(3)"],
    "SELECT changes(), total_changes()",
  );
  assert.deepEqual(whole[3]!.rows, [["3", "3"]]);
});

test("fault 16: infinities have a word", async () => {
  assert.deepEqual(await told("SELECT 9e999, -9e999, typeof(9e999)"), [["Inf", "-Inf", "real"]]);
});

test("fault 17: as many terms, arguments, columns and levels as SQLite has", async () => {
  const many = (count: number, text: string) => Array(count).fill(text).join(",");
  assert.deepEqual(await told(`SELECT length(concat(${many(1_000, "'x'")}))`), [[1_000]]);
  const columns = Array.from({ length: 2_000 }, (_, i) => `c${i}`).join(",");
  assert.deepEqual(await told(`CREATE TABLE wide(${columns})`), []);
  await told(`INSERT INTO wide VALUES(${many(2_000, "7")})`);
  assert.equal(((await told("SELECT * FROM wide")) as number[][])[0]!.length, 2_000);
  const pattern = `${"x".repeat(40_000)}%`;
  assert.deepEqual(await rowsOf(url, "SELECT ? LIKE ?", ["x".repeat(40_001), pattern]), [[1]]);
  await told("CREATE TABLE chain(id INTEGER PRIMARY KEY, up REFERENCES chain ON DELETE CASCADE)");
  const numbers = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 900)";
  await told(`INSERT INTO chain ${numbers} SELECT i, nullif(i - 1, 0) FROM n`);
  assert.deepEqual(await told("DELETE FROM chain WHERE id = 1"), []);
  assert.deepEqual(await told("SELECT count(*) FROM chain"), [[0]]);
  // One more than SQLite takes is refused in its words.
  const terms = Array.from({ length: 501 }, (_, i) => `SELECT ${i}`).join(" UNION ALL ");
  assert.match(String(await told(terms)), /too many terms in compound SELECT/);
});

test("fault 17: SQLite's own limits, and what tools say at their start", async () => {
  const terms = Array.from({ length: 400 }, (_, i) => `SELECT ${i}`).join(" UNION ALL ");
  await told("CREATE TABLE many(a)");
  await told(`INSERT INTO many ${terms}`);
  assert.deepEqual(await told("SELECT count(*) FROM many"), [[400]]);
  const large = `INSERT INTO many VALUES ${"('x'),".repeat(200_000)}('y')`;
  assert.deepEqual(await told(large), []);
  const stream = new HranaStream(url);
  const ask = async (sql: string) => (await stream.one(sql)).rows;
  assert.deepEqual(await ask("PRAGMA database_list"), [["0", "main", ""]]);
  assert.deepEqual(await ask("SELECT name FROM pragma_database_list"), [["main"]]);
  assert.deepEqual(await ask("PRAGMA busy_timeout = 5000"), [["5000"]]);
  assert.deepEqual(await ask("PRAGMA synchronous = NORMAL"), []);
  assert.deepEqual(await ask("PRAGMA synchronous"), [["1"]]);
  for (const sql of ["cache_size = -2000", "temp_store = MEMORY", "mmap_size = 30000000"])
    assert.equal(await stream.said(`PRAGMA ${sql}`), "ok");
  assert.deepEqual(await ask("PRAGMA busy_timeout"), [["5000"]]);
  await stream.close();
});

test("fault 2, log kind statements: leader and followers keep the same", async () => {
  const set = await paceline("configure", "logKind=statements", "--url", url);
  assert.equal(set.code, 0, set.stderr);
  await told("CREATE TABLE cf(id INTEGER PRIMARY KEY, a UNIQUE ON CONFLICT FAIL)");
  const stream = new HranaStream(url);
  for (const sql of ["BEGIN", "INSERT INTO cf(a) VALUES(1),(2),(1)", "INSERT INTO cf(a) VALUES(9)"])
    await stream.one(sql);
  assert.equal(await stream.said("COMMIT"), "ok");
  await stream.close();
  await everywhere("SELECT id || '=' || a FROM cf", ["1=1", "2=2", "3=9"]);
});

test("fault 1, log kind rows: copies are equal, and the change stream leaves nothing out", async () => {
  const set = await paceline("configure", "logKind=rows", "record.changes=true", "--url", url);
  assert.equal(set.code, 0, set.stderr);
  await told("CREATE TABLE marked(v)");
  const before = await placeOf();
  await together("INSERT INTO marked VALUES('a')", `${mark}INSERT INTO marked VALUES('b')`);
  await told("UPDATE marked SET v = 'bb' WHERE v = 'b'");
  await everywhere("SELECT v FROM marked", ["a", "bb"]);
  const until = ["--until", String(await placeOf())];
  const ran = await paceline("changes", "--url", url, "--from", String(before), ...until);
  assert.equal(ran.code, 0, ran.stderr);
  const values = [...ran.stdout.matchAll(/"after":\{[^}]*"v":"(\w+)"/g)].map(([, v]) => v);
  assert.deepEqual(values, ["a", "b", "bb"]);
});

async function placeOf(): Promise<number> {
  const [row] = await rowsOf(url, "SELECT lsn FROM sqlite_paceline");
  return row![0] as number;
}

/** Every node gives these rows, as soon as it has what was written so far. */
async function everywhere(sql: string, expected: readonly string[]): Promise<void> {
  const headers = { "paceline-min-position": String(await placeOf()) };
  for (const each of cluster.urls) {
    const rows = await rowsOf(each, sql, [], { headers });
    assert.deepEqual(rows.flat(), expected, each);
  }
}
