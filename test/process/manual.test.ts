/** Leaders appointed by an operator: two nodes, no majority to ask. Real processes. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { sleep, TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { checkLedger, Ledger, numbersDiscarded } from "./modes.ts";
import { rowsOf } from "./sql.ts";

async function startTwo(commitRule: string): Promise<{
  cluster: TestCluster;
  leader: string;
  other: string;
}> {
  const args = ["--settings", `coordinator=manual,commitRule=${commitRule}`];
  const cluster = await TestCluster.start({ nodes: 2, args });
  const leader = await cluster.leader();
  await rowsOf(cluster.url(leader), "CREATE TABLE t (n INTEGER PRIMARY KEY, how TEXT)");
  await cluster.settled();
  return { cluster, leader, other: leader === "a" ? "b" : "a" };
}

const promote = (cluster: TestCluster, id: string, ...flags: string[]) =>
  paceline("promote", "--url", cluster.url(id), ...flags);

async function isUp(cluster: TestCluster, id: string): Promise<void> {
  for (const until = Date.now() + 20_000; (await cluster.statusOf(id)) === undefined; ) {
    assert.ok(Date.now() < until, cluster.output(id));
    await sleep(50);
  }
}

test("two nodes, asynchronous: promote, and the old leader keeps what the cluster lost", {
  timeout: 120_000,
}, async () => {
  const { cluster, leader, other } = await startTwo("leader");
  try {
    const ledger = new Ledger();
    for (let i = 0; i < 5; i++) await ledger.write(cluster.url(leader));
    await cluster.settled();
    await cluster.kill(other);
    // The leader goes on alone: an operator appointed it.
    await sleep(2_000);
    for (let i = 0; i < 20; i++) assert.equal(await ledger.write(cluster.url(leader)), "ok");
    await cluster.kill(leader);
    cluster.restart(other);
    await isUp(cluster, other);
    await sleep(3_000);
    assert.equal((await cluster.statusOf(other))?.leader, null, "somebody stood by himself");
    const refused = await promote(cluster, other);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, new RegExp(`${leader} does not answer.*commit rule leader`));
    assert.match(refused.stderr, /everything there after \d+@1 would be lost/);
    const promoted = await promote(cluster, other, "--accept-loss");
    assert.equal(promoted.code, 0, promoted.stderr);
    for (let i = 0; i < 5; i++) assert.equal(await ledger.write(cluster.url(other)), "ok");
    cluster.restart(leader);
    const lost = await checkLedger(cluster, ledger);
    assert.equal(
      lost.length,
      20,
      "what was acknowledged by the old leader alone, and nothing else",
    );
    const kept = [...numbersDiscarded(`${cluster.dir}/${leader}`)];
    assert.deepEqual(
      kept.sort((a, b) => a - b),
      lost.sort((a, b) => a - b),
      "kept exactly what was lost",
    );
    assert.equal((await cluster.statusOf(leader))?.leader, other);
  } finally {
    await cluster.stop();
  }
});

test("a node that is behind one that answers is not promoted, and hears what would be lost", {
  timeout: 120_000,
}, async () => {
  const { cluster, leader, other } = await startTwo("leader");
  try {
    const ledger = new Ledger();
    await cluster.kill(other);
    for (let i = 0; i < 5; i++) assert.equal(await ledger.write(cluster.url(leader)), "ok");
    await cluster.kill(leader);
    cluster.restart(leader);
    cluster.restart(other);
    await isUp(cluster, leader);
    await isUp(cluster, other);
    const refused = await promote(cluster, other);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      new RegExp(`${leader} is at .*it would lose \\d+ entries, \\d+ to`),
    );
    const answer = await fetch(`${cluster.url(other)}/admin/promote`, {
      method: "POST",
      body: "{}",
    });
    assert.equal(answer.status, 409);
    assert.equal(((await answer.json()) as { code: string }).code, "PROMOTION_REFUSED");
    // Everybody answers, and nobody has more: nothing can be lost, nothing need be accepted.
    const promoted = await promote(cluster, leader);
    assert.equal(promoted.code, 0, promoted.stderr);
    assert.deepEqual(await checkLedger(cluster, ledger), []);
    // A leader that answers hands over.
    const handed = await promote(cluster, other);
    assert.equal(handed.code, 0, handed.stderr);
    assert.equal((await cluster.statusOf(other))?.leader, other);
    assert.equal(await ledger.write(cluster.url(leader)), "ok");
    assert.deepEqual(await checkLedger(cluster, ledger), []);
  } finally {
    await cluster.stop();
  }
});

test("by commit rule quorum nothing acknowledged can be lost: promoted without a word, writes wait for the copy", {
  timeout: 120_000,
}, async () => {
  const { cluster, leader, other } = await startTwo("quorum");
  try {
    const ledger = new Ledger();
    for (let i = 0; i < 10; i++) assert.equal(await ledger.write(cluster.url(other)), "ok");
    await cluster.kill(leader);
    const promoted = await promote(cluster, other);
    assert.equal(promoted.code, 0, promoted.stderr);
    const waiting = ledger.write(cluster.url(other));
    await sleep(1_000);
    cluster.restart(leader);
    assert.equal(await waiting, "ok");
    assert.deepEqual(await checkLedger(cluster, ledger), []);
  } finally {
    await cluster.stop();
  }
});

test("where a majority elects, nobody is promoted", { timeout: 60_000 }, async () => {
  const cluster = await TestCluster.start({ nodes: 1 });
  try {
    const refused = await promote(cluster, "a", "--accept-loss");
    // It leads already.
    assert.equal(refused.code, 0, refused.stderr);
    await cluster.join("b", "a");
    await isUp(cluster, "b");
    const other = await promote(cluster, "b", "--accept-loss");
    assert.match(
      other.stderr,
      /elects its leader by majority, and a leads; paceline switchover --to b/,
    );
  } finally {
    await cluster.stop();
  }
});

test("a cluster that runs is put into an operator's hands, and back", {
  timeout: 120_000,
}, async () => {
  const cluster = await TestCluster.start({ nodes: 1 });
  try {
    await cluster.join("b", "a");
    await rowsOf(cluster.url("a"), "CREATE TABLE t (n INTEGER PRIMARY KEY, how TEXT)");
    const isVoter = async () =>
      (await cluster.statusOf("a"))?.nodes.some((n) => n.id === "b" && n.kind === "voter");
    while (!(await isVoter())) await sleep(50);
    await cluster.settled();
    const url = ["--url", cluster.url("a")];
    const toManual = ["configure", ...url, "coordinator=manual", "commitRule=leader"];
    await cluster.kill("b");
    // It is asked before the leader misses its majority for so long that it steps down.
    await sleep(100);
    const early = await paceline(...toManual);
    assert.equal(early.code, 1);
    assert.match(early.stderr, /b cannot be reached/);
    cluster.spawn(cluster.nodes[1]!, []);
    await isUp(cluster, "b");
    await cluster.recovered();
    const changed = await paceline(...toManual);
    assert.equal(changed.code, 0, changed.stderr);
    const ledger = new Ledger();
    const leader = await cluster.leader();
    const other = leader === "a" ? "b" : "a";
    for (let i = 0; i < 5; i++) assert.equal(await ledger.write(cluster.url(other)), "ok");
    await cluster.settled();
    const led = cluster.nodes.find((node) => node.id === leader)!;
    await cluster.kill(leader);
    await sleep(2_000);
    assert.equal((await cluster.statusOf(other))?.leader, null, "somebody stood by himself");
    const promoted = await promote(cluster, other, "--accept-loss");
    assert.equal(promoted.code, 0, promoted.stderr);
    for (let i = 0; i < 5; i++) assert.equal(await ledger.write(cluster.url(other)), "ok");
    cluster.spawn(led, []);
    assert.deepEqual(await checkLedger(cluster, ledger), []);
    const back = await paceline(
      ...["configure", ...url, "coordinator=quorum", "commitRule=quorum"],
    );
    assert.equal(back.code, 0, back.stderr);
    assert.equal(await ledger.write(cluster.url("a")), "ok");
    await cluster.settled();
    // By majority again: killed and restarted, they elect.
    for (const node of cluster.nodes) await cluster.kill(node.id);
    for (const node of cluster.nodes) cluster.spawn(node, []);
    assert.equal(await ledger.write(cluster.url(await cluster.leader())), "ok");
    assert.deepEqual(await checkLedger(cluster, ledger), []);
  } finally {
    await cluster.stop();
  }
});
