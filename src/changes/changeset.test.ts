import assert from "node:assert/strict";
import { constants, DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { CorruptionError } from "../base/errors.ts";
import { Prng } from "../base/prng.ts";
import { decodeChangeset, type TableChanges } from "./changeset.ts";
import { encodeChangeset, inverseOf } from "./encode-changeset.ts";

/** From 0 to n - 1. */
const below = (prng: Prng, n: number) => prng.integer(0, n);

const schema = `
  CREATE TABLE plain(id INTEGER PRIMARY KEY, a, b TEXT, c REAL);
  CREATE TABLE two(x TEXT, n INT, v, PRIMARY KEY(n, x)) WITHOUT ROWID;
  CREATE TABLE "odd ""name"""(k TEXT PRIMARY KEY NOT NULL, v);
  CREATE TABLE derived(id INTEGER PRIMARY KEY, a INT, twice INT AS (a * 2) STORED, more INT AS (a + 1), z TEXT);
  CREATE TABLE audit(id INTEGER PRIMARY KEY, what);
  CREATE TRIGGER notes AFTER INSERT ON plain BEGIN INSERT INTO audit(what) VALUES (new.a); END;
`;
const tables = ["plain", "two", '"odd ""name"""', "derived", "audit"];

function open(): DatabaseSync {
  const db = new DatabaseSync(":memory:", { readBigInts: true });
  db.exec(schema);
  return db;
}

function contentOf(db: DatabaseSync): string {
  const rows = tables.map((table) => db.prepare(`SELECT * FROM ${table} ORDER BY 1, 2`).all());
  return JSON.stringify(rows, (_, v) => (typeof v === "bigint" ? `${v}n` : v));
}

function drawn(prng: Prng): null | bigint | number | string | Uint8Array {
  switch (below(prng, 6)) {
    case 0:
      return null;
    case 1:
      return BigInt(below(prng, 7)) - 3n;
    case 2:
      return BigInt.asIntN(64, 0x7fff_ffff_ffff_fff0n + BigInt(below(prng, 32)));
    case 3:
      return below(prng, 1_000) / 7;
    case 4:
      return "é😀\0".slice(0, below(prng, 5)) + "x".repeat(below(prng, 200));
    default:
      return new Uint8Array(below(prng, 300)).fill(below(prng, 256));
  }
}

/** Some statements; those that break a constraint change nothing. */
function change(db: DatabaseSync, prng: Prng): void {
  const id = BigInt(below(prng, 20));
  const any = () => drawn(prng);
  const statements: readonly (readonly [string, ...unknown[]])[] = [
    ["INSERT INTO plain VALUES (?, ?, ?, ?)", id, any(), any(), any()],
    ["UPDATE plain SET a = ?, c = ? WHERE id = ?", any(), any(), id],
    ["UPDATE plain SET id = id + 100 WHERE id = ?", id],
    ["DELETE FROM plain WHERE id = ?", id],
    ["REPLACE INTO two VALUES (?, ?, ?)", `t${below(prng, 4)}`, id % 4n, any()],
    ["DELETE FROM two WHERE n = ?", id % 4n],
    ['INSERT OR REPLACE INTO "odd ""name""" VALUES (?, ?)', any(), any()],
    ["INSERT INTO derived(id, a, z) VALUES (?, ?, ?)", id, id, any()],
    ["UPDATE derived SET a = a + 1, z = ? WHERE id > ?", any(), id],
  ];
  const [sql, ...args] = statements[below(prng, statements.length)]!;
  try {
    db.prepare(sql).run(...(args as never[]));
  } catch {
    // A constraint.
  }
}

const refuse = { onConflict: () => constants.SQLITE_CHANGESET_ABORT };

/** On a connection where triggers do nothing: a changeset has what they did. */
function applyTo(db: DatabaseSync, bytes: Uint8Array): boolean {
  db.setAuthorizer((...[, , , , trigger]) =>
    trigger === null ? constants.SQLITE_OK : constants.SQLITE_IGNORE,
  );
  const done = db.applyChangeset(bytes, refuse);
  db.setAuthorizer(null);
  return done;
}

test("what SQLite records is read, written back byte for byte, and can be undone", () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 60; seed++) {
    const prng = new Prng(seed);
    const db = open();
    for (let i = 0; i < 30; i++) change(db, prng);
    const before = contentOf(db);
    const session = db.createSession();
    for (let i = 0; i < 40; i++) change(db, prng);
    const changeset = session.changeset();
    const decoded = decodeChangeset(changeset);
    assert.deepEqual(Buffer.from(encodeChangeset(decoded)), Buffer.from(changeset));
    const patchset = session.patchset();
    const patches = decodeChangeset(patchset);
    assert.deepEqual(Buffer.from(encodeChangeset(patches)), Buffer.from(patchset));
    checkAgree(decoded, patches);
    for (const { table, changes } of decoded) {
      for (const { operation, indirect } of changes) seen.add(`${table} ${operation} ${indirect}`);
    }
    session.close();
    const after = contentOf(db);
    assert.equal(applyTo(db, encodeChangeset(inverseOf(decoded))), true);
    assert.equal(contentOf(db), before);
    assert.equal(applyTo(db, encodeChangeset(decoded)), true);
    assert.equal(contentOf(db), after);
  }
  for (const wanted of ["plain update false", "audit insert true", "two update false"]) {
    assert.ok(seen.has(wanted), `${wanted} in ${[...seen].join(", ")}`);
  }
});

/** The same rows, of the same tables; a patchset has only new values of an update. */
function checkAgree(changesets: readonly TableChanges[], patchsets: readonly TableChanges[]): void {
  const shape = (all: readonly TableChanges[]) =>
    all.map(({ table, changes }) => [table, changes.map(({ operation }) => operation)]);
  assert.deepEqual(shape(changesets), shape(patchsets));
}

test("values come out as they went in", () => {
  const db = new DatabaseSync(":memory:", { readBigInts: true });
  db.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c, d, e)");
  const session = db.createSession();
  const blob = new Uint8Array([0, 255, 7]);
  db.prepare("INSERT INTO t VALUES (-9223372036854775808, ?, ?, ?, ?, NULL)").run(
    9007199254740993n,
    "naïve \u{1f600}",
    -0.25,
    blob,
  );
  const [table] = decodeChangeset(session.changeset());
  assert.equal(table?.table, "t");
  assert.deepEqual([...table.primaryKey], [1, 0, 0, 0, 0, 0]);
  const after = [-(2n ** 63n), 9007199254740993n, "naïve \u{1f600}", -0.25, blob, null];
  assert.deepEqual(table.changes, [
    { operation: "insert", indirect: false, before: undefined, after },
  ]);
});

test("damaged bytes are refused, never misread at length, never looped over", () => {
  const db = open();
  const prng = new Prng(7);
  const session = db.createSession();
  for (let i = 0; i < 60; i++) change(db, prng);
  for (const whole of [session.changeset(), session.patchset()]) {
    for (let round = 0; round < 4_000; round++) {
      const bytes = new Uint8Array(whole);
      for (let n = below(prng, 3); n >= 0; n--) bytes[below(prng, bytes.length)] = below(prng, 256);
      const cut = bytes.subarray(
        0,
        below(prng, 3) === 0 ? below(prng, bytes.length) : bytes.length,
      );
      try {
        decodeChangeset(cut);
      } catch (error) {
        assert.ok(error instanceof CorruptionError, String(error));
      }
    }
  }
});

test("lengths that the bytes do not have are refused before anything is allocated", () => {
  const name = Buffer.from("t\0");
  const head = Buffer.concat([Buffer.from([0x54, 1, 1]), name, Buffer.from([18, 0])]);
  const cases: readonly Uint8Array[] = [
    Buffer.from([0x54, 0xff, 0xff, 0xff, 0xff, 0x7f]),
    Buffer.from([0x54, 0]),
    Buffer.from([0x54, 1, 0, ...name]),
    Buffer.from([0x54, 1, 1, 0]),
    Buffer.from([0x54, 1, 1, 0x74]),
    Buffer.concat([head, Buffer.from([3, 0x87, 0xff, 0xff, 0xff, 0x7f])]),
    Buffer.concat([head, Buffer.from([4, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])]),
    Buffer.concat([head, Buffer.from([0])]),
    Buffer.concat([head, Buffer.from([6])]),
    Buffer.concat([head.subarray(0, -1), Buffer.from([2, 5])]),
    Buffer.from([0x51]),
  ];
  for (const bytes of cases) assert.throws(() => decodeChangeset(bytes), CorruptionError);
});
