import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { crc32, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { CorruptionError } from "../base/errors.ts";
import { pageHash } from "../base/hash.ts";
import { Prng } from "../base/prng.ts";
import { pgno } from "../vocabulary.ts";
import type { PageSet } from "../wal/page-set.ts";
import {
  decodePages,
  decodePagesInTurns,
  encodePages,
  pagesHeader,
  stampChecksum,
} from "./pages.ts";

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const hash64 = fc.tuple(u32, u32).map(([high, low]) => ({ high, low }));

/** Any valid set, of random or of compressible pages. */
const sets = fc
  .record({
    bits: fc.integer({ min: 9, max: 16 }),
    gaps: fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 6 }),
    spare: fc.integer({ min: 0, max: 9 }),
    seed: u32,
    compressible: fc.boolean(),
  })
  .map(({ bits, gaps, spare, seed, compressible }): PageSet => {
    let last = 0;
    const pgnos = Uint32Array.from(gaps, (gap) => {
      last += gap;
      return last;
    });
    return setOf({ pageSize: 2 ** bits, pageCount: last + spare, pgnos, seed, compressible });
  });

type Draft = {
  pageSize: number;
  pageCount: number;
  pgnos: Uint32Array;
  seed: number;
  compressible: boolean;
};

function setOf({ pageSize, pageCount, pgnos, seed, compressible }: Draft): PageSet {
  const prng = new Prng(seed);
  const pages = new Uint8Array(pgnos.length * pageSize);
  for (let i = 0; i < pages.byteLength; i++) pages[i] = compressible ? i >>> 6 : prng.u32();
  const hashes = new Uint32Array(2 * pgnos.length);
  for (const [i, no] of pgnos.entries()) {
    const { high, low } = pageHash(pgno(no), pages.subarray(i * pageSize, (i + 1) * pageSize));
    hashes.set([high, low], 2 * i);
  }
  return { pageSize, pageCount, pgnos, pages, hashes };
}

function sample(compressible = true): PageSet {
  const pgnos = Uint32Array.of(1, 2, 7);
  return setOf({ pageSize: 512, pageCount: 9, pgnos, seed: 1, compressible });
}

/** Makes the three checksums right, so that only what they guard can be wrong. */
function reseal(body: Uint8Array): Uint8Array {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const tableEnd = Math.min(48 + view.getUint32(12) * 12, body.byteLength);
  view.setUint32(36, crc32(body.subarray(48, tableEnd)));
  view.setUint32(40, crc32(body.subarray(tableEnd)));
  view.setUint32(4, crc32(body.subarray(8, 48), crc32(body.subarray(0, 4))));
  return body;
}

describe("pages payload", () => {
  test("decodes to what was encoded", () => {
    fc.assert(
      fc.property(
        sets,
        fc.boolean(),
        hash64,
        fc.nat(),
        (set, compress, checksum, committedAtMs) => {
          const body = encodePages(set, committedAtMs, compress);
          assert.deepEqual(decodePages(body).checksumAfter, { high: 0, low: 0 });
          stampChecksum(body, checksum);
          const decoded = decodePages(body);
          assert.deepEqual({ ...decoded.set, pages: [] }, { ...set, pages: [] });
          assert.equal(Buffer.compare(decoded.set.pages, set.pages), 0);
          assert.deepEqual(decoded.checksumAfter, checksum);
          assert.equal(decoded.committedAtMs, committedAtMs);
          const { pages, ...rest } = decoded.set;
          assert.equal(pages.byteLength, rest.pgnos.length * rest.pageSize);
          assert.deepEqual(pagesHeader(body), { ...rest, checksumAfter: checksum, committedAtMs });
        },
      ),
      { numRuns: 60 },
    );
  });

  test("is compressed when asked for and when that pays", () => {
    const raw = 48 + 3 * 12 + 3 * 512;
    assert.equal(encodePages(sample(), 0, false).byteLength, raw);
    assert.ok(encodePages(sample(), 0, true).byteLength < raw / 4);
    assert.equal(encodePages(sample(false), 0, true).byteLength, raw);
  });

  test("with any byte changed, or any end cut off, is corrupt", () => {
    for (const compress of [true, false]) {
      const body = encodePages(sample(), 1_700_000_000_000, compress);
      stampChecksum(body, { high: 1, low: 2 });
      for (let at = 0; at < body.byteLength; at++) {
        const changed = body.slice();
        changed[at]! ^= 1 << (at % 8);
        assert.throws(() => decodePages(changed), CorruptionError, `flip at ${at}`);
        assert.throws(() => decodePages(body.slice(0, at)), CorruptionError, `cut at ${at}`);
      }
      assert.throws(() => decodePages(Uint8Array.of(...body, 0)), CorruptionError);
    }
  });

  const wrong: Record<string, (view: DataView) => void> = {
    "page number 0": (view) => view.setUint32(48, 0),
    "a page twice": (view) => view.setUint32(60, 1),
    "pages descending": (view) => view.setUint32(48, 3),
    "a page beyond the page count": (view) => view.setUint32(8, 6),
    "the lock page": (view) => {
      view.setUint32(8, 0xffffffff);
      view.setUint32(72, 0x40000000 / 512 + 1);
    },
    "too few pages": (view) => view.setUint32(12, 2),
    "too many pages": (view) => view.setUint32(12, 4),
    "a great many pages": (view) => view.setUint32(12, 0xffffffff),
    "another page size": (view) => view.setUint8(3, 10),
    "a page size that SQLite does not have": (view) => view.setUint8(3, 8),
    "an unknown version": (view) => view.setUint8(1, 2),
    "an unknown kind": (view) => view.setUint8(0, 2),
    "an unknown storage": (view) => view.setUint8(2, 2),
    "another storage": (view) => view.setUint8(2, view.getUint8(2) ^ 1),
    "a wrong stored length": (view) => view.setUint32(32, 5),
    "a commit time that is no number": (view) => view.setFloat64(24, Number.NaN),
  };
  for (const [what, change] of Object.entries(wrong)) {
    test(`${what} is corrupt, whatever the checksums say`, () => {
      for (const compress of [true, false]) {
        const body = encodePages(sample(), 0, compress);
        assert.ok(decodePages(reseal(body.slice())));
        const changed = body.slice();
        change(new DataView(changed.buffer));
        assert.throws(() => decodePages(reseal(changed)), CorruptionError);
      }
    });
  }

  test("the lock page itself is corrupt, its neighbours are not", () => {
    const lockPage = 0x40000000 / 512 + 1;
    for (const [no, isValid] of [
      [lockPage - 1, true],
      [lockPage, false],
      [lockPage + 1, true],
    ] as const) {
      const set = {
        ...sample(),
        pgnos: Uint32Array.of(1, 2, lockPage - 2),
        pageCount: lockPage + 5,
      };
      const body = encodePages(set, 0, false);
      new DataView(body.buffer).setUint32(72, no);
      if (isValid) assert.equal(decodePages(reseal(body)).set.pgnos[2], no);
      else assert.throws(() => decodePages(reseal(body)), CorruptionError);
    }
  });

  test("a frame that unpacks to more than its pages is refused, not unpacked", () => {
    const body = encodePages(sample(), 0, true);
    const bomb = zstdCompressSync(new Uint8Array(64 << 20));
    const bytes = Uint8Array.of(...body.subarray(0, 48 + 36), ...bomb);
    new DataView(bytes.buffer).setUint32(32, bomb.byteLength);
    const before = process.memoryUsage().arrayBuffers;
    assert.throws(() => decodePages(reseal(bytes)), CorruptionError);
    assert.ok(process.memoryUsage().arrayBuffers - before < 16 << 20);
  });

  test("fuzz: only CorruptionError, with and without right checksums", () => {
    const bodies = [true, false].map((compress) => encodePages(sample(), 5, compress));
    let accepted = 0;
    for (let seed = 0; seed < 20_000; seed++) {
      const prng = new Prng(seed);
      let body: Uint8Array;
      if (prng.chance(0.1))
        body = Uint8Array.from({ length: prng.integer(0, 300) }, () => prng.u32());
      else {
        body = bodies[prng.integer(0, 2)]!.slice(
          0,
          prng.chance(0.2) ? prng.integer(0, 900) : undefined,
        );
        for (let n = prng.integer(1, 4); n > 0 && body.byteLength > 0; n--) {
          body[
            prng.integer(0, prng.chance(0.7) ? Math.min(90, body.byteLength) : body.byteLength)
          ] = prng.u32();
        }
      }
      if (prng.chance(0.8) && body.byteLength >= 48) reseal(body);
      try {
        decodePages(body);
        accepted += 1;
      } catch (error) {
        assert.ok(error instanceof CorruptionError, `seed ${seed}: ${error}`);
      }
    }
    assert.ok(accepted > 100 && accepted < 15_000, `${accepted} accepted`);
  });
});

test("a large body decoded in turns is the one decoded at once, and is refused for the same reasons", async () => {
  const pageSize = 4096;
  const n = 600;
  const pgnos = Uint32Array.from({ length: n }, (_, i) => i + 1);
  for (const noise of [false, true]) {
    const pages = new Uint8Array(n * pageSize);
    const prng = new Prng(5);
    if (noise) for (let at = 0; at < pages.byteLength; at++) pages[at] = prng.u32();
    const hashes = new Uint32Array(2 * n).fill(1);
    const body = encodePages({ pageSize, pageCount: n, pgnos, pages, hashes }, 7, true);
    const [slow, quick] = [await decodePagesInTurns(body), decodePages(body)];
    assert.ok(Buffer.from(slow.set.pages).equals(quick.set.pages));
    const rest = ({ set: { pages: _, ...set }, ...body }: typeof slow) => ({ set, ...body });
    assert.deepEqual(rest(slow), rest(quick));
    const changed = body.slice();
    changed[body.byteLength - 1]! ^= 1;
    await assert.rejects(decodePagesInTurns(changed), CorruptionError);
    const wrongFrame = body.slice();
    wrongFrame.fill(0xee, body.byteLength - 20);
    new DataView(wrongFrame.buffer).setUint32(40, crc32(wrongFrame.subarray(48 + n * 12)));
    if (!noise) await assert.rejects(decodePagesInTurns(reseal(wrongFrame)), CorruptionError);
  }
});
