// The official client for TypeScript against our HTTP, over real SQL: what its users do all day.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type Client, createClient, LibsqlError } from "@libsql/client";
import { serve } from "../scripted-backend.test.ts";
import { SqliteBackend } from "../sqlite-backend.test.ts";

async function connect(t: TestContext): Promise<{ client: Client; backend: SqliteBackend }> {
  const backend = new SqliteBackend();
  t.after(() => backend[Symbol.dispose]());
  const { url } = await serve(t, backend);
  const client = createClient({ url });
  t.after(() => client.close());
  return { client, backend };
}

test("execute: arguments and columns of every type come back as they went", async (t) => {
  const { client } = await connect(t);
  await client.execute("create table t (i integer primary key, r real, s text, b blob)");
  const inserted = await client.execute({
    sql: "insert into t values (?, ?, ?, ?)",
    args: [9_007_199_254_740_993n, 1.5, "zwölf 😀 \u0000 end", new Uint8Array([0, 255, 7])],
  });
  assert.equal(inserted.rowsAffected, 1);
  assert.equal(inserted.lastInsertRowid, 9_007_199_254_740_993n);
  const big = await client.execute("select cast(i as text) as i, r, s, b, null as n from t");
  assert.deepEqual(big.columns, ["i", "r", "s", "b", "n"]);
  const row = big.rows[0]!;
  assert.equal(row["i"], "9007199254740993");
  assert.equal(row["r"], 1.5);
  assert.equal(row["s"], "zwölf 😀 \u0000 end");
  assert.deepEqual(new Uint8Array(row["b"] as ArrayBuffer), new Uint8Array([0, 255, 7]));
  assert.equal(row["n"], null);
  const named = await client.execute({ sql: "select :a + $b as s", args: { a: 1n, b: 2n } });
  assert.equal(named.rows[0]?.["s"], 3);
});

test("errors keep SQLite's code and text", async (t) => {
  const { client } = await connect(t);
  await client.execute("create table t (x unique)");
  await client.execute("insert into t values (1)");
  await assert.rejects(client.execute("insert into t values (1)"), (error) => {
    assert.ok(error instanceof LibsqlError);
    assert.equal(error.code, "SQLITE_CONSTRAINT");
    assert.match(error.message, /UNIQUE constraint failed: t\.x/);
    return true;
  });
  await assert.rejects(client.execute("selec 1"), LibsqlError);
});

test("batch is all or nothing", async (t) => {
  const { client, backend } = await connect(t);
  await client.batch(["create table t (x unique)", "insert into t values (1)"], "write");
  const before = backend.runs.length;
  const many = Array.from({ length: 200 }, (_, i) => ({
    sql: "insert into t values (?)",
    args: [BigInt(i + 10)],
  }));
  await assert.rejects(client.batch([...many, "insert into t values (1)"], "write"));
  const count = await client.execute("select count(*) as n from t");
  assert.equal(count.rows[0]?.["n"], 1);
  assert.equal(backend.runs.length - before, 2, "each call is one unit");
  await client.batch(many, "deferred");
  const [read] = await client.batch(["select count(*) as n from t"], "read");
  assert.equal(read?.rows[0]?.["n"], 201);
});

test("transactions: commit, rollback, and closing without either", async (t) => {
  const { client, backend } = await connect(t);
  await client.execute("create table t (x)");
  const first = await client.transaction("write");
  await first.execute("insert into t values (1)");
  await first.batch(["insert into t values (2)", "insert into t values (3)"]);
  await assert.rejects(first.execute("insert into nowhere values (1)"));
  assert.equal((await first.execute("select count(*) as n from t")).rows[0]?.["n"], 3);
  await first.commit();
  const second = await client.transaction("write");
  await second.execute("delete from t");
  await second.rollback();
  const third = await client.transaction("write");
  await third.execute("delete from t");
  third.close();
  const { rows } = await client.execute("select count(*) as n from t");
  assert.equal(rows[0]?.["n"], 3);
  assert.equal(backend.closedSessions.length, 1, "only the third was left open");
});

test("writers of many connections queue behind a transaction", async (t) => {
  const { client } = await connect(t);
  await client.execute("create table t (x)");
  const transaction = await client.transaction("write");
  await transaction.execute("insert into t values (0)");
  const inserts = Array.from({ length: 15 }, (_, i) =>
    client.batch([{ sql: "insert into t values (?)", args: [i] }], "write"),
  );
  await transaction.commit();
  await Promise.all(inserts);
  const { rows } = await client.execute("select count(*) as n from t");
  assert.equal(rows[0]?.["n"], 16);
});

test("executeMultiple and migrate", async (t) => {
  const { client } = await connect(t);
  await client.executeMultiple(`
    create table parent (id integer primary key); -- a comment; with a semicolon
    create table child (p references parent(id));
    insert into parent values (1); insert into child values (1);
  `);
  await client.migrate([
    "create table parent2 (id integer primary key)",
    "drop table parent",
    "alter table parent2 rename to parent",
    "insert into parent values (1)",
  ]);
  const { rows } = await client.execute("select count(*) as n from parent");
  assert.equal(rows[0]?.["n"], 1);
  await assert.rejects(client.executeMultiple("select 1; select * from nowhere; select 2"));
});
