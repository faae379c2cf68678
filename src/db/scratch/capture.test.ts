/** Capture against SQLite itself: what is read back is what was committed, and our byte formats are SQLite's. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { temporaryDirectory } from "../../../test/db/leader.ts";
import { CorruptionError } from "../../base/errors.ts";
import { pageHash } from "../../base/hash.ts";
import type { Pgno } from "../../vocabulary.ts";
import { decodeWalHeader, frameBytes, walHeaderBytes } from "../../wal/format.ts";
import { FrameEncoder } from "../../wal/frame-encoder.ts";
import { IndexBlock } from "../../wal/index-block.ts";
import type { PageSet } from "../../wal/page-set.ts";
import * as index from "../../wal/wal-index.ts";
import { WalReader } from "../../wal/wal-reader.ts";
import { Descriptors } from "../served/descriptors.ts";
import { Capture } from "./capture.ts";

function openScratch(dir: string): { connection: DatabaseSync; path: string } {
  const path = join(dir, "scratch.sqlite");
  const connection = new DatabaseSync(path);
  connection.exec("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
  connection.exec("PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB)");
  return { connection, path };
}

/** Puts sets together to a file, as a copy would. */
class Image {
  pages = new Map<number, Uint8Array>();

  apply(set: PageSet): void {
    for (let i = 0; i < set.pgnos.length; i++) {
      const page = set.pages.subarray(i * 4096, (i + 1) * 4096);
      const hash = pageHash(set.pgnos[i] as Pgno, page);
      assert.deepEqual(hash, { high: set.hashes[2 * i], low: set.hashes[2 * i + 1] });
      assert.ok(i === 0 || set.pgnos[i]! > set.pgnos[i - 1]!);
      this.pages.set(set.pgnos[i]!, page);
    }
    for (const pgno of this.pages.keys()) if (pgno > set.pageCount) this.pages.delete(pgno);
    assert.equal(this.pages.size, set.pageCount);
  }

  bytes(): Buffer {
    const pgnos = [...this.pages.keys()].sort((a, b) => a - b);
    return Buffer.concat(pgnos.map((pgno) => this.pages.get(pgno)!));
  }
}

test("captured sets put together are the file: commits, rollbacks, spills, shrinking", () => {
  using dir = temporaryDirectory();
  const path = join(dir.path, "scratch.sqlite");
  const connection = new DatabaseSync(path);
  connection.exec("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA cache_size = 20");
  connection.exec("PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF; BEGIN; COMMIT");
  connection.prepare("SELECT * FROM sqlite_schema").all();
  const capture = Capture.open(path, 4096);
  const image = new Image();
  const step = (sql: string): void => {
    connection.exec(sql);
    const set = capture.capture();
    if (set !== undefined) image.apply(set);
  };
  const fill = (from: number, to: number, size: number) =>
    `WITH n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${to})
     INSERT OR REPLACE INTO t SELECT i, randomblob(${size}) FROM n;`;
  step("CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB)");
  step(fill(1, 50, 300));
  connection.exec(`BEGIN; ${fill(1, 500, 3000)} ROLLBACK`);
  assert.equal(capture.capture(), undefined, "a rolled back transaction that spilled");
  step(fill(20, 60, 500));
  step(`BEGIN; ${fill(1, 800, 2000)} UPDATE t SET v = randomblob(100) WHERE k % 2; COMMIT`);
  step("DELETE FROM t WHERE k > 10; VACUUM");
  step(`${fill(1, 30, 9000)} DELETE FROM t WHERE k < 20; ${fill(100, 130, 5000)}`);
  step(`BEGIN; ${fill(200, 400, 9000)} DELETE FROM t WHERE k >= 200; COMMIT`);
  step(`VACUUM; ${fill(500, 700, 4000)} DELETE FROM t; VACUUM; ${fill(1, 5, 10)}`);
  step(`BEGIN; ${fill(1, 8500, 3900)} COMMIT`);
  assert.ok(capture.walFrames > 4062 + 4096, "more than two blocks of the index");
  assert.equal(connection.prepare("PRAGMA integrity_check").get()?.["integrity_check"], "ok");
  connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  connection.close();
  assert.ok(image.bytes().equals(readFileSync(path)));
});

test("our frames and index blocks are byte for byte those of SQLite", () => {
  using dir = temporaryDirectory();
  const { connection, path } = openScratch(dir.path);
  connection.exec(`WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
    INSERT INTO t SELECT i, randomblob(3900) FROM n; UPDATE t SET v = randomblob(30)`);
  const files = new Descriptors(path);
  files.open("wal", "r");
  files.open("shm", "r");
  const wal = new Uint8Array(files.size("wal"));
  const shm = new Uint8Array(files.size("shm"));
  files.readNow("wal", wal, 0);
  files.readNow("shm", shm, 0);
  const walHeader = decodeWalHeader(wal)!;
  const header = index.decodeIndexHeaders(shm)!;
  assert.ok(header.mxFrame > 8200);
  assert.deepEqual(index.encodeIndexHeaders(header), shm.slice(0, 96));

  const encoder = new FrameEncoder(4096, 1);
  encoder.continueFrom(walHeader.salts, walHeader.checksum);
  let block = new IndexBlock(0);
  let frame = 0;
  const checkBlock = () => {
    const { at, bytes } = block.takeChanged();
    assert.ok(Buffer.from(bytes).equals(shm.subarray(at, at + bytes.byteLength)), `block ${at}`);
  };
  const reader = new WalReader(4096, walHeader.salts, walHeader.checksum);
  const valid = reader.read(wal.subarray(walHeaderBytes), (pgno, commitPageCount, page) => {
    const at = walHeaderBytes + frame * frameBytes(4096);
    frame++;
    encoder.push(pgno, page, commitPageCount);
    assert.ok(Buffer.from(encoder.take()).equals(wal.subarray(at, at + frameBytes(4096))));
    if (block.isFull()) {
      checkBlock();
      block = new IndexBlock(block.block + 1);
    }
    block.push(pgno);
  });
  checkBlock();
  assert.equal(valid, header.mxFrame);
  assert.deepEqual(reader.checksum(), header.frameChecksum);
  connection.close();
});

test("a WAL that was changed under us is corruption", () => {
  using dir = temporaryDirectory();
  const { connection, path } = openScratch(dir.path);
  const capture = Capture.open(path, 4096);
  const files = new Descriptors(path);
  files.open("wal", "r+");
  connection.exec("INSERT INTO t VALUES (1, randomblob(3000))");
  files.writeNow("wal", Uint8Array.of(1, 2, 3, 4), files.size("wal") - 1000);
  assert.throws(() => capture.capture(), CorruptionError);
  connection.close();
});

test("a scratch WAL that was checkpointed and restarted is corruption", () => {
  using dir = temporaryDirectory();
  const { connection, path } = openScratch(dir.path);
  const capture = Capture.open(path, 4096);
  connection.exec("PRAGMA wal_checkpoint(RESTART)");
  connection.exec("INSERT INTO t VALUES (1, randomblob(30000))");
  assert.throws(() => capture.capture(), CorruptionError);
  connection.close();
});
