/**
 * A leader without its quorum: it stops acknowledging within the lease, it is fenced when another one leads, and when a
 * majority is together again there is a leader. Real processes, links that break, processes that stand still.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "../../src/limits.ts";
import { sleep } from "./cluster.ts";
import { checkLedger, Ledger, newLeader, startMode } from "./modes.ts";
import { execute, rowsOf } from "./sql.ts";

const linearizable = { "paceline-consistency": "linearizable" };

test("a leader that is cut off acknowledges nothing after its lease, neither writes nor linearizable reads", {
  timeout: 120_000,
}, async () => {
  const cluster = await startMode();
  try {
    const ledger = new Ledger();
    const old = await cluster.leader();
    const url = cluster.url(old);
    const acks: number[] = [];
    let isOver = false;
    const ask = async (sql: string, args: readonly number[]): Promise<void> => {
      const outcome = await execute(url, sql, args, { headers: linearizable, timeoutMs: 3_000 });
      if (outcome.type === "ok") acks.push(performance.now());
    };
    const client = async (): Promise<void> => {
      while (!isOver) await ask("SELECT count(*) FROM t", []);
    };
    const writer = async (): Promise<void> => {
      for (let n = 1_000_000; !isOver; n++) await ask("INSERT INTO t VALUES (?, 'cut')", [n]);
    };
    const clients = [client(), client(), writer(), writer()];
    await sleep(500);
    await cluster.links.cutAround(old);
    const cutMs = performance.now();
    const next = await newLeader(cluster, old);
    const ledMs = performance.now();
    // Somebody else leads. Whatever the old one says from now on must not be an acknowledgement.
    assert.equal(await ledger.write(cluster.url(next)), "ok");
    await sleep(1_500);
    isOver = true;
    await Promise.all(clients);
    const lastMs = Math.max(...acks);
    const graceMs = limits.leaseMs + 500; // An answer may be on its way, on a busy machine.
    assert.ok(lastMs < cutMs + graceMs, `acknowledged ${lastMs - cutMs} ms after the cut`);
    assert.ok(lastMs < ledMs, "acknowledged while another node led");
    await cluster.links.heal();
    assert.equal(await ledger.write(url), "ok");
    assert.deepEqual(await checkLedger(cluster, ledger), []);
  } finally {
    await cluster.stop();
  }
});

test("two would-be leaders: the one that wakes up is fenced", { timeout: 120_000 }, async () => {
  const cluster = await startMode();
  try {
    const ledger = new Ledger();
    const old = await cluster.leader();
    await cluster.kill(old, "SIGSTOP");
    const next = await newLeader(cluster, old);
    assert.equal(await ledger.write(cluster.url(next)), "ok");
    // It wakes and believes that it leads; nobody answers it, and the first that does says the new term.
    await cluster.links.cutAround(old);
    await cluster.kill(old, "SIGCONT");
    const answers = await Promise.all(
      Array.from({ length: 4 }, () =>
        execute(cluster.url(old), "SELECT count(*) FROM t", [], {
          headers: linearizable,
          timeoutMs: 2_500,
        }),
      ),
    );
    for (const answer of answers) assert.notEqual(answer.type, "ok", "two leaders answered");
    const status = await cluster.statusOf(old);
    assert.notEqual(status?.leader, old, "it still believes that it leads");
    await cluster.links.heal();
    assert.equal(await ledger.write(cluster.url(old)), "ok");
    assert.deepEqual(await checkLedger(cluster, ledger), []);
  } finally {
    await cluster.stop();
  }
});

test("halves that stopped go on when a majority is together again", {
  timeout: 120_000,
}, async () => {
  const cluster = await startMode();
  try {
    const ledger = new Ledger();
    // Nobody hears anybody: no half is a majority, all of them stop.
    for (const { id } of cluster.nodes) await cluster.links.cutAround(id);
    await sleep(2_500);
    for (const { id } of cluster.nodes) {
      const status = await cluster.statusOf(id);
      assert.equal(status?.leader, null, `${id} knows of a leader`);
    }
    await cluster.links.heal();
    await cluster.leader();
    assert.equal(await ledger.write(cluster.urls[0]!), "ok");
    // And once more with one node dead.
    for (const { id } of cluster.nodes) await cluster.links.cutAround(id);
    await sleep(1_500);
    await cluster.kill("b");
    await cluster.links.heal();
    const until = Date.now() + 20_000;
    while ((await ledger.write(cluster.url("c"))) !== "ok") assert.ok(Date.now() < until);
    cluster.restart("b");
    assert.deepEqual(await checkLedger(cluster, ledger), []);
    const rows = await rowsOf(cluster.url("b"), "SELECT count(*) FROM t");
    assert.ok(Number(rows[0]![0]) >= 2);
  } finally {
    await cluster.stop();
  }
});
