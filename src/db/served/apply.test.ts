/** Pages of a leader applied to a served database: the same bytes, the same table, nothing half done. */

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { Batch } from "../../../test/db/leader.ts";
import {
  genesis,
  Leader,
  openBank,
  temporaryDirectory,
  transfer,
} from "../../../test/db/leader.ts";
import { CorruptionError } from "../../base/errors.ts";
import { formatHash, pageHash, xorHash, zeroHash } from "../../base/hash.ts";
import { Prng } from "../../base/prng.ts";
import type { Pgno } from "../../vocabulary.ts";
import { Served } from "./served.ts";

/** Checksum of a database file as it lies on disk. */
function fileChecksum(path: string): string {
  const bytes = readFileSync(path);
  let sum = zeroHash;
  for (let at = 0; at < bytes.byteLength; at += 4096) {
    sum = xorHash(sum, pageHash((at / 4096 + 1) as Pgno, bytes.subarray(at, at + 4096)));
  }
  return formatHash(sum);
}

/** Random schemas and transactions, with everything that moves pages about. */
function randomWork(leader: Leader, prng: Prng): Batch {
  const names = ["alpha", "beta", "gamma"];
  const name = names[prng.integer(0, 3)]!;
  if (prng.chance(0.08)) return leader.vacuum();
  return leader.commit((c) => {
    c.exec(`CREATE TABLE IF NOT EXISTS ${name}(k INTEGER PRIMARY KEY, v BLOB, t TEXT)`);
    if (prng.chance(0.1)) c.exec(`CREATE INDEX IF NOT EXISTS ${name}_t ON ${name}(t)`);
    const insert = c.prepare(`INSERT OR REPLACE INTO ${name} VALUES (?, randomblob(?), ?)`);
    const count = prng.integer(1, 60);
    for (let i = 0; i < count; i++) {
      const size = prng.chance(0.1) ? prng.integer(4000, 50_000) : prng.integer(0, 300);
      insert.run(prng.integer(1, 500), size, `t${prng.u32()}`);
    }
    if (prng.chance(0.3)) c.exec(`DELETE FROM ${name} WHERE k % 3 = ${prng.integer(0, 3)}`);
    if (prng.chance(0.08)) c.exec(`DROP TABLE ${name}`);
  });
}

for (const seed of [1, 2, 3]) {
  test(`random transactions leave the same file as on the leader, seed ${seed}`, async () => {
    using dir = temporaryDirectory();
    const image = genesis(dir.path);
    const leader = await Leader.start(join(dir.path, "leader"), image);
    const follower = join(dir.path, "follower");
    await Served.create(follower, image);
    let served = await Served.open(follower);
    const prng = new Prng(seed);
    for (let i = 0; i < 120; i++) {
      const batch = randomWork(leader, prng);
      await served.apply(batch.set, batch.position, batch.checksum);
      if (i % 11 === 5) await served.checkpoint("passive");
      if (i % 37 === 20) assert.equal((await served.checkpoint("truncate")).complete, true);
      if (i % 17 === 9) assert.equal((await served.checkpoint("restart")).complete, true);
      if (i % 50 === 30) {
        const before = served.checksum();
        await served.close();
        served = await Served.open(follower);
        assert.deepEqual(served.checksum(), before);
        assert.deepEqual(served.position(), batch.position);
      }
    }
    assert.deepEqual((await served.scrub()).damaged, []);
    const checksum = formatHash(served.checksum());
    const pageCount = served.pageCount;
    assert.deepEqual(await served.checkpoint("restart"), { complete: true, frames: 0 });
    assert.deepEqual(await served.checkpoint("truncate"), { complete: true, frames: 0 });
    assert.equal(statSync(`${served.path}-wal`).size, 0);
    await served.close();
    leader.connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    leader.connection.close();

    const path = join(follower, "db", "main.sqlite");
    assert.equal(readFileSync(path).byteLength, pageCount * 4096);
    assert.equal(fileChecksum(path), checksum);
    const check = new DatabaseSync(path, { readOnly: true });
    assert.deepEqual(
      { ...check.prepare("PRAGMA integrity_check").get() },
      { integrity_check: "ok" },
    );
    check.close();
    const ours = readFileSync(path);
    const theirs = readFileSync(join(dir.path, "leader", "db", "main.sqlite"));
    assert.ok(ours.equals(theirs), "files differ");
  });
}

test("a wrong page or a wrong checksum publishes nothing, and the next apply goes through", async () => {
  using dir = temporaryDirectory();
  const image = genesis(dir.path);
  const leader = await Leader.start(join(dir.path, "leader"), image);
  const follower = join(dir.path, "follower");
  await Served.create(follower, image);
  const served = await Served.open(follower);
  const first = leader.commit((c) => openBank(c, 3000));
  await served.apply(first.set, first.position, first.checksum);
  const second = leader.commit((c) => transfer(c, new Prng(1), 3000));
  const before = served.checksum();

  await assert.rejects(served.apply(second.set, second.position, zeroHash), CorruptionError);
  const pages = second.set.pages.slice();
  pages[pages.length - 1]! ^= 1;
  const bad = { ...second.set, pages };
  await assert.rejects(served.apply(bad, second.position, second.checksum), CorruptionError);
  assert.deepEqual(served.checksum(), before);
  assert.deepEqual(served.position(), first.position);

  // A large change that fails in its last slice leaves frames and index entries behind; they must not matter.
  const third = leader.commit((c) => c.exec("UPDATE account SET pad = randomblob(2000)"));
  assert.ok(third.set.pgnos.length > 1000);
  const broken = { ...third.set, pages: third.set.pages.slice() };
  broken.pages[broken.pages.length - 1]! ^= 1;
  const merged = await served
    .apply(second.set, second.position, second.checksum)
    .then(() => served.apply(broken, third.position, third.checksum))
    .catch((error: unknown) => error);
  assert.ok(merged instanceof CorruptionError);
  await served.apply(third.set, third.position, third.checksum);
  assert.deepEqual((await served.scrub()).damaged, []);
  const reader = new DatabaseSync(served.path, { readOnly: true });
  assert.deepEqual(
    { ...reader.prepare("PRAGMA integrity_check").get() },
    { integrity_check: "ok" },
  );
  reader.close();
  leader.connection.close();
  await served.close();
});

test("a long reader keeps the WAL, and the checkpoint says so", async () => {
  using dir = temporaryDirectory();
  const image = genesis(dir.path);
  const leader = await Leader.start(join(dir.path, "leader"), image);
  const follower = join(dir.path, "follower");
  await Served.create(follower, image);
  const served = await Served.open(follower);
  const first = leader.commit((c) => openBank(c, 50));
  await served.apply(first.set, first.position, first.checksum);
  const reader = new DatabaseSync(served.path, { readOnly: true });
  reader.exec("BEGIN");
  assert.equal(reader.prepare("SELECT sum(balance) AS s FROM account").get()?.["s"], 5000);
  const second = leader.commit((c) => c.exec("UPDATE account SET balance = 1"));
  await served.apply(second.set, second.position, second.checksum);
  assert.equal((await served.checkpoint("truncate")).complete, false);
  assert.ok(served.walFrames > 0);
  assert.equal(reader.prepare("SELECT sum(balance) AS s FROM account").get()?.["s"], 5000);
  reader.exec("COMMIT");
  assert.equal(reader.prepare("SELECT sum(balance) AS s FROM account").get()?.["s"], 50);
  assert.equal((await served.checkpoint("truncate")).complete, true);
  assert.deepEqual(served.durablePosition(), second.position);
  assert.equal(reader.prepare("SELECT sum(balance) AS s FROM account").get()?.["s"], 50);
  reader.close();
  leader.connection.close();
  await served.close();
});

test("readPages gives what was applied while applies and checkpoints go on", async () => {
  using dir = temporaryDirectory();
  const image = genesis(dir.path);
  const leader = await Leader.start(join(dir.path, "leader"), image);
  const follower = join(dir.path, "follower");
  await Served.create(follower, image);
  const served = await Served.open(follower);
  const prng = new Prng(5);
  const first = leader.commit((c) => openBank(c, 200));
  await served.apply(first.set, first.position, first.checksum);
  const everything = Array.from({ length: 120 }, (_, i) => (i + 1) as Pgno);
  let changed = 0;
  served.onPagesChanged((pgnos) => {
    changed += pgnos.length;
  });
  for (let i = 0; i < 60; i++) {
    const batch = leader.commit((c) => transfer(c, prng, 200));
    const reading = served.readPages(everything);
    const applying = served.apply(batch.set, batch.position, batch.checksum);
    const emptying = i % 4 === 0 ? served.checkpoint("truncate") : undefined;
    const read = await reading;
    for (let k = 0; k < read.pgnos.length; k++) {
      const page = read.pages.subarray(k * 4096, (k + 1) * 4096);
      const hash = pageHash(read.pgnos[k] as Pgno, page);
      assert.deepEqual(hash, { high: read.hashes[2 * k], low: read.hashes[2 * k + 1] });
    }
    await applying;
    await emptying;
  }
  assert.ok(changed > 60);
  leader.connection.close();
  await served.close();
});
