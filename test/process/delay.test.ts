/** Followers that stay behind by intention, as real processes: the delay, the accident, and the way back before it. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { NodeView } from "../../src/node/report/node-status.ts";
import { freePorts, sleep, TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { fill } from "./page-sync.ts";
import { execute, rowsOf } from "./sql.ts";

const MB = 1_000_000;
const delayMs = 8_000;
const delayed = ["--apply-delay", `${delayMs}ms`];
const stale = { headers: { "paceline-consistency": "stale" } };

test("rows come after the delay; a dropped table is in the backup of a node that was rolled forward to just before", {
  timeout: 150_000,
}, async (t) => {
  const cluster = await TestCluster.start({ nodes: 1 });
  t.after(() => cluster.stop());
  const [a] = [cluster.url("a")];
  await rowsOf(a, "CREATE TABLE kept(id INTEGER PRIMARY KEY, x TEXT)");
  await cluster.join("d", "a", ["--kind", "learner", ...delayed]);
  const d = cluster.url("d");
  await until(async () => (await viewOf(d))?.ready === true);

  // The row is on the disk of the delayed node at once, and in its database when the delay has passed.
  const wroteMs = Date.now();
  const wrote = await execute(a, "INSERT INTO kept(x) VALUES('one')");
  assert.equal(wrote.type, "ok");
  const first = lsnOf(wrote);
  const isHere = ({ durableLsn, committedLsn }: NodeView) =>
    (durableLsn ?? 0) >= first && (committedLsn ?? 0) >= first;
  await until(async () => isHere((await viewOf(d))!));
  const waiting = (await viewOf(d))!;
  assert.ok((waiting.appliedLsn ?? 0) < first, JSON.stringify(waiting));
  assert.equal(waiting.applyDelayMs, delayMs);
  assert.ok((waiting.lagEntries ?? 0) >= 1);

  // Whoever asks for more than the node shows is answered at once, with what the leader has.
  for (const headers of [
    { "paceline-consistency": "linearizable" },
    { "paceline-consistency": "bounded;maxLagMs=500" },
    { "paceline-min-position": wrote.type === "ok" ? wrote.position : "" },
  ]) {
    assert.deepEqual(await rowsOf(d, "SELECT x FROM kept", [], { headers }), [["one"]]);
  }
  await rowsOf(d, "INSERT INTO kept(x) VALUES('through d')");
  assert.deepEqual(await rowsOf(d, "SELECT count(*) FROM kept"), [[2]]);
  const seen = await execute(d, "SELECT count(*) FROM kept", [], stale);
  assert.ok(Date.now() - wroteMs > delayMs || seen.type !== "ok" || seen.rows[0]![0] === 0);
  assert.equal((await fetch(`${d}/replica`)).status, 503);

  await until(async () => ((await viewOf(d))?.appliedLsn ?? 0) >= first, delayMs + 10_000);
  const tookMs = Date.now() - wroteMs;
  assert.ok(tookMs >= delayMs - 100, `applied after ${tookMs} ms`);
  assert.ok(tookMs <= delayMs + 4_000, `applied after ${tookMs} ms`);

  // The accident.
  const last = await execute(a, "INSERT INTO kept(x) VALUES('just before')");
  await sleep(50);
  const beforeMs = Date.now();
  await sleep(50);
  assert.equal((await execute(a, "DROP TABLE kept")).type, "ok");
  const to = ["roll-forward", "--url", d, "--to"];
  const rolled = await paceline(...to, new Date(beforeMs).toISOString(), "--json");
  assert.equal(rolled.code, 0, rolled.stderr + cluster.output("d"));
  const target = last.type === "ok" ? last.position : "";
  assert.equal((JSON.parse(rolled.stdout) as { target: string }).target, target);
  const three = [["one"], ["through d"], ["just before"]];
  assert.deepEqual(await rowsOf(d, "SELECT x FROM kept ORDER BY id", [], stale), three);

  const file = join(cluster.dir, "before.backup");
  const backup = await paceline("backup", "--json", "--url", d, file);
  assert.equal(backup.code, 0, backup.stderr);
  assert.equal((JSON.parse(backup.stdout) as { position: string }).position, target);

  // Held is held: when the delay has passed, and over a restart. Nobody starts it without its delay by mistake.
  await cluster.kill("d", "SIGTERM");
  cluster.spawn(cluster.nodes[1]!, []);
  await until(async () =>
    /NOT_DELAYED|held at/.test(cluster.output("d").split("[exit").at(-2) ?? ""),
  );
  await cluster.kill("d");
  cluster.spawn(cluster.nodes[1]!, delayed);
  await sleep(delayMs);
  await until(async () => ((await viewOf(d))?.committedLsn ?? 0) > lsnOf(last));
  assert.equal((await viewOf(d))?.appliedLsn, lsnOf(last));
  assert.deepEqual((await viewOf(d))?.held, { at: target, reached: true });
  assert.deepEqual(await rowsOf(d, "SELECT x FROM kept ORDER BY id", [], stale), three);
  const status = await paceline("status", "--url", a);
  assert.match(status.stdout, /learner, delayed 8s, held at/);
  const verified = await paceline("verify", "--url", d);
  assert.equal(verified.code, 0, verified.stdout + verified.stderr);

  for (const [moment, code] of [
    [String(first), "POSITION_PASSED"],
    ["999999", "POSITION_AHEAD"],
    [`${lsnOf(last)}@77`, "POSITION_UNKNOWN"],
    ["soon", "BAD_REQUEST"],
  ] as const) {
    const refused = await paceline(...to, moment);
    assert.equal(refused.code, 1, moment);
    assert.match(refused.stderr, new RegExp(code));
  }
  const undelayed = await paceline("roll-forward", "--url", a, "--resume");
  assert.match(undelayed.stderr, /NOT_DELAYED/);

  const resumed = await paceline("roll-forward", "--url", d, "--resume");
  assert.equal(resumed.code, 0, resumed.stderr);
  await until(async () => (await execute(d, "SELECT 1 FROM kept", [], stale)).type === "failed");

  // The backup is of exactly that moment.
  const restored = await TestCluster.prepared({ dir: cluster.dir }, async (node, address) => {
    const ran = await paceline(
      ...["restore", file, "--id", node.id, "--dir", node.dir, "--listen", address],
    );
    assert.equal(ran.code, 0, ran.stderr);
  });
  t.after(() => restored.stop());
  assert.deepEqual(await rowsOf(restored.url("a"), "SELECT x FROM kept ORDER BY id"), three);
});

test("a delayed node outside the membership, and one below it that is not delayed; --to now", {
  timeout: 90_000,
}, async (t) => {
  const cluster = await TestCluster.start({ nodes: 1 });
  t.after(() => cluster.stop());
  const a = cluster.url("a");
  await rowsOf(a, "CREATE TABLE t(x)");
  const [port] = await freePorts(1);
  const follow = `127.0.0.1:${cluster.nodes[0]!.port}`;
  const node = { id: "d", port: port!, dir: join(cluster.dir, "d"), follow };
  cluster.nodes.push(node);
  cluster.spawn(node, ["--follow", follow, "--apply-delay", "1h"]);
  const d = cluster.url("d");
  await until(async () => (await viewOf(d))?.ready === true);
  await cluster.follow("e", ["d"]);
  const e = cluster.url("e");
  await until(async () => ((await viewOf(e))?.lagMs ?? 60_000) < 3_000);
  // The birth of the cluster, with its settings, and nothing of the table.
  assert.equal((await viewOf(d))?.appliedLsn, 3);
  const wrote = await execute(a, "INSERT INTO t VALUES(1)");
  await until(async () => ((await viewOf(e))?.appliedLsn ?? 0) >= lsnOf(wrote));
  const headers = { "paceline-consistency": "linearizable" };
  assert.deepEqual(await rowsOf(e, "SELECT x FROM t", [], { headers }), [[1]]);
  assert.deepEqual(await rowsOf(d, "SELECT x FROM t", [], { headers }), [[1]]);
  assert.equal((await execute(d, "SELECT x FROM t", [], stale)).type, "failed");

  const rolled = await paceline("roll-forward", "--url", d, "--to", "now");
  assert.equal(rolled.code, 0, rolled.stderr);
  assert.deepEqual(await rowsOf(d, "SELECT x FROM t", [], stale), [[1]]);
  await rowsOf(a, "INSERT INTO t VALUES(2)");
  await sleep(300);
  assert.deepEqual(await rowsOf(d, "SELECT x FROM t", [], stale), [[1]]);
  const lagMs = (await viewOf(d))?.lagMs ?? 0;
  assert.ok(lagMs >= 250 && lagMs < 10_000, `${lagMs} ms behind`);
});

test("its log keeps what is not applied; copied pages are as of now, and never come over a held node", {
  timeout: 170_000,
}, async (t) => {
  const cluster = await TestCluster.start({ nodes: 1, args: ["--keep-log", "4MiB"] });
  t.after(() => cluster.stop());
  const a = cluster.url("a");
  await fill(cluster, 40 * MB);
  await cluster.join("d", "a", ["--kind", "learner", "--apply-delay", "1h"]);
  const d = cluster.url("d");
  const count = () => execute(d, "SELECT count(*) FROM filler", [], stale);
  const rows = async () => rowsOf(a, "SELECT count(*) FROM filler");
  await until(async () => (await viewOf(d))?.ready === true, 60_000);
  const joined = await count();
  assert.deepEqual(joined.type === "ok" && joined.rows, await rows());
  assert.match(cluster.output("d"), /the copied pages are as of now/);

  // Much more than --keep-log is written, and none of it is shown; it is all there when it is asked for.
  await fill(cluster, 40 * MB);
  const later = await count();
  assert.deepEqual(later.type === "ok" && later.rows, joined.type === "ok" && joined.rows);
  await until(async () => ((await viewOf(d))?.lagBytes ?? 0) > 30 * MB);
  const rolled = await paceline("roll-forward", "--url", d, "--to", "now");
  assert.equal(rolled.code, 0, rolled.stderr);
  const all = await count();
  assert.deepEqual(all.type === "ok" && all.rows, await rows());
  assert.equal(cluster.output("d").split("as of now").length, 2);

  // Away for longer than the log of the leader reaches back, while it is held.
  await cluster.kill("d", "SIGTERM");
  await fill(cluster, 40 * MB);
  cluster.spawn(cluster.nodes[1]!, ["--apply-delay", "1h"]);
  await until(async () => /no longer reaches back/.test(cluster.output("d")));
  await sleep(1_500);
  const held = await count();
  assert.deepEqual(held.type === "ok" && held.rows, all.type === "ok" && all.rows);
  assert.equal((await paceline("roll-forward", "--url", d, "--resume")).code, 0);
  const wanted = JSON.stringify(await rows());
  await until(async () => {
    const now = await count();
    return now.type === "ok" && JSON.stringify(now.rows) === wanted;
  }, 60_000);
});

test("who may have to lead cannot be delayed", { timeout: 60_000 }, async (t) => {
  const cluster = await TestCluster.start({ nodes: 1 });
  t.after(() => cluster.stop());
  const [port] = await freePorts(1);
  const listen = `127.0.0.1:${port}`;
  const dir = join(cluster.dir, "x");
  const start = (...args: string[]) =>
    paceline("start", "--id", "x", "--dir", dir, "--listen", listen, "--apply-delay", ...args);
  for (const args of [
    ["1h", "--cluster", `x=${listen}`],
    ["1h", "--join", cluster.url("a")],
    ["1h", "--join", cluster.url("a"), "--kind", "witness"],
    ["soon", "--join", cluster.url("a"), "--kind", "learner"],
    ["0s", "--join", cluster.url("a"), "--kind", "learner"],
    ["60d", "--join", cluster.url("a"), "--kind", "learner"],
  ]) {
    const { code, stderr } = await start(...args);
    assert.equal(code, 2, `${args.join(" ")}: ${stderr}`);
  }
  // Alone, without a word about others, it is the only voter of a cluster of its own.
  const alone = await start("1h");
  assert.equal(alone.code, 1);
  assert.match(alone.stderr, /x is a voter, and only a learner/);
  // So it is when it has been one before.
  await cluster.kill("a", "SIGTERM");
  const again = await paceline(
    ...["start", "--id", "a", "--dir", cluster.nodes[0]!.dir, "--listen", listen],
    ...["--apply-delay", "1h"],
  );
  assert.equal(again.code, 1);
  assert.match(again.stderr, /a is a voter, and only a learner/);
});

function lsnOf(outcome: Awaited<ReturnType<typeof execute>>): number {
  assert.equal(outcome.type, "ok");
  return outcome.type === "ok" ? Number(outcome.position.split("@")[0]) : 0;
}

async function viewOf(url: string): Promise<NodeView | undefined> {
  try {
    return (await (await fetch(`${url}/node`)).json()) as NodeView;
  } catch {
    return undefined;
  }
}

async function until(isSo: () => Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const endMs = Date.now() + timeoutMs;
  while (!(await isSo())) {
    assert.ok(Date.now() < endMs, `not within ${timeoutMs} ms: ${isSo}`);
    await sleep(50);
  }
}
