/**
 * A database of everything that is hard to carry over, in any size, and a comparison of a node's file with it.
 *
 * The comparison reads both files with stock SQLite: every value of every table with its type and rowid, and of every
 * full-text index the words with their counts, the rows it lists and its settings.
 */

import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";

export type Size = {
  /** Of text, all of which is in a full-text index. */
  readonly textBytes: number;
  readonly blobs: number;
  readonly blobBytes: number;
};

const articleBytes = 2_000;
const words = 20_000;

export function makeSource(path: string, size: Size): void {
  const db = new DatabaseSync(path, { enableForeignKeyConstraints: false });
  db.exec("PRAGMA journal_mode = off; PRAGMA synchronous = off; PRAGMA cache_size = -100000");
  db.exec(
    `
    CREATE TABLE article (id INTEGER PRIMARY KEY, title TEXT, body TEXT, public INTEGER);
    CREATE TABLE file (name TEXT PRIMARY KEY, data BLOB, article REFERENCES article);
    CREATE TABLE pair (k TEXT, n INT, v, PRIMARY KEY (k, n)) WITHOUT ROWID, STRICT;
    CREATE TABLE hidden (a, b);
    CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, x);
    CREATE VIEW public AS SELECT id, title, body FROM article WHERE public = 1;
    CREATE VIRTUAL TABLE whole USING fts5(title, body, content='article', content_rowid='id');
    CREATE VIRTUAL TABLE part USING fts5(title, content='article', content_rowid='id');
    CREATE VIRTUAL TABLE over USING fts5(title, content='public', content_rowid='id', prefix=2);
    CREATE VIRTUAL TABLE own USING fts5(x);
    CREATE VIRTUAL TABLE own_words USING fts5vocab(own, row);
    CREATE INDEX article_title ON article (title);
    CREATE INDEX pair_v ON pair (v) WHERE v IS NOT NULL;
    CREATE TRIGGER hidden_insert AFTER INSERT ON hidden BEGIN INSERT INTO auto (x) VALUES (new.a); END;
    INSERT INTO whole (whole, rank) VALUES ('rank', 'bm25(10.0, 1.0)'), ('usermerge', 8);
    INSERT INTO part (part, rank) VALUES ('pgsz', 1000), ('secure-delete', 1);
    BEGIN;`.replace("v, PRIMARY", "v ANY, PRIMARY"),
  );
  const random = randomText(4711);
  const article = db.prepare("INSERT INTO article VALUES (?, ?, ?, ?)");
  const count = Math.ceil(size.textBytes / articleBytes);
  for (let i = 1; i <= count; i++) {
    article.run(3 * i, random(40), random(articleBytes), Number(i % 3 === 0));
  }
  const pair = db.prepare("INSERT INTO pair VALUES (?, ?, ?)");
  const hidden = db.prepare("INSERT INTO hidden (rowid, a, b) VALUES (?, ?, ?)");
  for (let i = 0; i < count; i++) {
    pair.run(random(20), i, i % 2 === 0 ? i : null);
    hidden.run(7 * i - 1000, i / 3, random(30));
  }
  const file = db.prepare("INSERT INTO file VALUES (?, ?, ?)");
  for (let i = 0; i < size.blobs; i++) {
    const blob = Buffer.alloc(size.blobBytes);
    for (let at = 0; at < blob.length; at += 1024) blob.writeUInt32LE((at * 31 + i) >>> 0, at & ~3);
    file.run(`blob ${i}`, blob, i === 0 ? 999_999_999 : 3);
  }
  db.exec(`INSERT INTO own SELECT title FROM article; INSERT INTO whole (whole) VALUES ('rebuild');
    INSERT INTO part (rowid, title) SELECT id, title FROM article WHERE public = 1;
    INSERT INTO over (over) VALUES ('rebuild'); PRAGMA user_version = 17; COMMIT`);
  db.close();
}

/** Names what differs; empty when nothing does. */
export function differences(source: string, copy: string): string[] {
  const [a, b] = [source, copy].map((path) => new DatabaseSync(path, { readOnly: true })) as [
    DatabaseSync,
    DatabaseSync,
  ];
  try {
    return [...queries(a)].filter((query) => digest(a, query) !== digest(b, query));
  } finally {
    a.close();
    b.close();
  }
}

/** What the digest of the source is made of, so that a second comparison need not make it anew. */
function* queries(db: DatabaseSync): Generator<string> {
  yield "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name <> 'sqlite_paceline' ORDER BY 1, 2";
  yield "SELECT name, seq FROM sqlite_sequence ORDER BY 1";
  yield "PRAGMA user_version";
  const list = db.prepare("PRAGMA main.table_list").all();
  for (const { name, type, wr } of list) {
    if (type === "table" && !String(name).startsWith("sqlite_")) {
      yield `SELECT ${wr === 1 ? "" : "rowid, "}* FROM "${name}" ORDER BY ${wr === 1 ? "1, 2" : "rowid"}`;
    }
    if (type !== "virtual" || String(name).endsWith("_words")) continue;
    yield `SELECT * FROM temp."words of ${name}"`;
    yield `SELECT * FROM "${name}_docsize" ORDER BY 1`;
    yield `SELECT * FROM "${name}_config" ORDER BY 1`;
  }
}

function digest(db: DatabaseSync, query: string): string {
  const index = /"words of (.*)"/.exec(query)?.[1];
  if (index !== undefined) {
    db.exec(`CREATE VIRTUAL TABLE temp."words of ${index}" USING fts5vocab(main, '${index}', col)`);
  }
  const hash = createHash("sha1");
  const statement = db.prepare(query);
  statement.setReturnArrays(true);
  statement.setReadBigInts(true);
  for (const row of statement.iterate() as Iterable<unknown> as Iterable<unknown[]>) {
    for (const value of row) {
      hash.update(typeof value);
      if (value instanceof Uint8Array) hash.update(value);
      else hash.update(`${Object.is(value, -0) ? "-0" : String(value)}\0`);
    }
  }
  return hash.digest("hex");
}

/** Words drawn unevenly, as in a language; the same for the same seed. */
function randomText(seed: number): (bytes: number) => string {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const names = Array.from({ length: words }, (_, i) => `w${(i * 7919).toString(36)}`);
  return (bytes) => {
    let text = "";
    while (text.length < bytes) text += `${names[Math.floor(words * next() ** 3)]} `;
    return text;
  };
}
