/**
 * `paceline discarded`: what an asynchronous failover lost is listed, shown as SQL, and put back; where somebody has
 * written meanwhile, it is reported and left alone.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { newLeader, startMode } from "./modes.ts";
import { execute, rowsOf } from "./sql.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

function discarded(...args: string[]): { status: number | null; text: string } {
  const all = [main, "discarded", ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, all, { encoding: "utf8" });
  return { status, text: stdout + stderr };
}

test("discarded writes are listed, shown, and replayed without guessing", async () => {
  const cluster = await startMode("--commit-rule", "leader");
  try {
    const old = await cluster.leader();
    const oldUrl = cluster.url(old);
    await rowsOf(oldUrl, "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')");
    await cluster.settled();
    await cluster.links.cutAround(old);
    const lost = [
      "INSERT INTO t VALUES (10, 'lost')",
      "UPDATE t SET how = 'changed' WHERE n = 1",
      "UPDATE t SET how = 'changed' WHERE n = 2",
      "DELETE FROM t WHERE n = 3",
    ];
    // On a busy machine the lease may be over before they are answered; in the log they are all the same.
    const answers = await Promise.all(lost.map((sql) => execute(oldUrl, sql)));
    const refused = answers.filter((answer) => answer.type === "failed");
    assert.deepEqual(refused, []);
    await cluster.kill(old);
    const url = cluster.url(await newLeader(cluster, old));
    await rowsOf(url, "UPDATE t SET how = 'meanwhile' WHERE n = 2");
    await cluster.links.heal();
    cluster.restart(old);
    await cluster.settled();
    const now = async () => rowsOf(url, "SELECT n, how FROM t ORDER BY n");
    const before = [
      [1, "one"],
      [2, "meanwhile"],
      [3, "three"],
    ];
    assert.deepEqual(await now(), before);

    // The nodes tell the addresses of the proxy, which lets nobody else in: so the directory is asked.
    const { dir } = cluster.nodes.find((node) => node.id === old)!;
    const list = JSON.parse(discarded("list", "--dir", dir, "--json").text) as { name: string }[];
    assert.equal(list.length, 1);
    const { name } = list[0]!;
    const shown = discarded("show", name, "--dir", dir);
    assert.equal(shown.status, 0, shown.text);
    for (const sql of lost) assert.ok(shown.text.includes(sql), shown.text);
    const answer = await fetch(`${oldUrl}/admin/discarded/${name}`);
    const { statements } = (await answer.json()) as { statements: { sql: string }[] };
    assert.deepEqual(statements.map(({ sql }) => sql).sort(), [...lost].sort());
    const place = ["--url", url, "--dir", dir];
    const first = discarded("replay", name, ...place);
    assert.equal(first.status, 1, first.text);
    assert.match(first.text, /conflict: t n=integer 2 has changed since: how/);
    assert.match(first.text, /1 transactions in conflict, 0 known only as pages; 3 replayed/);
    const after = [
      [1, "changed"],
      [2, "meanwhile"],
      [10, "lost"],
    ];
    assert.deepEqual(await now(), after);
    // Again: what is there is left as it is.
    const again = discarded("replay", name, ...place);
    assert.match(again.text, /0 replayed, 3 already there/);
    assert.deepEqual(await now(), after);
    assert.equal(discarded("show", "9-9", "--dir", dir).status, 1);
    assert.equal(discarded("show", "nonsense", "--dir", dir).status, 2);
    assert.equal((await fetch(`${oldUrl}/admin/discarded/9-9`)).status, 404);
  } finally {
    await cluster.stop();
  }
});
