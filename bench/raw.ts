/**
 * The raw limits of this machine, measured in the same run as our own figures: what one process gets from SQLite and
 * from the disk with nothing in between.
 */

import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

export type RawFigures = {
  /** Single-row INSERT transactions per second, WAL, synchronous=FULL, one connection. */
  readonly insertsPerSecond: number;
  /** The same with 64 rows per transaction, in rows. */
  readonly groupedInsertsPerSecond: number;
  /** Point SELECTs per second, prepared. */
  readonly readsPerSecond: number;
  /** Mean of write(4 KiB) + fdatasync. */
  readonly syncMs: number;
};

export function rawFigures(dir: string, seconds: number): RawFigures {
  const db = new DatabaseSync(join(dir, "raw.sqlite"));
  db.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
  db.exec(
    "CREATE TABLE bench (id INTEGER PRIMARY KEY, k TEXT, v TEXT); CREATE INDEX k ON bench (k)",
  );
  const insert = db.prepare("INSERT INTO bench (k, v) VALUES (?, ?)");
  const one = () => insert.run(`key-${Math.random()}`, "x".repeat(100));
  const insertsPerSecond = rate(seconds, 1, one);
  const groupedInsertsPerSecond = rate(seconds, 64, () => {
    db.exec("BEGIN");
    for (let i = 0; i < 64; i++) one();
    db.exec("COMMIT");
  });
  const select = db.prepare("SELECT k, v FROM bench WHERE id = ?");
  const rows = Number(db.prepare("SELECT max(id) AS n FROM bench").get()!["n"]);
  const readsPerSecond = rate(seconds, 1, () => select.get(1 + Math.floor(Math.random() * rows)));
  db.close();
  return { insertsPerSecond, groupedInsertsPerSecond, readsPerSecond, syncMs: syncMs(dir) };
}

function rate(seconds: number, each: number, work: () => void): number {
  const endMs = performance.now() + seconds * 1_000;
  const startMs = performance.now();
  let count = 0;
  while (performance.now() < endMs) {
    work();
    count += each;
  }
  return (count * 1_000) / (performance.now() - startMs);
}

function syncMs(dir: string): number {
  const fd = openSync(join(dir, "sync.bin"), "w");
  const block = Buffer.alloc(4096, 1);
  const startMs = performance.now();
  const times = 300;
  for (let i = 0; i < times; i++) {
    writeSync(fd, block, 0, block.length, i * block.length);
    fdatasyncSync(fd);
  }
  closeSync(fd);
  return (performance.now() - startMs) / times;
}
