import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Entry, type EntryKind, lsn, term } from "../vocabulary.ts";
import { decodeHead, decodeTable, encodeHead, headBytes, rowBytes } from "./entry-codec.ts";

const place = fc.record({
  seed: fc.integer({ min: 0, max: 0xffffffff }),
  offset: fc.integer({ min: 0, max: 2 ** 40 }),
});
const firstLsn = fc.integer({ min: 1, max: 2 ** 50 });
const entryParts = fc.record({
  term: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  kind: fc.constantFrom<EntryKind>("noop", "genesis", "membership", "payload"),
  chain: fc.stringMatching(/^[0-9a-f]{16}$/),
  body: fc.uint8Array({ maxLength: 200 }),
});

function entriesOf(
  first: number,
  parts: readonly { term: number; kind: EntryKind; chain: string; body: Uint8Array }[],
) {
  return parts.map((part, i): Entry => ({ ...part, lsn: lsn(first + i), term: term(part.term) }));
}

describe("batch", () => {
  test("decodes to what was encoded", () => {
    fc.assert(
      fc.property(
        place,
        firstLsn,
        fc.array(entryParts, { maxLength: 20 }),
        (where, first, parts) => {
          const entries = entriesOf(first, parts);
          const bytes = encodeHead(lsn(first), entries, where);
          assert.equal(bytes.byteLength, headBytes + rowBytes * entries.length);
          const head = decodeHead(bytes, where)!;
          assert.equal(head.firstLsn, first);
          assert.equal(head.count, entries.length);
          const rows = decodeTable(bytes.subarray(headBytes), head)!;
          assert.deepEqual(
            rows.map(({ term, kind, chain, bodyBytes }) => ({ term, kind, chain, bodyBytes })),
            entries.map(({ term, kind, chain, body }) => ({
              term,
              kind,
              chain,
              bodyBytes: body.byteLength,
            })),
          );
        },
      ),
    );
  });

  test("is no batch anywhere else, nor in another segment", () => {
    fc.assert(
      fc.property(
        place,
        place,
        firstLsn,
        fc.array(entryParts, { maxLength: 3 }),
        (where, other, first, parts) => {
          fc.pre(where.seed !== other.seed || where.offset !== other.offset);
          const bytes = encodeHead(lsn(first), entriesOf(first, parts), where);
          assert.equal(decodeHead(bytes, other), undefined);
        },
      ),
    );
  });

  test("with any byte changed is none", () => {
    const where = { seed: 7, offset: 1_000 };
    const byte = fc.integer({ min: 0, max: 1_000 });
    fc.assert(
      fc.property(
        fc.array(entryParts, { minLength: 1, maxLength: 5 }),
        byte,
        byte,
        (parts, at, xor) => {
          const bytes = encodeHead(lsn(1), entriesOf(1, parts), where);
          bytes[at % bytes.byteLength]! ^= (xor % 255) + 1;
          const head = decodeHead(bytes, where);
          assert.ok(
            head === undefined || decodeTable(bytes.subarray(headBytes), head) === undefined,
          );
        },
      ),
    );
  });

  test("random bytes are none", () => {
    fc.assert(
      fc.property(place, fc.uint8Array({ maxLength: 100 }), (where, bytes) => {
        assert.equal(decodeHead(bytes, where), undefined);
        const head = { firstLsn: lsn(1), count: 2, tableCrc: 0, size: 56 };
        assert.equal(decodeTable(bytes.subarray(0, 56), head), undefined);
      }),
    );
  });
});
