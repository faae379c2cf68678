import assert from "node:assert/strict";
import { test } from "node:test";
import { CorruptionError } from "../base/errors.ts";
import { decodePages, encodePages, stampChecksum } from "./pages.ts";
import { appliedSection, hasSections, joinSections, pagesSection, sectionsOf } from "./sections.ts";

const pages = encodePages(
  {
    pageSize: 512,
    pageCount: 3,
    pgnos: new Uint32Array([2]),
    pages: new Uint8Array(512).fill(7),
    hashes: new Uint32Array([1, 2]),
  },
  1_000,
  true,
);
const changes = new Uint8Array([1, 2, 3]);
const statements = new Uint8Array([9]);
const nothing = { pages: undefined, changes: undefined, statements: undefined };

test("pages alone are the body itself, as it always was", () => {
  const body = joinSections({ ...nothing, logKind: "pages", committedAtMs: 1_000, pages });
  assert.equal(body, pages);
  assert.equal(hasSections(body), false);
  assert.equal(pagesSection(body), body);
  const found = sectionsOf(body);
  assert.equal(found.pages, body);
  assert.equal(found.committedAtMs, 1_000);
});

test("sections come out as they went in, and the pages can be stamped in place", () => {
  const body = joinSections({ logKind: "pages", committedAtMs: 5, pages, changes, statements });
  stampChecksum(pagesSection(body)!, { high: 3, low: 4 });
  const found = sectionsOf(body);
  assert.deepEqual(decodePages(found.pages!).checksumAfter, { high: 3, low: 4 });
  assert.deepEqual(found.changes, changes);
  assert.deepEqual(found.statements, statements);
  assert.equal(appliedSection(found), found.pages);
});

test("each log kind says what is applied", () => {
  const of = (logKind: "rows" | "statements" | "triggers") =>
    appliedSection(
      sectionsOf(joinSections({ ...nothing, logKind, committedAtMs: 5, changes, statements })),
    );
  assert.deepEqual(of("rows"), changes);
  assert.deepEqual(of("triggers"), changes);
  assert.deepEqual(of("statements"), statements);
  assert.equal(
    pagesSection(joinSections({ ...nothing, logKind: "rows", committedAtMs: 5, changes })),
    undefined,
  );
});

test("every damaged byte is noticed", () => {
  const body = joinSections({ ...nothing, logKind: "rows", committedAtMs: 5, changes, statements });
  for (let at = 0; at < body.length; at++) {
    for (const bit of [1, 16, 128]) {
      const bytes = new Uint8Array(body);
      bytes[at]! ^= bit;
      assert.throws(() => sectionsOf(bytes), CorruptionError, `offset ${at}`);
    }
    assert.throws(() => sectionsOf(body.subarray(0, at)), CorruptionError, `cut at ${at}`);
  }
  const long = new Uint8Array(body.length + 1);
  long.set(body);
  assert.throws(() => sectionsOf(long), CorruptionError);
});

test("a body without the section that its log kind applies is refused", () => {
  const body = joinSections({ ...nothing, logKind: "rows", committedAtMs: 5, statements });
  assert.throws(() => sectionsOf(body), CorruptionError);
});
