/** Writes that wait for more copies than the rule asks for, through the client: what they get, how long they wait. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Ack } from "../../src/client/ack.ts";
import { type Connection, connect } from "../../src/client/connect.ts";
import { PacelineError, SqlError, UnknownOutcomeError } from "../../src/client/errors.ts";
import { TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { startRouter } from "./routers.ts";

const levels: readonly Ack[] = ["leader", "one", "quorum", "all", "applied"];
let cluster: TestCluster;
let db: Connection;
let next = 1;

before(async () => {
  cluster = await TestCluster.start({ args: ["--commit-rule", "leader"] });
  db = connect({ urls: cluster.urls });
  await db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, how TEXT)");
});

after(async () => {
  await db.close();
  await cluster.stop();
});

const insert = (how: string) => ({ sql: "INSERT INTO t VALUES (?, ?)", args: [next++, how] });

async function configure(...pairs: string[]): Promise<void> {
  const { code, stderr } = await paceline(
    "configure",
    "--url",
    cluster.url(await cluster.leader()),
    ...pairs,
  );
  assert.equal(code, 0, stderr);
}

/** So many rows as the leader is sure to have now. */
async function count(how: string): Promise<number> {
  const sql = { sql: "SELECT count(*) AS n FROM t WHERE how = ?", args: [how] };
  const { rows } = await db.execute(sql, { consistency: "linearizable" });
  return rows[0]!["n"] as number;
}

test("every level, of statements, batches and transactions", async () => {
  const session = connect({ urls: cluster.urls, ack: "quorum" });
  try {
    assert.equal((await db.execute(insert("plain"))).acked, "leader");
    assert.equal((await session.execute(insert("plain"))).acked, "quorum");
    for (const ack of levels) {
      const options = { ack, ackTimeoutMs: 10_000 };
      assert.equal((await session.execute(insert(ack), options)).acked, ack);
      const both = await session.batch([insert(ack), insert(ack)], options);
      assert.deepEqual(
        both.map(({ acked }) => acked),
        [ack, ack],
      );
      const transaction = await session.begin(options);
      assert.equal((await transaction.execute(insert(ack))).acked, undefined);
      assert.equal(await transaction.commit(), ack);
      assert.equal(await count(ack), 4);
    }
    const { acked } = await db.execute("SELECT 1", { ack: "all" });
    assert.equal(acked, undefined, "a read has no copies");
    // Applied: every node shows it, at once.
    for (let i = 0; i < 10; i++) {
      await db.execute(insert("shown"), { ack: "applied" });
      for (const url of cluster.urls) {
        const body = { requests: [{ type: "execute", stmt: { sql: "SELECT max(n) FROM t" } }] };
        const response = await fetch(`${url}/v2/pipeline`, {
          method: "POST",
          headers: { "paceline-consistency": "stale" },
          body: JSON.stringify(body),
        });
        const { results } = (await response.json()) as {
          results: [{ response: { result: { rows: [[{ value: string }]] } } }];
        };
        assert.equal(results[0].response.result.rows[0][0].value, String(next - 1), url);
      }
    }
  } finally {
    await session.close();
  }
});

test("a rule that asks for more than the write does is what it gets", async () => {
  await configure("commitRule=quorum");
  for (const ack of ["leader", "one", "quorum"] as const) {
    assert.equal((await db.execute(insert("rule"), { ack })).acked, "quorum");
  }
  assert.equal((await db.execute(insert("rule"), { ack: "all" })).acked, "all");
  await configure("commitRule=leader");
});

test("what is no level and no time is refused, and what fails in SQL fails as ever", async () => {
  const refused = (options: object) =>
    assert.rejects(db.execute(insert("refused"), options), (error: PacelineError) => {
      assert.ok(error instanceof PacelineError);
      assert.deepEqual([error.code, error.retry], ["BAD_REQUEST", "never"]);
      return true;
    });
  await refused({ ack: "everyone" });
  for (const ackTimeoutMs of [0, 1.5, 30_001]) await refused({ ack: "all", ackTimeoutMs });
  assert.equal(await count("refused"), 0);
  const twice = { sql: "INSERT INTO t VALUES (1, 'twice')" };
  await assert.rejects(db.execute(twice, { ack: "applied" }), SqlError);
});

test("copies that are missing: unknown in time, never done twice, and all well when they are back", {
  timeout: 90_000,
}, async (t) => {
  const leader = await cluster.leader();
  const away = cluster.nodes.find(({ id }) => id !== leader)!.id;
  await cluster.kill(away);
  t.after(() => cluster.isRunning(away) || cluster.restart(away));

  const inTime = async (what: string, work: () => Promise<unknown>) => {
    const startMs = performance.now();
    await assert.rejects(work, (error: PacelineError) => {
      assert.ok(error instanceof UnknownOutcomeError, `${what}: ${error}`);
      assert.deepEqual([error.code, error.retry], ["UNKNOWN_OUTCOME", "ask-first"]);
      return true;
    });
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs >= 290 && tookMs < 6_000, `${what} took ${tookMs} ms`);
  };
  for (const ack of ["all", "applied"] as const) {
    const options = { ack, ackTimeoutMs: 300 };
    const how = `missing ${ack}`;
    await inTime("a statement", () => db.execute(insert(how), options));
    await inTime("a batch", () => db.batch([insert(how), insert(how)], options));
    await inTime("a transaction", () => db.transaction((tx) => tx.execute(insert(how)), options));
    // It is committed by the rule, whatever the copies: it is there, and once.
    assert.equal(await count(how), 4);
  }
  for (const ack of ["one", "quorum"] as const) {
    assert.equal((await db.execute(insert("two of three"), { ack })).acked, ack);
  }
  assert.equal(await count("two of three"), 2);

  // The caller's own patience ends sooner: it may have happened as well.
  const signal = AbortSignal.timeout(1_000);
  const impatient = db.execute(insert("impatient"), { ack: "all", ackTimeoutMs: 20_000, signal });
  await assert.rejects(impatient, UnknownOutcomeError);
  assert.equal(await count("impatient"), 1);

  // Through a router the same, and it says what a write has.
  const router = await startRouter(cluster.urls);
  t.after(() => router.stop());
  const routed = await fetch(`${router.url}/v2/pipeline`, {
    method: "POST",
    headers: { "paceline-ack": "quorum" },
    body: JSON.stringify({
      requests: [{ type: "execute", stmt: { sql: "INSERT INTO t(how) VALUES ('routed')" } }],
    }),
  });
  next++;
  assert.equal(routed.headers.get("paceline-acked"), "quorum");

  // Set to degrade, success says how little it is.
  await configure("whenCopiesMissing=degrade");
  const weak = await db.execute(insert("degraded"), { ack: "all", ackTimeoutMs: 300 });
  assert.equal(weak.acked, "leader");
  await configure("whenCopiesMissing=wait");

  // Who waits long enough gets it.
  const patient = db.execute(insert("patient"), { ack: "applied", ackTimeoutMs: 30_000 });
  cluster.restart(away);
  assert.equal((await patient).acked, "applied");
  await cluster.settled();
});
