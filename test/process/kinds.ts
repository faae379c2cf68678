/**
 * A write workload that is hard on logical replication: triggers, foreign keys with actions, generated columns,
 * WITHOUT ROWID, defaults that ask clock and chance, AUTOINCREMENT, a table without key, full text search. And a
 * comparison of what nodes have, row by row.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { quoted } from "../../src/db/sql/quoted.ts";
import type { TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";

export const workloadSchema: readonly string[] = [
  `CREATE TABLE accounts(id INTEGER PRIMARY KEY, name TEXT NOT NULL, balance INT NOT NULL CHECK (balance >= 0),
     twice INT AS (balance * 2) STORED, label TEXT AS (name || ':' || id))`,
  `CREATE TABLE sales(id INTEGER PRIMARY KEY AUTOINCREMENT,
     account INT NOT NULL REFERENCES accounts(id) ON DELETE CASCADE ON UPDATE CASCADE,
     amount REAL, at TEXT DEFAULT CURRENT_TIMESTAMP, ms REAL DEFAULT (unixepoch('subsec')),
     token TEXT DEFAULT (hex(randomblob(8))), dice INT DEFAULT (abs(random() % 6) + 1))`,
  "CREATE INDEX sales_account ON sales(account)",
  "CREATE TABLE tags(a TEXT, b INT, n INT, PRIMARY KEY (b, a)) WITHOUT ROWID",
  "CREATE TABLE journal(id INTEGER PRIMARY KEY, what TEXT, at TEXT, r INT)",
  "CREATE TABLE cache(id INTEGER PRIMARY KEY, v)",
  "CREATE TABLE loose(a, b, at DEFAULT (datetime('now')))",
  "CREATE TABLE texts(k TEXT PRIMARY KEY NOT NULL, v BLOB, u UNIQUE)",
  "CREATE VIRTUAL TABLE words USING fts5(w)",
  `CREATE TRIGGER sale_noted AFTER INSERT ON sales BEGIN
     INSERT INTO journal(what, at, r) VALUES ('order ' || new.id, strftime('%Y-%m-%d %H:%M:%f', 'now'), random());
     UPDATE accounts SET balance = balance + 1 WHERE id = new.account; END`,
  `CREATE TRIGGER sale_gone AFTER DELETE ON sales BEGIN
     INSERT INTO journal(what, at) VALUES ('gone ' || old.id, CURRENT_TIMESTAMP); END`,
  `CREATE TRIGGER cache_stale AFTER UPDATE OF v ON texts BEGIN DELETE FROM cache; INSERT INTO cache(v) VALUES (new.v);
     END`,
  `CREATE TRIGGER no_negative BEFORE UPDATE ON tags WHEN new.n < 0 BEGIN SELECT RAISE(ABORT, 'negative'); END`,
];

type Value = { type: string; value?: string | number };
type Statement = { sql: string; args: Value[] };

const integer = (n: number): Value => ({ type: "integer", value: String(n) });
const text = (value: string): Value => ({ type: "text", value });

type Maker = (n: number) => Statement[];

const statement = (sql: string, ...args: Value[]): Statement => ({ sql, args });
const accountOf = (n: number): Value => integer((Math.floor(n / 16) * 7) % 500);

const sale: Maker = (n) => [
  statement(
    "INSERT INTO sales(account, amount) SELECT id, ? / 3.0 FROM accounts WHERE id = ?",
    ...[integer(n), accountOf(n)],
  ),
];

/** Taken in turn. */
const makers: readonly Maker[] = [
  (n) => [
    statement(
      "INSERT OR IGNORE INTO accounts(id, name, balance) VALUES (?, ?, 10)",
      ...[accountOf(n), text(`n${n}`)],
    ),
  ],
  sale,
  sale,
  sale,
  (n) => [statement("UPDATE accounts SET balance = balance - 30 WHERE id = ?", accountOf(n))],
  (n) => [
    statement(
      "REPLACE INTO tags VALUES (?, ?, ?)",
      ...[text(`t${n % 30}`), integer(n % 11), integer(n)],
    ),
  ],
  (n) => [statement("UPDATE tags SET n = n - 40000 WHERE b = ?", integer(n % 11))],
  (n) => [statement("INSERT INTO loose(a, b) VALUES (?, random())", integer(n))],
  (n) => [statement("DELETE FROM loose WHERE a < ?", integer(n - 400))],
  (n) => [
    statement(
      "INSERT INTO texts VALUES (?, randomblob(20), ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
      ...[text(`k${n % 200}`), integer(n)],
    ),
  ],
  (n) => [
    statement(
      "INSERT INTO words(rowid, w) VALUES (?, ?)",
      ...[integer(n), text(`word${n} other${n % 7}`)],
    ),
  ],
  () => [statement("DELETE FROM sales WHERE id = (SELECT min(id) FROM sales)")],
  (n) => [
    statement("BEGIN"),
    statement(
      "UPDATE accounts SET name = name || '!' WHERE id = ? AND length(name) < 30",
      accountOf(n),
    ),
    statement("SAVEPOINT s"),
    statement("DELETE FROM sales WHERE account = ?", accountOf(n)),
    statement(n % 32 === 12 ? "ROLLBACK TO s" : "RELEASE s"),
    statement("COMMIT"),
  ],
  (n) => [
    statement(
      "UPDATE journal SET r = random(), at = datetime('now', 'localtime') WHERE id = ?",
      integer(n % 5_000),
    ),
  ],
  (n) => [
    n % 160 === 14
      ? statement("DELETE FROM accounts WHERE id = ?", accountOf(n))
      : statement(
          "UPDATE sales SET amount = amount + last_insert_rowid() % 5 WHERE account = ?",
          accountOf(n),
        ),
  ],
  (n) => [statement("DELETE FROM words WHERE rowid < ?", integer(n - 800))],
];

/** The nth transaction of the workload. */
export function transaction(n: number): Statement[] {
  return makers[n % makers.length]!(n);
}

/** Nothing was done, or it cannot be told: the workload goes on with another request. */
const passing = new Set(["NO_LEADER", "NOT_LEADER", "NOT_READY", "OVERLOADED", "UNKNOWN_OUTCOME"]);

/** Sends one request; statements in it may fail on constraints, and all of it while another node takes the lead. */
export async function send(url: string, statements: readonly Statement[]): Promise<void> {
  const executes = statements.map((stmt) => ({ type: "execute", stmt }));
  const on = { type: "execute", stmt: { sql: "PRAGMA foreign_keys = on" } };
  const response = await fetch(`${url}/v2/pipeline`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ requests: [on, ...executes, { type: "close" }] }),
    signal: AbortSignal.timeout(60_000),
  });
  type Failure = { message: string; code: string };
  const answer = (await response.json()) as { code?: string; results?: { error?: Failure }[] };
  if (!response.ok && !passing.has(answer.code ?? "")) {
    throw new Error(`${response.status} ${JSON.stringify(answer)}`);
  }
  for (const { error } of answer.results ?? []) {
    if (error === undefined || error.code === "SQLITE_CONSTRAINT" || passing.has(error.code))
      continue;
    throw new Error(`${error.code} ${error.message}`);
  }
}

/** Runs transactions [from, to) through all nodes, several at a time. */
export async function runWorkload(
  urls: readonly string[],
  range: { from: number; to: number },
  options: { clients: number; perRequest: number },
): Promise<void> {
  let next = range.from;
  const client = async (i: number): Promise<void> => {
    while (next < range.to) {
      const from = next;
      next = Math.min(range.to, from + options.perRequest);
      const statements: Statement[] = [];
      for (let n = from; n < next; n++) statements.push(...transaction(n));
      await send(urls[i % urls.length]!, statements);
    }
  };
  await Promise.all(Array.from({ length: options.clients }, (_, i) => client(i)));
}

/** Waits until every node has applied what the leader has. */
export async function caughtUp(cluster: TestCluster, timeoutMs = 60_000): Promise<void> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const status = await cluster.statusOf(await cluster.leader());
    const nodes = status?.nodes ?? [];
    const lsns = new Set(nodes.map((node) => node.appliedLsn));
    const done =
      nodes.length > 0 &&
      lsns.size === 1 &&
      nodes.every((n) => n.reachable && n.checksum != null && n.appliedLsn === n.committedLsn);
    if (done) return;
    if (Date.now() > until) throw new Error(`not caught up: ${JSON.stringify(nodes)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * What a database holds, table by table, whatever the order in the file: the rows of each, with their rowid where it is
 * not a column and the same on every copy; and, under "", the schema.
 */
export function rowsIn(db: DatabaseSync): Record<string, string[]> {
  const tables = db
    .prepare(
      `SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type <> 'view'
         AND (name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name = 'sqlite_sequence') ORDER BY name`,
    )
    .all() as unknown as [string, string][];
  const schema = db.prepare(
    "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1, 2",
  );
  const content: Record<string, string[]> = {
    "": schema.all().map((row) => JSON.stringify(row)),
  };
  for (const [name] of tables) {
    const rowid = rowidOf(db, name);
    const rows = db
      .prepare(`SELECT ${rowid === undefined ? "" : `${rowid}, `}* FROM main.${quoted(name)}`)
      .all() as unknown as unknown[][];
    content[name] = rows.map((row) => JSON.stringify(row.map(shown))).sort();
  }
  return content;
}

/** The name of a rowid that is no column, of a table that has no other key. */
function rowidOf(db: DatabaseSync, table: string): string | undefined {
  if (table === "sqlite_sequence") return undefined;
  const columns = db
    .prepare("SELECT lower(name), pk FROM pragma_table_xinfo(?)")
    .all(table) as unknown as [string, bigint][];
  if (columns.some(([, pk]) => pk > 0n)) return undefined;
  const names = columns.map(([name]) => name);
  return ["_rowid_", "rowid", "oid"].find((name) => !names.includes(name));
}

/** For each table a hash of all its rows, whatever their order in the file; the schema; and SQLite's own check. */
export function contentOf(file: string): Record<string, string> {
  const options = { readOnly: true, readBigInts: true, returnArrays: true } as const;
  const db = new DatabaseSync(file, { ...options, enableDoubleQuotedStringLiterals: true });
  try {
    const content: Record<string, string> = {};
    for (const [name, rows] of Object.entries(rowsIn(db))) {
      const hash = createHash("sha256").update(rows.join("\n")).digest("hex");
      content[name === "" ? "schema" : name] = `${rows.length} rows ${hash.slice(0, 16)}`;
    }
    content["integrity"] = JSON.stringify(db.prepare("PRAGMA integrity_check").all());
    return content;
  } finally {
    db.close();
  }
}

function shown(value: unknown): unknown {
  if (typeof value === "bigint") return `${value}n`;
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
}

/** All nodes have the same rows and say so; under `pages` the same pages. None has noticed a difference on its way. */
export async function assertSame(cluster: TestCluster, kind: string): Promise<void> {
  await caughtUp(cluster, 300_000);
  const contents = cluster.nodes.map(({ dir }) => contentOf(join(dir, "db/main.sqlite")));
  for (const content of contents) assert.deepEqual(content, contents[0]);
  const verified = await paceline("verify", "--url", cluster.urls[0]!);
  assert.equal(verified.code, 0, verified.stdout + verified.stderr);
  for (const { id } of cluster.nodes) assert.doesNotMatch(cluster.output(id), /damaged/);
  if (kind !== "pages") return;
  const checksums = new Set((await cluster.settled()).map((node) => node.checksum));
  assert.equal(checksums.size, 1);
}
