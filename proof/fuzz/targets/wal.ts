/**
 * Fuzzing of src/wal: headers of the WAL and of its index, and walking over frames, held against a second reader that
 * is written from SQLite's description alone and against SQLite itself.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Prng } from "../../../src/base/prng.ts";
import type { WalChecksum } from "../../../src/wal/checksum.ts";
import { decodeWalHeader, encodeWalHeader, walHeaderBytes } from "../../../src/wal/format.ts";
import { FrameEncoder } from "../../../src/wal/frame-encoder.ts";
import { decodeIndexHeaders, encodeIndexHeaders } from "../../../src/wal/wal-index.ts";
import { WalReader } from "../../../src/wal/wal-reader.ts";
import { mutateBytes, pick, randomBytes } from "../mutate.ts";
import { demandSame, probe } from "../rules.ts";
import { codecTarget, encoded, type Outcome, type Target } from "../target.ts";

const pageSizes = [512, 1024, 4096, 65_536];
const framesMax = 6;

const header = codecTarget({
  name: "WAL header",
  errors: [],
  sample: (prng) => {
    const { bytes, header: value } = encodeWalHeader({
      pageSize: pick(pageSizes, prng),
      checkpointSequence: prng.u32(),
      salts: { salt1: prng.u32(), salt2: prng.u32() },
    });
    return { bytes, value };
  },
  encode: (value) => encodeWalHeader(value).bytes,
  decode: decodeWalHeader,
  mend: (bytes) => {
    if (bytes.byteLength >= walHeaderBytes) writeSums(bytes, 24, sumOf(bytes, 0, 24, zero));
  },
});

const index = codecTarget({
  name: "wal-index header",
  errors: [],
  sample: encoded((prng) => {
    return {
      change: prng.u32(),
      pageSize: prng.chance(0.2) ? 0 : pick(pageSizes, prng),
      mxFrame: prng.u32(),
      pageCount: prng.u32(),
      frameChecksum: { s1: prng.u32(), s2: prng.u32() },
      salts: { salt1: prng.u32(), salt2: prng.u32() },
    };
  }, encodeIndexHeaders),
  encode: encodeIndexHeaders,
  decode: decodeIndexHeaders,
  mend: (bytes) => {
    if (bytes.byteLength < 96) return;
    const { s1, s2 } = sumOf(bytes, 0, 40, zero);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    view.setUint32(40, s1, true);
    view.setUint32(44, s2, true);
    bytes.copyWithin(48, 0, 48);
  },
});

const zero: Readonly<WalChecksum> = { s1: 0, s2: 0 };

/** The second reader's checksum: words one by one, in plain arithmetic. */
function sumOf(bytes: Uint8Array, from: number, to: number, start: Readonly<WalChecksum>) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let { s1, s2 } = start;
  for (let at = from; at < to; at += 8) {
    s1 = (s1 + view.getUint32(at, true) + s2) % 2 ** 32;
    s2 = (s2 + view.getUint32(at + 4, true) + s1) % 2 ** 32;
  }
  return { s1, s2 };
}

function writeSums(bytes: Uint8Array, at: number, { s1, s2 }: WalChecksum): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(at, s1);
  view.setUint32(at + 4, s2);
}

type Frames = { readonly frames: readonly string[]; readonly committed: number };

/** The second reader. */
function framesByRule(wal: Uint8Array): Frames {
  const frames: string[] = [];
  let committed = 0;
  if (wal.byteLength < 32) return { frames, committed };
  const view = new DataView(wal.buffer, wal.byteOffset, wal.byteLength);
  const pageSize = view.getUint32(8);
  let sum = sumOf(wal, 0, 24, zero);
  const known = view.getUint32(0) === 0x377f0682 && view.getUint32(4) === 3_007_000;
  const isSize = pageSize >= 512 && pageSize <= 65_536 && Number.isInteger(Math.log2(pageSize));
  if (!known || !isSize || view.getUint32(24) !== sum.s1 || view.getUint32(28) !== sum.s2)
    return { frames, committed };
  for (let at = 32; at + 24 + pageSize <= wal.byteLength; at += 24 + pageSize) {
    const pgno = view.getUint32(at);
    sum = sumOf(wal, at + 24, at + 24 + pageSize, sumOf(wal, at, at + 8, sum));
    const salted = [8, 12].every((o) => view.getUint32(at + o) === view.getUint32(o + 8));
    if (pgno === 0 || !salted) break;
    if (view.getUint32(at + 16) !== sum.s1 || view.getUint32(at + 20) !== sum.s2) break;
    frames.push(`${pgno} ${view.getUint32(at + 4)}`);
    if (view.getUint32(at + 4) !== 0) committed = frames.length;
  }
  return { frames, committed };
}

/** Ours, fed in chunks of whole frames that need not be aligned in memory. */
function framesByUs(wal: Uint8Array, prng: Prng): Frames {
  const frames: string[] = [];
  let committed = 0;
  const found = decodeWalHeader(wal);
  if (found === undefined) return { frames, committed };
  const { pageSize } = found;
  const reader = new WalReader(pageSize, found.salts, found.checksum);
  const size = 24 + pageSize;
  for (let at = walHeaderBytes; at < wal.byteLength; ) {
    const to = at + size * prng.integer(1, 4);
    const shifted = new Uint8Array(Math.min(to, wal.byteLength) - at + 3);
    const shift = prng.integer(0, 4);
    const chunk = shifted.subarray(shift, shift + shifted.byteLength - 3);
    chunk.set(wal.subarray(at, to));
    const count = reader.read(chunk, (pgno, commit) => {
      frames.push(`${pgno} ${commit}`);
      if (commit !== 0) committed = frames.length;
    });
    if (count * size < to - at) break;
    at = to;
  }
  return { frames, committed };
}

function makeWal(prng: Prng): Uint8Array {
  const pageSize = pick([512, 512, 1024], prng);
  const salts = { salt1: prng.u32(), salt2: prng.u32() };
  const start = encodeWalHeader({ pageSize, checkpointSequence: 1, salts });
  const encoder = new FrameEncoder(pageSize, framesMax);
  encoder.continueFrom(salts, start.header.checksum);
  for (let n = prng.integer(0, framesMax + 1); n > 0; n--) {
    encoder.push(prng.integer(1, 9), randomBytes(pageSize, prng), prng.integer(0, 3));
  }
  return new Uint8Array(Buffer.concat([start.bytes, encoder.take()]));
}

function playFrames(prng: Prng): Outcome {
  const good = makeWal(prng);
  const wal = prng.chance(0.1) ? good : mutateBytes(good, makeWal(prng), prng);
  if (prng.chance(0.5)) mendFrames(wal, prng.integer(0, framesMax));
  const found = probe(wal, [], () => framesByUs(wal, prng))!.value;
  demandSame(found, framesByRule(wal), "two readers of a WAL disagree");
  return found.frames.length > 0 ? "accepted" : "refused";
}

/** Makes the checksums of the header and of the first frames right. */
function mendFrames(wal: Uint8Array, frames: number): void {
  if (wal.byteLength < 32) return;
  const pageSize = new DataView(wal.buffer, wal.byteOffset).getUint32(8);
  let sum = sumOf(wal, 0, 24, zero);
  writeSums(wal, 24, sum);
  if (pageSize < 512 || pageSize % 8 !== 0) return;
  for (let n = 0, at = 32; n < frames && at + 24 + pageSize <= wal.byteLength; n++) {
    sum = sumOf(wal, at + 24, at + 24 + pageSize, sumOf(wal, at, at + 8, sum));
    wal.set(wal.subarray(16, 24), at + 8);
    writeSums(wal, at + 16, sum);
    at += 24 + pageSize;
  }
}

type Real = { readonly main: Uint8Array; readonly wal: Uint8Array };
let real: Real | undefined;

/** A database of SQLite's own making, and its WAL of several transactions. */
function makeReal(dir: string): Real {
  const path = join(dir, "made");
  const db = new DatabaseSync(path);
  db.exec("PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0");
  db.exec("CREATE TABLE t(a)");
  for (let i = 0; i < 6; i++) db.exec(`INSERT INTO t VALUES(zeroblob(${100 * i}))`);
  const main = process.getBuiltinModule("node:fs").readFileSync(path);
  const wal = process.getBuiltinModule("node:fs").readFileSync(`${path}-wal`);
  db.close();
  return { main, wal };
}

/** SQLite recovers as many frames of a spoiled WAL as we would. */
function playSqlite(prng: Prng): Outcome {
  const dir = mkdtempSync(join(tmpdir(), "paceline-fuzz-"));
  try {
    real ??= makeReal(dir);
    const { main } = real;
    const wal = mutateBytes(real.wal, real.wal, prng);
    if (prng.chance(0.5)) mendFrames(wal, prng.integer(0, 20));
    const path = join(dir, "db");
    writeFileSync(path, main);
    writeFileSync(`${path}-wal`, wal);
    const wanted = framesByUs(wal, prng).committed;
    const db = new DatabaseSync(path);
    let found: unknown;
    try {
      found = db.prepare("PRAGMA wal_checkpoint(NOOP)").get()?.["log"];
    } catch {
      // A WAL that is whole and holds pages that are no database: not ours to judge.
      return "refused";
    } finally {
      db.close();
    }
    demandSame(Math.max(0, Number(found)), wanted, "SQLite recovers another number of frames");
    return wanted > 0 ? "accepted" : "refused";
  } finally {
    rmSync(dir, { recursive: true });
  }
}

export const walTargets: readonly Target[] = [
  header,
  index,
  { name: "WAL frames", weight: 0.5, play: playFrames },
  { name: "WAL frames, SQLite", weight: 0.02, play: playSqlite },
];
