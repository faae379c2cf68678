// A stream is a connection: what SQLite keeps for one is as on one stock connection, whoever else uses the real one.

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { type LogKind, lsn, term } from "../../vocabulary.ts";
import { ReadView } from "../process/reader-child.ts";
import type { Unit, Value } from "../sql/request.ts";
import { execute, newDatabase, TestWriter, unit } from "../sql/test-database.ts";
import { type ConnectionState, newConnection } from "./connection-state.ts";

type Result = {
  type: "ok" | "error";
  response: { result: { cols: { name: string }[]; rows: Value[][] } };
  error: { code: string; message: string };
};

/** What a statement gives, as text: columns and rows, or the error's message. */
type Told = { cols: string[]; rows: string[] } | string;

/** A cluster's processes with many streams. Each statement of a stream is a request of its own. */
class Streams {
  readonly writer = new TestWriter();
  readonly #reader = new ReadView(this.writer.path, { unit() {}, statement() {}, idle() {} });
  readonly #stateOf = new Map<string, ConnectionState | undefined>();
  #open: string | undefined;

  constructor(...schema: string[]) {
    for (const sql of schema) this.writer.db.exec(sql);
  }

  /** One statement of a stream; by others in between, if they may. */
  run(stream: string, sql: string): Told {
    const told = this.#one(stream, sql);
    if (this.#open === undefined) this.#one("others", "INSERT INTO noise VALUES (777), (778)");
    return told;
  }

  #one(stream: string, sql: string): Told {
    const sent: Unit = { ...unit(execute(sql)), connection: this.#stateOf.get(stream) };
    const read =
      this.#open === undefined
        ? this.#reader.answer({ type: "run", ask: "run", id: 0, unit: sent, keep: false })
        : undefined;
    // As a node does: first where reading is, then on the leader what is refused there or leaves something open.
    const isRead = read !== undefined && read.refusedWrite !== true && !read.inTransaction;
    const outcome = isRead ? read : this.#write(sent);
    if (outcome.connection !== undefined) this.#stateOf.set(stream, outcome.connection);
    this.#open = outcome.inTransaction ? stream : undefined;
    return toldOf(JSON.parse(outcome.results[0]!));
  }

  #write(sent: Unit) {
    return this.writer.run([sent], this.#open === undefined ? "none" : "continue").outcomes[0]!;
  }
}

function toldOf({ type, response, error }: Result): Told {
  if (type === "error") return error.message;
  const { cols, rows } = response.result;
  const text = (value: Value) => ("value" in value ? String(value.value) : value.type);
  return { cols: cols.map(({ name }) => name), rows: rows.map((row) => row.map(text).join()) };
}

function stockTold(db: DatabaseSync, sql: string): Told {
  try {
    const statement = db.prepare(sql);
    const rows = statement.all() as unknown as unknown[][];
    const cols = statement.columns().map(({ name }) => name);
    return { cols, rows: rows.map((row) => row.map((value) => String(value ?? "null")).join()) };
  } catch (error) {
    return (error as Error).message;
  }
}

const noise = "CREATE TABLE noise(a)";

/** The same statements on one stock connection and as requests of one stream among others. */
function compare(schema: readonly string[], statements: readonly string[]): void {
  const streams = new Streams(noise, ...schema);
  const stock = new DatabaseSync(newDatabase(), {
    ...{ returnArrays: true, readBigInts: true, enableDoubleQuotedStringLiterals: true },
    enableForeignKeyConstraints: false,
  });
  for (const sql of [noise, ...schema]) stock.exec(sql);
  for (const sql of statements) {
    const expected = stockTold(stock, sql);
    assert.deepEqual(streams.run("mine", sql), expected, sql);
  }
}

const t = "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)";
const counters = "SELECT last_insert_rowid(), changes(), total_changes()";

test("counters are the stream's own", () => {
  compare(
    [t, "CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID"],
    [
      ...[counters, "INSERT INTO t VALUES (41, 'a'), (42, 'b')", counters, counters],
      ...["INSERT INTO t(a) VALUES ('b') ON CONFLICT DO NOTHING", counters],
      ...["INSERT INTO t(a) VALUES ('b') ON CONFLICT DO UPDATE SET a = 'c'", counters],
      ...["INSERT INTO w VALUES ('k', 1)", counters, "UPDATE t SET a = a || id", counters],
      ...["INSERT INTO t(a) VALUES ('a41')", counters, "DELETE FROM t WHERE id = 7", counters],
      ...["INSERT INTO t(a) SELECT last_insert_rowid() RETURNING a", counters],
      ...["CREATE TABLE made AS SELECT changes() AS n", "SELECT n FROM made", counters],
      ...["BEGIN", "INSERT INTO t(id) VALUES (90)", counters, "ROLLBACK", counters],
      ...['SELECT "changes" /* of mine */ ( ) + 1 AS c, changes( ), `total_changes`()', counters],
      // total_changes() would count what the index writes at COMMIT, which is one of many here.
      ...["CREATE VIRTUAL TABLE f USING fts5(x)", "SELECT last_insert_rowid(), changes()"],
      ...["INSERT INTO f VALUES ('a b')", "SELECT last_insert_rowid(), changes()"],
      ...["INSERT INTO noise SELECT changes() + total_changes()", "SELECT max(a) < 777 FROM noise"],
    ].filter((sql) => !sql.includes("noise")),
  );
});

test("what is made of rows counts, and what a commit undoes does not", () => {
  compare(
    [t, "CREATE TABLE child(p REFERENCES t(id) DEFERRABLE INITIALLY DEFERRED)"],
    [
      ...["PRAGMA foreign_keys = on", "INSERT INTO t VALUES (1, 1), (2, 2)", counters],
      ...["INSERT INTO child VALUES (1), (77)", counters, "BEGIN", "INSERT INTO child VALUES (78)"],
      ...["COMMIT", counters, "ROLLBACK", counters, "CREATE TABLE plain(a)", counters],
      ...["CREATE VIRTUAL TABLE f USING fts5(a)", counters, "DROP TABLE f", counters],
      ...[
        "CREATE VIRTUAL TABLE r USING rtree(id, a, b)",
        counters,
        "ALTER TABLE t ADD x",
        counters,
      ],
      ...[
        "UPDATE t SET x = 1",
        "EXPLAIN QUERY PLAN UPDATE t SET x = 2",
        counters,
        "CREATE VIEW v AS SELECT 1",
      ],
      ...[
        "UPDATE t SET x = 1",
        "EXPLAIN QUERY PLAN DELETE FROM t",
        counters,
        "ANALYZE v",
        counters,
      ],
    ],
  );
});

test("counters in views and triggers are the stream's own, or refused", () => {
  const schema = [
    ...[t, "CREATE TABLE log(id INTEGER PRIMARY KEY, rowid_was, changes_were)"],
    "CREATE VIEW v AS SELECT last_insert_rowid() AS r, changes() AS c",
    `CREATE TRIGGER g AFTER UPDATE ON t BEGIN
       INSERT INTO log(rowid_was, changes_were) VALUES (last_insert_rowid(), changes());
       INSERT INTO log(rowid_was, changes_were) VALUES (last_insert_rowid(), changes()); END`,
  ];
  compare(schema, [
    ...["INSERT INTO t VALUES (41, 'a'), (42, 'b'), (43, 'c')", "SELECT * FROM v"],
    ...["UPDATE t SET a = 'z' WHERE id = 42", counters, "SELECT * FROM log", "SELECT * FROM v"],
  ]);
  const streams = new Streams(noise, "CREATE VIEW v AS SELECT total_changes() AS n");
  assert.match(
    String(streams.run("mine", "SELECT n FROM v")),
    /total_changes\(\) is not available/,
  );
});

test("counters in a DEFAULT or CHECK are the stream's own, or refused", () => {
  const schema = [
    "CREATE TABLE d(id INTEGER PRIMARY KEY, a, n DEFAULT (changes()), r DEFAULT (last_insert_rowid()))",
    "CREATE TABLE c(id INTEGER PRIMARY KEY, a CHECK (a <> changes()))",
  ];
  compare(schema, [
    ...["INSERT INTO d(a) VALUES (1)", "INSERT INTO d(a) VALUES (2), (3), (4)"],
    ...["INSERT INTO d(a) VALUES (5) RETURNING n, r", "INSERT INTO d DEFAULT VALUES"],
    ...["SELECT * FROM d", "INSERT INTO c(a) VALUES (5), (6), (7)", "INSERT INTO c(a) VALUES (3)"],
    ...["INSERT INTO c(a) VALUES (2)", "UPDATE c SET a = 1 WHERE id = 1", "SELECT * FROM c"],
  ]);
  const streams = new Streams(noise, "CREATE TABLE d(a, n DEFAULT (total_changes()))");
  assert.match(
    String(streams.run("mine", "INSERT INTO d(a) VALUES (1)")),
    /total_changes\(\) is not available/,
  );
  for (const sql of [
    "DELETE FROM d",
    "ALTER TABLE d ADD z",
    "ALTER TABLE d RENAME a TO b",
    "DROP TABLE d",
  ])
    assert.equal(typeof streams.run("mine", sql), "object", sql);
});

test("query_only refuses a write for what it is, also where a deferred transaction would begin to write", () => {
  const { writer } = new Streams(noise);
  const asked = unit(execute("BEGIN"), execute("INSERT INTO noise VALUES (1)"));
  const connection = { ...newConnection, settings: { query_only: "1" } };
  const snapshot = { lsn: lsn(0), term: term(0) };
  const [outcome] = writer.run([{ ...asked, connection, snapshot }]).outcomes;
  assert.match(outcome!.results[1]!, /"SQLITE_READONLY"/);
});

test("settings last as long as the stream", () => {
  compare(
    [t, "CREATE TABLE child(p REFERENCES t(id), CHECK(p < 100))"],
    [
      ...["PRAGMA foreign_keys", "PRAGMA foreign_keys = ON", "PRAGMA foreign_keys"],
      ...[
        "INSERT INTO child VALUES (7)",
        "PRAGMA foreign_keys = 0",
        "INSERT INTO child VALUES (7)",
      ],
      ...["BEGIN", "PRAGMA foreign_keys = ON", "PRAGMA foreign_keys", "COMMIT"],
      ...["PRAGMA recursive_triggers = yes", "PRAGMA recursive_triggers"],
      ...["PRAGMA legacy_alter_table(1)", "PRAGMA legacy_alter_table"],
      ...["PRAGMA main.ignore_check_constraints = true", "INSERT INTO child VALUES (200)"],
      ...["PRAGMA ignore_check_constraints", "SELECT 'a' LIKE 'A'", "PRAGMA case_sensitive_like=1"],
      ...["SELECT 'a' LIKE 'A'", "PRAGMA case_sensitive_like", "PRAGMA case_sensitive_like = off"],
      ...["SELECT 'a' LIKE 'A'", "INSERT INTO t VALUES (1, 2), (3, 4)"],
      ...["PRAGMA reverse_unordered_selects = 1", "SELECT id FROM t", "PRAGMA automatic_index = 0"],
      ...["PRAGMA reverse_unordered_selects", "PRAGMA automatic_index", "PRAGMA trusted_schema"],
      ...["PRAGMA query_only = ON", "INSERT INTO t VALUES (9, 9)", "BEGIN IMMEDIATE", "BEGIN"],
      ...["COMMIT", "CREATE TABLE q(a)", "PRAGMA query_only = OFF", "INSERT INTO t VALUES (9, 9)"],
    ],
  );
});

test("deferred foreign keys are of one transaction", () => {
  compare(
    [t, "CREATE TABLE child(p REFERENCES t(id))"],
    [
      ...[
        "PRAGMA foreign_keys = ON",
        "PRAGMA defer_foreign_keys = ON",
        "PRAGMA defer_foreign_keys",
      ],
      ...["INSERT INTO child VALUES (7)", "PRAGMA defer_foreign_keys", "BEGIN"],
      ...["PRAGMA defer_foreign_keys = ON", "INSERT INTO child VALUES (7)", "COMMIT"],
      ...["PRAGMA defer_foreign_keys", "INSERT INTO t VALUES (7, 7)", "COMMIT"],
      ...["PRAGMA defer_foreign_keys", "SELECT * FROM child", "INSERT INTO child VALUES (8)"],
    ],
  );
});

test("what tools say at their start is kept and answered as stock SQLite answers it", () => {
  compare(
    [t],
    [
      ...["PRAGMA busy_timeout", "PRAGMA busy_timeout = 5000", "PRAGMA busy_timeout"],
      ...["PRAGMA synchronous", "PRAGMA synchronous = NORMAL", "PRAGMA synchronous"],
      ...["PRAGMA cache_size = -2000", "PRAGMA cache_size", "PRAGMA cache_size(10)"],
      ...["PRAGMA cache_size", "PRAGMA temp_store = MEMORY", "PRAGMA temp_store"],
      ...["PRAGMA journal_size_limit = 6144000", "PRAGMA journal_size_limit"],
      ...["PRAGMA wal_autocheckpoint = 100", "PRAGMA wal_autocheckpoint"],
      ...["PRAGMA secure_delete = FAST", "PRAGMA secure_delete", "PRAGMA threads = 2"],
      ...["PRAGMA threads", "PRAGMA cache_spill = off"],
      ...["PRAGMA cache_spill", "PRAGMA analysis_limit = 400", "PRAGMA analysis_limit"],
      ...["PRAGMA locking_mode", "PRAGMA locking_mode = NORMAL", "PRAGMA auto_vacuum"],
      ...["PRAGMA auto_vacuum = 0", "PRAGMA incremental_vacuum", "PRAGMA incremental_vacuum(9)"],
      ...["PRAGMA page_size", "PRAGMA page_size = 1024", "PRAGMA page_size", "PRAGMA encoding"],
      ...["PRAGMA encoding = 'UTF-16'", "PRAGMA encoding", "PRAGMA shrink_memory"],
      ...["SELECT l.name FROM pragma_database_list AS l", "PRAGMA hard_heap_limit"],
      ...["PRAGMA journal_mode = WAL", "PRAGMA journal_mode", "PRAGMA mmap_size"],
      ...["PRAGMA mmap_size = 30000000", "PRAGMA mmap_size"],
      ...["PRAGMA soft_heap_limit", "PRAGMA max_page_count", "PRAGMA count_changes"],
      ...["PRAGMA full_column_names", "PRAGMA short_column_names", "PRAGMA read_uncommitted = 1"],
      ...["PRAGMA read_uncommitted", "PRAGMA cell_size_check = on", "PRAGMA cell_size_check"],
      ...["PRAGMA fullfsync = 1", "PRAGMA checkpoint_fullfsync", "PRAGMA writable_schema"],
      ...["PRAGMA legacy_file_format = 1", "BEGIN", "PRAGMA synchronous = OFF", "COMMIT"],
      ...["PRAGMA synchronous"],
    ],
  );
  const streams = new Streams(noise);
  const ask = (sql: string) => streams.run("mine", sql);
  const list = { cols: ["seq", "name", "file"], rows: ["0,main,"] };
  assert.deepEqual(ask("PRAGMA database_list"), list);
  assert.deepEqual(ask("SELECT * FROM pragma_database_list"), list);
  assert.deepEqual(ask("SELECT * FROM pragma_database_list"), list);
  const checkpoint = { cols: ["busy", "log", "checkpointed"], rows: ["0,0,0"] };
  assert.deepEqual(ask("PRAGMA wal_checkpoint(TRUNCATE)"), checkpoint);
  const listed = ask("PRAGMA table_list");
  assert.ok(!JSON.stringify(listed).includes("temp,paceline"), JSON.stringify(listed));
});

test("what would change how the file is written is refused, and said", () => {
  const streams = new Streams(noise);
  const refused = ["journal_mode = DELETE", "locking_mode = EXCLUSIVE", "auto_vacuum = FULL"];
  for (const sql of [
    ...refused,
    "max_page_count = 5",
    "writable_schema = 1",
    "count_changes = 1",
  ]) {
    assert.match(String(streams.run("mine", `PRAGMA ${sql}`)), /cannot be set/, sql);
  }
});

test("EXPLAIN and a description of a PRAGMA set nothing", () => {
  const streams = new Streams(noise);
  streams.run("mine", "EXPLAIN PRAGMA recursive_triggers = ON");
  assert.deepEqual(streams.run("mine", "PRAGMA recursive_triggers"), {
    ...{ cols: ["recursive_triggers"], rows: ["0"] },
  });
});

test("within one request and in an interactive transaction nothing of ours shows", () => {
  const { writer } = new Streams(noise, "CREATE TABLE t(a)");
  const results = writer.results(
    unit("PRAGMA foreign_keys=ON", "INSERT INTO t VALUES(1),(2),(3)", counters, counters),
  ) as Result[];
  assert.deepEqual((toldOf(results[2]!) as { rows: string[] }).rows, ["3,3,3"]);
  assert.deepEqual(toldOf(results[3]!), toldOf(results[2]!));
});

test("a change of the schema under a setting that copies do not have is refused, or copies pages", () => {
  const rename = unit("PRAGMA legacy_alter_table = ON", "ALTER TABLE t RENAME TO s");
  const told = (logKind: LogKind) => {
    const writer = new TestWriter({ logKind, changes: false, statements: false });
    writer.run([unit("CREATE TABLE t(a)")]);
    return toldOf(writer.results(rename)[1] as Result);
  };
  for (const logKind of ["rows", "statements", "triggers"] as const) {
    assert.match(String(told(logKind)), /follows PRAGMA legacy_alter_table/);
  }
  assert.deepEqual(told("pages"), { cols: [], rows: [] });
});

test("a client's table may have any name: no table of ours takes its place", () => {
  const streams = new Streams("CREATE TABLE noise(a)");
  for (const name of ["paceline_rowid", "paceline_changed", "paceline_new"]) {
    streams.run("a", `CREATE TABLE ${name}(k)`);
    streams.run("a", `INSERT INTO ${name} VALUES (7)`);
    assert.deepEqual(streams.run("a", `SELECT k FROM ${name}`), { cols: ["k"], rows: ["7"] });
  }
});
