/** Answers of any size, from any node: cursors stream. Real processes. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { createClient } from "@libsql/client";
import { linesOf } from "../../src/base/lines.ts";
import { connect } from "../../src/client/connect.ts";
import { sleep, TestCluster } from "./cluster.ts";
import { startRouter, type TestRouter } from "./routers.ts";
import { rowsOf } from "./sql.ts";

const numbersTo = (count: number) =>
  `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) `;
const numbers = numbersTo(200_000);
/** Some pieces of a cursor. */
const some = `${numbersTo(20_000)} SELECT i, 'x' AS text FROM n`;
/** 200,000 rows: 16 MB as JSON. */
const many = `${numbers} SELECT i, 'x' AS text FROM n`;
/** 75 MB as JSON. */
const wide = `${numbers} SELECT i, printf('%.300c', 'x') AS text FROM n`;
/** Rows that are not worth more than to be counted need not be parsed. */
const rowStart = '{"type":"row"';

type Entry = {
  type: string;
  error?: { code: string; message: string };
  baton?: string;
};

async function openCursor(url: string, sql: string, more: object = {}, init: RequestInit = {}) {
  const body = JSON.stringify({ ...more, batch: { steps: [{ stmt: { sql } }] } });
  const response = await fetch(`${url}/v3/cursor`, { method: "POST", body, ...init });
  assert.equal(response.status, 200);
  return response;
}

async function counted(url: string, sql: string, more: object = {}) {
  let rows = 0;
  let last: Entry | undefined;
  let baton: string | undefined;
  const { body } = await openCursor(url, sql, more);
  for await (const line of linesOf(body as unknown as AsyncIterable<Uint8Array>)) {
    if (line.startsWith(rowStart)) {
      rows++;
      continue;
    }
    last = JSON.parse(line) as Entry;
    baton ??= last.baton;
  }
  return { rows, last: last!, baton };
}

const residentOf = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;

describe("cursors", { timeout: 120_000 }, () => {
  let cluster: TestCluster;
  let router: TestRouter;
  before(async () => {
    cluster = await TestCluster.start({ nodes: 3, witnesses: 1 });
    router = await startRouter(cluster.urls);
  });
  after(async () => {
    await router.stop();
    await cluster.stop();
  });

  test("200,000 rows pass through a data node, a witness and a router", async () => {
    for (const url of [cluster.url("a"), cluster.url("c"), router.url]) {
      const { rows, last } = await counted(url, many);
      assert.deepEqual([rows, last.type], [200_000, "step_end"], url);
    }
  });

  test("a slow client costs no memory, and holds nobody up", async () => {
    const url = cluster.url("b");
    const pid = cluster.pid("b");
    const before = residentOf(pid);
    let most = before;
    let chunks = 0;
    const response = await openCursor(url, wide);
    for await (const _ of response.body as unknown as AsyncIterable<Uint8Array>) {
      if (++chunks % 50 !== 0) continue;
      most = Math.max(most, residentOf(pid));
      if (chunks <= 500) await sleep(100);
    }
    assert.ok(most - before < 60, `from ${before} to ${most} MiB for an answer of 75 MB`);
  });

  test("a client that goes away gives its reader back", async () => {
    for (let i = 0; i < 8; i++) {
      const abort = new AbortController();
      const { signal } = abort;
      const response = await openCursor(cluster.url("a"), wide, {}, { signal });
      await response.body!.getReader().read();
      abort.abort();
    }
    assert.equal((await counted(cluster.url("a"), some)).rows, 20_000);
  });

  test("what fails in the middle says so at the end", async () => {
    const sql = `${some} UNION ALL SELECT abs(-9223372036854775808), ''`;
    for (const url of [cluster.url("a"), cluster.url("c"), router.url]) {
      const { rows, last } = await counted(url, sql);
      assert.equal(rows, 20_000);
      assert.deepEqual([last.type, last.error?.message], ["step_error", "integer overflow"]);
    }
  });

  test("a cursor in a read transaction reads its moment, and the transaction goes on", async () => {
    const url = cluster.url("a");
    await rowsOf(url, "CREATE TABLE seen (x)");
    const begun = await fetch(`${url}/v3/pipeline`, {
      method: "POST",
      body: JSON.stringify({
        requests: ["BEGIN READONLY", "SELECT count(*) FROM seen"].map((sql) => ({
          type: "execute",
          stmt: { sql },
        })),
      }),
    });
    const { baton } = (await begun.json()) as { baton: string };
    await rowsOf(url, "INSERT INTO seen VALUES (1)");
    const sql = `${some} UNION ALL SELECT x, 'seen' FROM seen`;
    const first = await counted(url, sql, { baton });
    assert.equal(first.rows, 20_000);
    const second = await counted(url, "SELECT * FROM seen", { baton: first.baton });
    assert.equal(second.rows, 0, "the same moment");
    const third = await counted(url, "COMMIT", { baton: second.baton });
    assert.equal(third.last.type, "step_end");
    assert.equal((await counted(url, sql, { baton: third.baton })).rows, 20_001);
  });

  test("the TypeScript client iterates; @libsql/client takes 200,000 rows in one answer", async () => {
    const db = connect({ urls: cluster.urls.slice(0, 2) });
    try {
      let rows = 0;
      for await (const row of db.iterate(many)) {
        if (++rows === 1) assert.deepEqual(row, { i: 1, text: "x" });
      }
      assert.equal(rows, 200_000);
      for await (const row of db.iterate(some)) if (row["i"] === 5) break;
      await assert.rejects(db.iterate("SELECT * FROM nowhere").next(), /no such table: nowhere/);
      await assert.rejects(db.iterate("DELETE FROM seen").next(), /iterate only reads/);
    } finally {
      await db.close();
    }
    const client = createClient({ url: cluster.url("b") });
    const { rows } = await client.execute(many);
    assert.equal(rows.length, 200_000);
    client.close();
  });
});
