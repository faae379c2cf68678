/**
 * Transactions and connections as clients see them through a follower: foreign keys by default, a transaction whose
 * leader dies, and what BEGIN takes.
 */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { HranaStream } from "./hrana-stream.ts";
import { execute } from "./sql.ts";

let cluster: TestCluster;
before(async () => {
  cluster = await TestCluster.start();
});
after(() => cluster.stop());

async function followerUrl(): Promise<string> {
  const leader = await cluster.leader();
  return cluster.url(cluster.nodes.find(({ id }) => id !== leader)!.id);
}

async function saidBy(url: string, sql: string): Promise<string> {
  const outcome = await execute(url, sql);
  return outcome.type === "ok" ? JSON.stringify(outcome.rows) : outcome.code;
}

test("foreign keys hold for a client with a stream per statement, on every node", async () => {
  const url = await followerUrl();
  const said = (sql: string) => saidBy(url, sql);
  await said("CREATE TABLE parent (id INTEGER PRIMARY KEY)");
  await said("CREATE TABLE child (p REFERENCES parent ON DELETE CASCADE)");
  for (const each of cluster.urls) assert.equal(await saidBy(each, "PRAGMA foreign_keys"), "[[1]]");
  assert.equal(await said("INSERT INTO child VALUES (99)"), "SQLITE_CONSTRAINT");
  await said("INSERT INTO parent VALUES (1)");
  await said("INSERT INTO child VALUES (1)");
  await said("DELETE FROM parent");
  assert.equal(await said("SELECT count(*) FROM child"), "[[0]]");

  // A stream may think otherwise, and goes on doing so.
  const stream = new HranaStream(url);
  await stream.one("PRAGMA foreign_keys = off");
  assert.deepEqual((await stream.one("PRAGMA foreign_keys")).rows, [["0"]]);
  assert.equal(await stream.said("INSERT INTO child VALUES (99)"), "ok");
  await stream.close();
  assert.equal(await said("INSERT INTO child VALUES (98)"), "SQLITE_CONSTRAINT");

  const status = await cluster.statusOf(await cluster.leader());
  assert.equal(status?.settings.foreignKeys, "on");
  const off = await paceline("configure", "foreignKeys=off", "--url", url);
  assert.equal(off.code, 0, off.stderr);
  assert.match(off.stdout, /^foreignKeys=off$/m);
  assert.equal(await said("INSERT INTO child VALUES (97)"), "[]");
  assert.equal(await saidBy(cluster.url(await cluster.leader()), "PRAGMA foreign_keys"), "[[0]]");
  assert.equal((await paceline("configure", "foreignKeys=on", "--url", url)).code, 0);
});

test("a transaction without COMMIT whose leader dies is lost, and known to be", async () => {
  const url = await followerUrl();
  await saidBy(url, "CREATE TABLE kept (n)");
  const [first, second] = [new HranaStream(url), new HranaStream(url)];
  assert.deepEqual(
    (await first.all("BEGIN IMMEDIATE", "INSERT INTO kept VALUES (1)")).map((a) => a.code),
    [undefined, undefined],
  );
  const waiting = second.all("BEGIN IMMEDIATE", "INSERT INTO kept VALUES (2)", "SELECT 7");
  const old = await cluster.leader();
  await cluster.kill(old);
  const lost = await first.one("INSERT INTO kept VALUES (3)");
  assert.equal(lost.code, "TRANSACTION_LOST");
  assert.doesNotMatch(lost.message ?? "", /client is destroyed|may have happened|unknown/);
  const later = await first.one("SELECT 1");
  assert.equal(later.code, "TRANSACTION_LOST");
  assert.doesNotMatch(later.message ?? "", /may have happened/);
  // What only opened a transaction was safe to repeat, and was.
  assert.deepEqual((await waiting)[2]!.rows, [["7"]]);
  await second.one("COMMIT");
  assert.equal(await first.said("ROLLBACK"), "SQLITE_ERROR", "there is none any more");
  assert.equal(await first.said("INSERT INTO kept VALUES (4)"), "ok");
  assert.equal(await saidBy(url, "SELECT group_concat(n) FROM kept"), '[["2,4"]]');
  cluster.restart(old);
});
