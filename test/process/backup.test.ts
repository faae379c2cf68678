/** Backups of real processes: taken from a follower under load, read by the stock shell, restored to a new cluster. */

import assert from "node:assert/strict";
import {
  copyFileSync,
  existsSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { sleep, TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { fill } from "./page-sync.ts";
import { execute, rowsOf } from "./sql.ts";

const MB = 1_000_000;

test("a backup of a follower under load is a database of one moment, and a cluster starts from it", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await TestCluster.start({ nodes: 3 });
  t.after(() => cluster.stop());
  await fill(cluster, 20 * MB);
  const leader = await cluster.leader();
  const follower = cluster.nodes.find((node) => node.id !== leader)!.id;
  const url = cluster.url(leader);
  await rowsOf(url, "CREATE TABLE pairs(id INTEGER PRIMARY KEY, a INT, b INT)");

  // Every transaction writes a row whose two halves belong together.
  let written = 0;
  let stop = false;
  const load = (async () => {
    while (!stop) {
      const { type } = await execute(url, "INSERT INTO pairs(a, b) VALUES(?, ?)", [
        written,
        -written,
      ]);
      if (type === "ok") written += 1;
    }
  })();
  const file = join(cluster.dir, "first.backup");
  const before = written;
  const first = await paceline("backup", "--json", "--url", cluster.url(follower), file);
  const after = written;
  assert.equal(first.code, 0, first.stderr);
  const taken = JSON.parse(first.stdout) as { pageCount: number; pagesMoved: number };
  assert.ok(taken.pagesMoved >= taken.pageCount);

  // Any SQLite opens it as it is.
  const copy = join(cluster.dir, "copy.sqlite");
  copyFileSync(file, copy);
  const db = new DatabaseSync(copy);
  assert.deepEqual({ ...db.prepare("PRAGMA integrity_check").get() }, { integrity_check: "ok" });
  const row = db.prepare("SELECT count(*) AS n, sum(a + b) AS s FROM pairs").get()!;
  assert.equal(row["s"], 0);
  assert.ok(Number(row["n"]) >= before - 1 && Number(row["n"]) <= after + 1);
  db.close();

  // The second one moves only what differs.
  const second = await paceline("backup", "--json", "--url", cluster.url(follower), file);
  assert.equal(second.code, 0, second.stderr);
  const again = JSON.parse(second.stdout) as { pagesMoved: number };
  assert.ok(again.pagesMoved < taken.pageCount / 4, `${again.pagesMoved} of ${taken.pageCount}`);
  stop = true;
  await load;

  const restored = await restoredCluster(file, cluster);
  t.after(() => restored.stop());
  const [[count]] = (await rowsOf(restored.url("a"), "SELECT count(*) FROM pairs")) as [[number]];
  assert.ok(count >= Number(row["n"]) && count <= written);
  const verified = await paceline("verify", "--url", restored.url("a"));
  assert.equal(verified.code, 0, verified.stderr + verified.stdout);
  await rowsOf(restored.url("b"), "INSERT INTO pairs(a, b) VALUES(1, -1)");
  await restored.settled();
});

/** A node restored from the file, and a second one that joined it and became a voter. */
async function restoredCluster(file: string, near: TestCluster): Promise<TestCluster> {
  const cluster = await TestCluster.prepared({ dir: near.dir }, async (node, address) => {
    const { code, stderr } = await paceline(
      ...["restore", file, "--id", node.id, "--dir", node.dir, "--listen", address],
    );
    assert.equal(code, 0, stderr);
  });
  await cluster.join("b", "a");
  for (;;) {
    const nodes = (await cluster.statusOf("a"))?.nodes ?? [];
    if (nodes.some((node) => node.id === "b" && node.kind === "voter")) break;
    await sleep(50);
  }
  await cluster.settled();
  return cluster;
}

test("a restored cluster has the settings of the old one, and elects its leader", {
  timeout: 120_000,
}, async (t) => {
  const given = "commitRule=one,whenCopiesMissing=degrade,copiesTimeoutMs=700,logKind=rows";
  const cluster = await TestCluster.start({
    ...{ nodes: 2, args: ["--settings", `${given},coordinator=manual`] },
  });
  t.after(() => cluster.stop());
  await rowsOf(cluster.url("a"), "CREATE TABLE pairs(id INTEGER PRIMARY KEY, a INT, b INT)");
  const file = join(cluster.dir, "settings.backup");
  const taken = await paceline("backup", "--url", cluster.url("b"), file);
  assert.equal(taken.code, 0, taken.stderr);
  assert.match(taken.stdout, /settings in it: .*commitRule=one .*coordinator=manual/);

  const dir = join(cluster.dir, "told");
  const restore = (...args: string[]) =>
    paceline(...["restore", file, "--id", "a", "--dir", dir, "--listen", "127.0.0.1:1", ...args]);
  const misuse = await restore("--settings", "colour=red");
  assert.equal(misuse.code, 2);
  const impossible = await restore("--settings", "coordinator=manual");
  assert.equal(impossible.code, 1);
  assert.match(impossible.stderr, /begins with one node/);
  assert.equal(existsSync(dir), false);
  const told = await restore("--json", "--settings", "commitRule=quorum,whenCopiesMissing=wait");
  assert.equal(told.code, 0, told.stderr);
  const { settings, changes } = JSON.parse(told.stdout);
  assert.equal(settings.commitRule, "quorum");
  assert.equal(settings.logKind, "rows");
  assert.match(changes[0], /^coordinator=quorum/);

  const restored = await restoredCluster(file, cluster);
  t.after(() => restored.stop());
  const wanted = (await cluster.statusOf("a"))?.settings;
  for (const id of ["a", "b"]) {
    const own = (await restored.statusOf(id))?.settings;
    assert.deepEqual(own, { ...wanted, coordinator: "quorum" });
  }
  await rowsOf(restored.url("b"), "INSERT INTO pairs(a, b) VALUES(1, -1)");
  await restored.settled();
  const manual = await paceline(...["configure", "--url", restored.url("a"), "coordinator=manual"]);
  assert.equal(manual.code, 0, manual.stderr);
});

test("bad backups and bad places are refused, and nothing is left behind", {
  timeout: 60_000,
}, async (t) => {
  const cluster = await TestCluster.start({ nodes: 1 });
  t.after(() => cluster.stop());
  await rowsOf(cluster.url("a"), "CREATE TABLE t(x); ");
  const file = join(cluster.dir, "good.backup");
  const good = await paceline("backup", "--url", cluster.url("a"), file);
  assert.equal(good.code, 0, good.stderr);
  assert.match(good.stdout, /position \d+@1/);
  const dir = join(cluster.dir, "restored");
  const restore = (from: string, to = dir) =>
    paceline("restore", from, "--id", "a", "--dir", to, "--listen", "127.0.0.1:1");

  const short = join(cluster.dir, "short.backup");
  copyFileSync(file, short);
  truncateSync(short, statSync(short).size - 4096);
  const flipped = join(cluster.dir, "flipped.backup");
  const bytes = readFileSync(file);
  bytes[5000]! ^= 1;
  writeFileSync(flipped, bytes);
  for (const [bad, why] of [
    [short, /cut short/],
    [flipped, /damaged/],
    [join(cluster.dir, "none"), /ENOENT/],
  ] as const) {
    const ran = await restore(bad);
    assert.equal(ran.code, 1);
    assert.match(ran.stderr, why);
    assert.match(ran.stderr, /Nothing was restored/);
    assert.equal(existsSync(dir), false);
    assert.equal(existsSync(`${dir}.restoring`), false);
  }
  const used = await restore(file, cluster.nodes[0]!.dir);
  assert.equal(used.code, 1);
  assert.match(used.stderr, /not empty/);

  // Somebody's own file is not replaced.
  const precious = join(cluster.dir, "precious.txt");
  writeFileSync(precious, "hello");
  const refused = await paceline("backup", "--url", cluster.url("a"), precious);
  assert.equal(refused.code, 1);
  assert.equal(readFileSync(precious, "utf8"), "hello");
  const nowhere = await paceline("backup", "--url", "http://127.0.0.1:1", join(cluster.dir, "x"));
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.stderr, /Is it running/);
});
