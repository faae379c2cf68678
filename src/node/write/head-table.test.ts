// The checksum stamped ahead of applying equals the checksum found after it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { formatHash, type Hash64, xorHash, zeroHash } from "../../base/hash.ts";
import { Prng } from "../../base/prng.ts";
import { lsn } from "../../vocabulary.ts";
import { HeadTable, type PageChanges } from "./head-table.ts";

/** The plain way: a list of hashes, changed one entry after the other. */
class Applied {
  hashes: Hash64[] = [];

  get pageCount(): number {
    return this.hashes.length;
  }

  hashOf(pgno: number): Hash64 {
    return this.hashes[pgno - 1] ?? zeroHash;
  }

  checksum(): Hash64 {
    return this.hashes.reduce(xorHash, zeroHash);
  }

  apply(changes: PageChanges): void {
    this.hashes.length = Math.min(this.hashes.length, changes.pageCount);
    while (this.hashes.length < changes.pageCount) this.hashes.push(zeroHash);
    for (const [i, pgno] of changes.pgnos.entries()) {
      this.hashes[pgno - 1] = { high: changes.hashes[2 * i]!, low: changes.hashes[2 * i + 1]! };
    }
  }
}

function randomChanges(prng: Prng, before: number): PageChanges {
  const pageCount = Math.max(1, before + prng.integer(-3, 5));
  const chosen = new Set<number>();
  for (let pgno = before + 1; pgno <= pageCount; pgno++) chosen.add(pgno);
  for (let i = 0; i < 4; i++) chosen.add(prng.integer(1, pageCount + 1));
  const pgnos = Uint32Array.from(chosen).sort();
  return {
    pgnos,
    pageCount,
    hashes: Uint32Array.from({ length: 2 * pgnos.length }, () => prng.u32()),
  };
}

test("growing, shrinking and growing again, with entries in flight", () => {
  for (let seed = 0; seed < 200; seed++) {
    const prng = new Prng(seed);
    const applied = new Applied();
    applied.apply(randomChanges(prng, 0));
    const head = new HeadTable(applied);
    const inFlight: { changes: PageChanges; expected: Hash64; at: number }[] = [];
    let pageCount = applied.pageCount;
    for (let at = 1; at <= 40; at++) {
      const changes = randomChanges(prng, pageCount);
      pageCount = changes.pageCount;
      inFlight.push({ changes, expected: head.push(lsn(at), changes), at });
      while (inFlight.length > 0 && prng.chance(0.6)) {
        const next = inFlight.shift()!;
        applied.apply(next.changes);
        head.settle(lsn(next.at));
        assert.equal(formatHash(applied.checksum()), formatHash(next.expected), `seed ${seed}`);
      }
    }
  }
});
