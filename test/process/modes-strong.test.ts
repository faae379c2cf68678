/**
 * Commit rules quorum, one and all, in a cluster of three: whatever is acknowledged stays, through every fault. What
 * differs is what a missing copy does to writes.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { sleep } from "./cluster.ts";
import { checkLedger, followerOf, killTwo, Ledger, newLeader, startMode } from "./modes.ts";
import { rowsOf } from "./sql.ts";

for (const rule of ["quorum", "one", "all"] as const) {
  describe(`rule ${rule}`, () => {
    test("leader killed, leader partitioned, two killed, and their return: nothing acknowledged is lost", async () => {
      const cluster = await startMode("--commit-rule", rule);
      try {
        const ledger = new Ledger();
        const load = ledger.run(() => cluster.urls);
        await sleep(500);
        const killed = await cluster.leader();
        await cluster.kill(killed);
        await newLeader(cluster, killed);
        await sleep(300);
        cluster.restart(killed);
        await sleep(1_000);
        const cut = await cluster.leader();
        await cluster.links.cutAround(cut);
        await newLeader(cluster, cut);
        await sleep(300);
        await cluster.links.heal();
        await sleep(1_000);
        await load.stop();
        assert.deepEqual(await checkLedger(cluster, ledger), []);
        assert.deepEqual(await killTwo(cluster, ledger), []);
        assert.ok(ledger.ok.size > 0, `only ${ledger.ok.size} writes were acknowledged`);
        const status = await cluster.statusOf(await cluster.leader());
        assert.equal(status?.commitRule, rule);
        assert.ok(status?.nodes.every((node) => node.discarded === 0));
      } finally {
        await cluster.stop();
      }
    });
  });
}

test("rule all, a follower killed: wait, fail and degrade, changed while it is away", async () => {
  const cluster = await startMode(
    "--settings",
    "commitRule=all,whenCopiesMissing=fail,copiesTimeoutMs=400",
  );
  try {
    const ledger = new Ledger();
    const leader = await cluster.leader();
    const url = cluster.url(leader);
    const follower = await followerOf(cluster);
    assert.equal(await ledger.write(url), "ok");
    await cluster.kill(follower);

    // fail: the outcome is unknown, soon; what was read before can be read still.
    const began = performance.now();
    assert.equal(await ledger.write(url), "unknown");
    assert.ok(performance.now() - began < 4_000);
    await rowsOf(url, "SELECT count(*) FROM t", [], {
      headers: { "paceline-consistency": "linearizable" },
    });

    // degrade: loud, and writes go on by the majority.
    await configure(url, { whenCopiesMissing: "degrade" });
    assert.equal(await ledger.write(url), "ok");
    await sleep(1_500);
    const degraded = await cluster.statusOf(leader);
    assert.equal(degraded?.degraded, true);
    assert.equal(degraded?.nodes.find((node) => node.id === follower)?.inSync, false);
    assert.match(await metricsOf(url), /^paceline_degraded 1$/m);
    assert.match(cluster.output(leader), /copies are missing for 400 ms: rule quorum does/);

    // Back to normal by itself.
    cluster.restart(follower);
    await cluster.settled();
    await sleep(1_500);
    assert.equal(await ledger.write(url), "ok");
    assert.equal((await cluster.statusOf(leader))?.degraded, false);
    assert.match(cluster.output(leader), /the copies are back: rule all again/);
    assert.deepEqual(await checkLedger(cluster, ledger), []);

    // Contradiction: a voter that is away, and everybody shall wait for it.
    await cluster.kill(follower);
    await sleep(2_000);
    const refused = await configure(url, { whenCopiesMissing: "wait" });
    assert.equal(refused, "SETTINGS_REFUSED");
  } finally {
    await cluster.stop();
  }
});

test("one write may ask for more copies than the rule, through any node", async () => {
  const cluster = await startMode("--commit-rule", "leader");
  try {
    const leader = await cluster.leader();
    const follower = await followerOf(cluster);
    const acked = async (id: string, ack?: string): Promise<string | null> => {
      const headers: Record<string, string> = ack === undefined ? {} : { "paceline-ack": ack };
      return await ackOf(cluster.url(id), headers);
    };
    for (const id of [leader, follower]) {
      assert.equal(await acked(id), "leader");
      for (const level of ["one", "quorum", "all", "applied"]) {
        assert.equal(await acked(id, level), level);
      }
    }
    // Applied means that every node shows it.
    const other = cluster.nodes.find(({ id }) => id !== leader && id !== follower)!.id;
    for (let i = 0; i < 20; i++) {
      assert.equal(await acked(leader, "applied"), "applied");
      const stale = { headers: { "paceline-consistency": "stale" } };
      const counts = await Promise.all(
        [leader, follower].map((id) => rowsOf(cluster.url(id), "SELECT max(n) FROM t", [], stale)),
      );
      assert.deepEqual(counts[0], counts[1]);
    }
    await cluster.kill(other);
    assert.equal(await acked(leader, "quorum"), "quorum");
    assert.equal(await acked(follower, "all;timeoutMs=300"), "UNKNOWN_OUTCOME");
    assert.equal(await acked(leader, "everyone"), "BAD_REQUEST");
  } finally {
    await cluster.stop();
  }
});

let next = 1_000_000;

/** Header `paceline-acked` of a write, or the code of its error. */
async function ackOf(url: string, headers: Record<string, string>): Promise<string | null> {
  const sql = `INSERT INTO t VALUES (${next++}, 'acked')`;
  const response = await fetch(`${url}/v2/pipeline`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ requests: [{ type: "execute", stmt: { sql } }, { type: "close" }] }),
  });
  const body = (await response.json()) as {
    code?: string;
    results?: [{ error?: { code: string } }];
  };
  return body.code ?? body.results?.[0].error?.code ?? response.headers.get("paceline-acked");
}

/** Undefined, or the code of the refusal. */
async function configure(url: string, settings: object): Promise<string | undefined> {
  const response = await fetch(`${url}/admin/settings`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(settings),
  });
  return ((await response.json()) as { code?: string }).code;
}

async function metricsOf(url: string): Promise<string> {
  return (await fetch(`${url}/metrics`)).text();
}
