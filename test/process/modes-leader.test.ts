/**
 * Commit rule leader (asynchronous): the leader answers by its own disk. A failover may lose the last writes; the old
 * leader keeps exactly those, says so, and comes back by page sync.
 */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { sleep, type TestCluster } from "./cluster.ts";
import {
  checkLedger,
  followerOf,
  killTwo,
  Ledger,
  newLeader,
  numbersDiscarded,
  startMode,
} from "./modes.ts";

let cluster: TestCluster;
const ledger = new Ledger();

before(async () => {
  cluster = await startMode("--commit-rule", "leader");
});
after(() => cluster.stop());

test("follower killed: writes go on as before", async () => {
  const follower = await followerOf(cluster);
  await cluster.kill(follower);
  const url = cluster.url(await cluster.leader());
  for (let i = 0; i < 20; i++) assert.equal(await ledger.write(url), "ok");
  cluster.restart(follower);
  assert.deepEqual(await checkLedger(cluster, ledger), []);
});

test("leader cut off and killed: what nobody got is lost, kept in discarded/, and nothing else is", async () => {
  const old = await cluster.leader();
  const url = cluster.url(old);
  await cluster.links.cutAround(old);
  // Within its lease it goes on answering; then it stops.
  const began = performance.now();
  let answered = 0;
  let lastMs = 0;
  while (performance.now() - began < 5_000 && (await ledger.write(url)) === "ok") {
    answered++;
    lastMs = performance.now() - began;
  }
  assert.ok(lastMs < 1_500, `a leader that is cut off answered for ${lastMs} ms`);
  await cluster.kill(old);
  await newLeader(cluster, old);
  for (let i = 0; i < 5; i++)
    assert.equal(await ledger.write(cluster.url(await cluster.leader())), "ok");
  await cluster.links.heal();
  cluster.restart(old);
  const lost = await checkLedger(cluster, ledger);
  assert.ok(answered > 0, "it answered nothing while it had the lease");
  assert.ok(lost.length > 0, "nothing was lost, so nothing was shown");
  const kept = numbersDiscarded(cluster.nodes.find((node) => node.id === old)!.dir);
  for (const n of lost) assert.ok(kept.has(n), `${n} is not in discarded/ of ${old}`);
  const status = await cluster.statusOf(await cluster.leader());
  assert.equal(status?.nodes.find((node) => node.id === old)?.discarded, 1);
  assert.match(cluster.output(old), /the cluster lost \d+ entries of this node/);
  assert.match(cluster.output(old), /page sync from . done .* pages differed/);
});

test("leader partitioned under load, and back: no silent loss", async () => {
  const old = await cluster.leader();
  const load = ledger.run(() => cluster.urls);
  await sleep(500);
  await cluster.links.cutAround(old);
  await newLeader(cluster, old);
  await sleep(1_500);
  await cluster.links.heal();
  await sleep(1_000);
  await load.stop();
  await checkLedger(cluster, ledger);
});

test("leader killed under load, and back: no silent loss", async () => {
  const load = ledger.run(() => cluster.urls);
  await sleep(500);
  const old = await cluster.leader();
  await cluster.kill(old);
  await newLeader(cluster, old);
  await sleep(500);
  cluster.restart(old);
  await sleep(500);
  await load.stop();
  await checkLedger(cluster, ledger);
});

test("leader and a follower killed: nothing is answered meanwhile, no silent loss", async () => {
  await killTwo(cluster, ledger);
});
