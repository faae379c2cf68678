/** Copies are equal whatever a statement reads that copies do not share: hidden rowids, the order of a scan, names. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { assertSame, rowsIn } from "./kinds.ts";
import { execute, rowsOf } from "./sql.ts";

const hidden = [
  "CREATE TABLE h(k TEXT PRIMARY KEY NOT NULL, g)",
  "INSERT INTO h VALUES ('zeta', 1), ('alpha', 1), ('mu', 2)",
  "CREATE TABLE nk(x)",
  "INSERT INTO nk SELECT rowid FROM h WHERE k = 'zeta'",
  "CREATE VIRTUAL TABLE ff USING fts5(k)",
  "INSERT INTO ff(k) SELECT k FROM h NOT INDEXED",
  "DELETE FROM ff WHERE rowid = 1",
  "INSERT INTO nk VALUES ((SELECT group_concat(k) FROM h NOT INDEXED))",
  "INSERT INTO nk VALUES ((SELECT k FROM h NOT INDEXED WHERE g = 1))",
];
const shadowed = [
  "CREATE TABLE s3(rowid TEXT, _rowid_ INT, v BLOB)",
  "INSERT INTO s3 VALUES ('a', 1, x'01'), ('a', 1, x'01'), ('b', 2, x'02')",
  "DELETE FROM s3 WHERE _rowid_ = 2",
  'CREATE TABLE s("_rowid_" TEXT, v TEXT)',
  "INSERT INTO s VALUES ('x', '1'), ('x', '2')",
];
const quotes = [
  'CREATE TABLE dq(a TEXT DEFAULT "x", CHECK(a <> "bad"))',
  'CREATE INDEX dki ON dq(a) WHERE a <> "zz"',
  "INSERT INTO dq DEFAULT VALUES",
];

test("log kinds and a copy by changes: hidden rowids, orders of scans, names of rowids", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await TestCluster.start({ args: ["--settings", "logKind=rows"] });
  t.after(() => cluster.stop());
  const leader = await cluster.leader();
  const follower = cluster.nodes.find(({ id }) => id !== leader)!.id;
  const url = cluster.url(follower);
  for (const sql of [...hidden, ...shadowed, ...quotes]) await rowsOf(url, sql);
  await assertSame(cluster, "rows");
  assert.deepEqual(await rowsOf(url, "SELECT rowid, k FROM ff ORDER BY 1"), [
    [2, "alpha"],
    [3, "mu"],
  ]);
  await rowsOf(url, "CREATE TABLE all_taken(rowid, _rowid_, oid)");
  const refused = await execute(url, "INSERT INTO all_taken SELECT k, 1, 2 FROM h");
  assert.equal(refused.type !== "ok" && refused.code, "BLOCKED", JSON.stringify(refused));
  for (const table of ["h", "nk", "ff", "s", "s3", "dq"]) await rowsOf(url, `DROP TABLE ${table}`);

  assert.equal((await paceline("configure", "--url", url, "logKind=triggers")).code, 0);
  for (const sql of [...hidden, ...shadowed, ...quotes]) await rowsOf(url, sql);
  await assertSame(cluster, "triggers");
  assert.deepEqual(await rowsOf(url, "SELECT count(*) FROM s3"), [[2]]);
  assert.deepEqual(await rowsOf(url, "SELECT count(*) FROM s"), [[2]]);
});

test("paceline changes --into follows what nodes accept", { timeout: 60_000 }, async (t) => {
  const cluster = await TestCluster.start({ args: ["--settings", "record.changes=true"] });
  t.after(() => cluster.stop());
  const leader = await cluster.leader();
  const follower = cluster.nodes.find(({ id }) => id !== leader)!;
  const url = cluster.url(follower.id);
  for (const sql of [...hidden, ...shadowed, ...quotes]) await rowsOf(url, sql);
  const [[lsn]] = (await rowsOf(url, "SELECT lsn FROM sqlite_paceline")) as [[number]];
  const file = join(cluster.dir, "copy.sqlite");
  const ran = await paceline(
    "changes",
    "--url",
    url,
    "--from",
    "0",
    "--into",
    file,
    "--until",
    String(lsn),
  );
  assert.equal(ran.code, 0, ran.stderr);
  const options = { readOnly: true, readBigInts: true, returnArrays: true } as const;
  const [copy, node] = [file, join(follower.dir, "db/main.sqlite")].map((path) => {
    const db = new DatabaseSync(path, { ...options, enableDoubleQuotedStringLiterals: true });
    const { "": _schema, paceline_copied: _place, ...rows } = rowsIn(db);
    db.close();
    return rows;
  });
  assert.deepEqual(copy, node);
});
