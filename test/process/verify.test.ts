/** `paceline verify` says what it compared; under a log kind of rows it finds a copy that differs, and it is mended. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { sleep, TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { execute, rowsOf } from "./sql.ts";

/** Writes without a pause until it is told to stop. */
function load(url: string): () => Promise<void> {
  let goesOn = true;
  const done = (async () => {
    while (goesOn) await execute(url, "INSERT INTO t(v) VALUES (random())");
  })();
  return async () => {
    goesOn = false;
    await done;
  };
}

test("copies are compared at one position while writes go on, and one that differs is mended", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await TestCluster.start({ args: ["--settings", "logKind=rows"] });
  t.after(() => cluster.stop());
  const leader = await cluster.leader();
  const [asked, other] = cluster.nodes.filter(({ id }) => id !== leader);
  const url = cluster.url(asked!.id);
  for (const sql of [
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
    "CREATE TABLE kept(x)",
    "INSERT INTO kept VALUES ('right'), ('left')",
    "CREATE VIRTUAL TABLE words USING fts5(w)",
    "INSERT INTO words VALUES ('one')",
  ]) {
    await rowsOf(url, sql);
  }
  const verify = () => paceline("verify", "--url", url);
  const stop = load(url);
  const whole = await verify();
  assert.equal(whole.code, 0, whole.stdout + whole.stderr);
  assert.match(whole.stdout, /All 3 copies are whole and identical: compared at position \d+\./);

  // Somebody writes into the file of a node that is down: under rows no checksum of the log tells.
  await cluster.kill(other!.id, "SIGTERM");
  const file = new DatabaseSync(join(other!.dir, "db/main.sqlite"));
  file.exec("UPDATE kept SET x = 'wrong' WHERE x = 'right'; DELETE FROM words");
  file.close();
  cluster.restart(other!.id);
  await until(async () => (await cluster.statusOf(other!.id)) !== undefined);
  const broken = await verify();
  await stop();
  assert.equal(broken.code, 1, broken.stdout + broken.stderr);
  const named = `^${other!.id} .*differs from ${leader} at \\d+ in table kept, table words_content`;
  assert.match(broken.stdout, new RegExp(named, "m"));
  assert.match(broken.stderr, /are copied from another node: see the log, then verify again/);
  await until(
    async () => /page sync from .* done/.test(cluster.output(other!.id)),
    () => cluster.output(other!.id),
  );
  const mended = await verify();
  assert.equal(mended.code, 0, mended.stdout + mended.stderr);
  const sql = "SELECT x FROM kept ORDER BY rowid";
  const stale = { headers: { "paceline-consistency": "stale" } };
  const here = await execute(cluster.url(other!.id), sql, [], stale);
  assert.deepEqual(here.type === "ok" && here.rows, [["right"], ["left"]]);
});

async function until(isSo: () => Promise<boolean>, why = () => ""): Promise<void> {
  for (const end = Date.now() + 30_000; !(await isSo()); await sleep(100)) {
    assert.ok(Date.now() < end, `it does not come to that: ${why()}`);
  }
}
