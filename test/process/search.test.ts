/**
 * Full text search on connections that live long. FTS5 keeps the structure of its index per connection and looks
 * at the data version to learn that another connection has changed it; our frames must move that version like any
 * commit, or a follower would search in segments that are gone.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { TestCluster } from "./cluster.ts";
import { rowsOf } from "./sql.ts";

const rounds = 15;
const searches = ["w5", "w5 OR w77", "w1*", '"w10 w17"', "body : w300 NOT w5"];

/** Twenty words that say which row they are of. */
function bodyOf(n: number): string {
  return Array.from({ length: 20 }, (_, i) => `w${(n * 31 + i * 7) % 997}`).join(" ");
}

/** Changes of every kind; merges happen by themselves, and all at once by optimize. */
async function change(url: string, round: number): Promise<void> {
  const bodies = Array.from({ length: 20 }, (_, i) => bodyOf(round * 20 + i));
  const values = bodies.map((body) => `('${body}')`).join(",");
  await rowsOf(url, `INSERT INTO f(body) VALUES ${values}`);
  await rowsOf(url, "UPDATE f SET body = body || ' w5' WHERE rowid % 50 = ?", [round]);
  if (round % 5 === 2) await rowsOf(url, "DELETE FROM f WHERE rowid % 11 = ?", [round % 11]);
  if (round % 7 === 3) await rowsOf(url, "INSERT INTO f(f) VALUES('optimize')");
  if (round % 13 === 5) await rowsOf(url, "INSERT INTO f(f) VALUES('rebuild')");
}

test("readers that live long search what is there, and report no damage that is none", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await TestCluster.start();
  t.after(() => cluster.stop());
  const url = cluster.url(await cluster.leader());
  await rowsOf(url, "CREATE VIRTUAL TABLE f USING fts5(body)");
  const found = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    await change(url, round);
    await cluster.settled();
    for (const node of cluster.nodes) {
      const here = cluster.url(node.id);
      // A stock connection that has seen nothing before.
      const fresh = new DatabaseSync(join(node.dir, "db/main.sqlite"), { readOnly: true });
      const at = `round ${round}, ${node.id}`;
      // First the checks: a search would make the connection look at the index anew.
      for (const pragma of ["PRAGMA integrity_check", "PRAGMA main.quick_check(5)"]) {
        const [answer] = Object.values(fresh.prepare(pragma).get()!);
        assert.equal(answer, "ok", `${at}: fresh`);
        const ask = () => rowsOf(here, pragma, [], { headers: stale });
        for (const rows of await Promise.all([ask(), ask(), ask()])) {
          assert.deepEqual(rows, [["ok"]], `${at}: ${pragma}`);
        }
      }
      for (const search of searches) {
        const sql = "SELECT rowid FROM f WHERE f MATCH ? ORDER BY rank, rowid";
        const expected = fresh
          .prepare(sql)
          .all(search)
          .map((row) => row["rowid"]);
        // Several at once reach several reader processes.
        const ask = () => rowsOf(here, sql, [search], { headers: stale });
        for (const rows of await Promise.all([ask(), ask(), ask()])) {
          assert.deepEqual(rows.flat(), expected, `${at}: ${search}`);
        }
        if (expected.length > 0) found.add(search);
      }
      fresh.close();
    }
  }
  assert.equal(found.size, searches.length, "every search found something at some time");
});

const stale = { "paceline-consistency": "stale" };
