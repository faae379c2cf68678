/**
 * A database that grows past SQLite's lock page, at 1 GiB: that page is never written, and a copy leaves it out too.
 * The file is sparse up to there.
 */

import assert from "node:assert/strict";
import { closeSync, mkdirSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { type Batch, Leader, temporaryDirectory } from "../../../test/db/leader.ts";
import { limits } from "../../limits.ts";
import { lockPage } from "../../wal/page-size.ts";
import { type DatabaseImage, makeGenesisImage } from "./birth.ts";
import { layoutOf } from "./layout.ts";
import { Served } from "./served.ts";

const pageSize = 65_536;

/** A newborn database that is as long as this many pages; nobody knows what the later ones are for. */
function sparse(dir: string, image: DatabaseImage, pageCount: number): void {
  const { db } = layoutOf(dir);
  mkdirSync(dirname(db), { recursive: true });
  writeFileSync(db, image.pages);
  truncateSync(db, pageCount * pageSize);
  const count = new Uint8Array(4);
  new DataView(count.buffer).setUint32(0, pageCount);
  const fd = openSync(db, "r+");
  // In the header: the size of the database in pages.
  writeSync(fd, count, 0, 4, 28);
  closeSync(fd);
}

test("a copy grows past the lock page, and shrinks to before it", async () => {
  using dir = temporaryDirectory();
  const usual = limits.pageSize;
  Object.assign(limits, { pageSize });
  const image = makeGenesisImage(dir.path);
  Object.assign(limits, { pageSize: usual });
  const [one, two] = [join(dir.path, "leader"), join(dir.path, "copy")];
  for (const place of [one, two]) sparse(place, image, lockPage(pageSize) - 4);
  const leader = await Leader.adopt(one);
  const served = await Served.open(two);
  const take = ({ set, position, checksum }: Batch) => served.apply(set, position, checksum);
  const run = (sql: string) => take(leader.commit((c) => c.exec(sql)));

  await run("CREATE TABLE t(k INTEGER PRIMARY KEY, b BLOB)");
  for (let i = 0; i < 3; i++) await run("INSERT INTO t(b) VALUES (randomblob(200000))");
  assert.ok(served.pageCount > lockPage(pageSize), `${served.pageCount} pages`);
  await served.checkpoint("truncate");
  await run("UPDATE t SET b = randomblob(300000) WHERE k > 1");
  assert.deepEqual((await served.scrub()).damaged, []);
  const reader = new DatabaseSync(served.path, { readOnly: true });
  const rows = (c: DatabaseSync) => c.prepare("SELECT k, hex(b) AS b FROM t").all();
  assert.deepEqual(rows(reader), rows(leader.connection));

  await take(leader.vacuum());
  assert.ok(served.pageCount < 100, `${served.pageCount} pages`);
  await served.checkpoint("truncate");
  assert.deepEqual(rows(reader), rows(leader.connection));
  assert.equal(reader.prepare("PRAGMA integrity_check").get()?.["integrity_check"], "ok");
  reader.close();
  await served.close();
  leader.connection.close();
});
