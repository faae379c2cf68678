/**
 * Fuzzing of what says which rows changed: sections of an entry, recorded transactions, SQLite's changesets (made by
 * SQLite itself), and the label of a backup.
 */

import { DatabaseSync } from "node:sqlite";
import { crc32 } from "node:zlib";
import { type BackupLabel, decodeTail, encodeTrailer } from "../../../src/archive/backup-file.ts";
import { CorruptionError } from "../../../src/base/errors.ts";
import { formatHash } from "../../../src/base/hash.ts";
import type { Prng } from "../../../src/base/prng.ts";
import { decodeChangeset } from "../../../src/changes/changeset.ts";
import { encodeChangeset } from "../../../src/changes/encode-changeset.ts";
import type { RecordedTransaction, Step } from "../../../src/changes/steps.ts";
import { decodeTransactions, encodeTransactions } from "../../../src/changes/steps-codec.ts";
import type { SqlValue } from "../../../src/changes/values.ts";
import { encodePages } from "../../../src/payload/pages.ts";
import { joinSections, type Sections, sectionsOf } from "../../../src/payload/sections.ts";
import { makeChain, makeHash, makeText } from "../make.ts";
import { makeMembership } from "../make-entries.ts";
import { pick, randomBytes } from "../mutate.ts";
import { codecTarget, encoded, type Target } from "../target.ts";

function makeSqlValue(prng: Prng): SqlValue {
  return pick<SqlValue>(
    [
      null,
      BigInt.asIntN(64, (BigInt(prng.u32()) << 32n) | BigInt(prng.u32())),
      pick([0.5, -0, 1e300, 5e-324], prng),
      makeText(prng),
      randomBytes(prng.integer(0, 20), prng),
    ],
    prng,
  );
}

function list<T>(prng: Prng, max: number, make: () => T): T[] {
  return Array.from({ length: prng.integer(0, max) }, make);
}

const sections = codecTarget<Sections>({
  name: "sections",
  errors: [CorruptionError],
  sample: (prng) => {
    const pgnos = new Uint32Array([1]);
    const content = { pgnos, pages: randomBytes(512, prng), hashes: new Uint32Array(2) };
    const pages = encodePages({ pageSize: 512, pageCount: 3, ...content }, 5, false);
    const logKind = pick(["pages", "rows", "statements"] as const, prng);
    const value = {
      logKind,
      committedAtMs: prng.u32(),
      pages: logKind === "pages" || prng.chance(0.3) ? pages : undefined,
      changes: randomBytes(prng.integer(0, 60), prng),
      statements: logKind === "statements" ? randomBytes(prng.integer(0, 60), prng) : undefined,
    };
    return { bytes: joinSections(value), value };
  },
  encode: joinSections,
  decode: sectionsOf,
  mend: (bytes) => {
    const end = 16 + 12 * (bytes[3] ?? 0);
    if (bytes[0] !== 2 || bytes.byteLength < end) return;
    const crc = crc32(bytes.subarray(8, end), crc32(bytes.subarray(0, 4)));
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(4, crc);
  },
});

const transactions = codecTarget({
  name: "recorded transactions",
  errors: [CorruptionError],
  sample: encoded(
    (prng): RecordedTransaction[] =>
      list(prng, 3, () => ({ steps: list(prng, 4, () => makeStep(prng)) })),
    encodeTransactions,
  ),
  encode: encodeTransactions,
  decode: decodeTransactions,
});

function makeStep(prng: Prng): Step {
  const value = () => makeSqlValue(prng);
  const statement = {
    sql: makeText(prng),
    args: list(prng, 4, value),
    namedArgs: list(prng, 3, () => ({ name: makeText(prng), value: value() })),
    foreignKeys: prng.chance(0.5),
    failed: prng.chance(0.5),
    isUnsure: prng.chance(0.5),
    captured: list(prng, 3, value),
    lastRowid: prng.chance(0.5) ? BigInt(prng.u32()) : undefined,
  };
  const columns = list(prng, 4, () => makeText(prng));
  return pick<Step>(
    [
      { type: "table", table: makeText(prng), columns },
      { type: "changeset", bytes: randomBytes(prng.integer(0, 900), prng) },
      { type: "statement", statement, why: makeText(prng) },
      { type: "sequence", table: makeText(prng), value: BigInt(prng.u32()) },
    ],
    prng,
  );
}

const samples: Uint8Array[] = [];

/** Changesets and patchsets of a session of SQLite's. */
function makeSamples(): void {
  const db = new DatabaseSync(":memory:");
  db.exec(
    "CREATE TABLE t(a PRIMARY KEY, b, c); CREATE TABLE u(x, y, PRIMARY KEY(y, x)) WITHOUT ROWID",
  );
  db.exec(
    "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT OR REPLACE INTO u VALUES(new.a, 'g'); END",
  );
  const scripts = [
    "INSERT INTO t VALUES(1, 'x', x'00ff'), (2.5, NULL, -7), ('k', '', 9e99)",
    "UPDATE t SET b = c, c = 9223372036854775807 WHERE a <> 1; UPDATE t SET a = 8 WHERE a = 1",
    "DELETE FROM u WHERE x = 'k'; INSERT INTO u VALUES(randomblob(300), 1); UPDATE t SET b = zeroblob(200)",
    "DELETE FROM t; DELETE FROM u",
  ];
  for (const script of scripts) {
    const session = db.createSession();
    db.exec(script);
    samples.push(session.changeset(), session.patchset());
    session.close();
  }
  db.close();
}

const changeset = codecTarget({
  name: "changeset",
  errors: [CorruptionError],
  sample: (prng) => {
    if (samples.length === 0) makeSamples();
    const bytes = pick(samples, prng);
    return { bytes, value: decodeChangeset(bytes) };
  },
  // Tables without changes are left out when they are written.
  decode: (bytes) => decodeChangeset(bytes).filter(({ changes }) => changes.length > 0),
  encode: encodeChangeset,
});

const label = codecTarget<BackupLabel>({
  name: "backup label",
  errors: [CorruptionError],
  sample: encoded((prng) => {
    return {
      format: 1,
      ...{ clusterId: makeText(prng), takenAt: "2026-01-01T00:00:00Z", takenFrom: "h:1" },
      ...{ lsn: prng.integer(1, 99), term: prng.integer(1, 99), chain: makeChain(prng) },
      ...{ pageSize: pick([512, 4096], prng), pageCount: prng.integer(1, 99) },
      ...{ checksum: formatHash(makeHash(prng)), membership: makeMembership(prng) },
    };
  }, encodeTrailer),
  encode: encodeTrailer,
  decode: (bytes) => decodeTail(bytes, "backup"),
  mend: (bytes) => {
    const at = bytes.byteLength - 20;
    if (at < 0) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = Math.min(at, view.getUint32(at + 12));
    view.setUint32(at + 16, crc32(bytes.subarray(at - length, at)));
  },
});

export const changeTargets: readonly Target[] = [sections, transactions, changeset, label];
