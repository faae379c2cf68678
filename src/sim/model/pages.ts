/**
 * The pages of the model database: images of it, their hashes, and the changes that lead from one to the next. What
 * stands in the pages: lists.ts.
 *
 * An image is never changed; a change makes a new one that shares the pages that did not change.
 */

import { type Hash64, pageHash, xorHash, zeroHash } from "../../base/hash.ts";
import { limits } from "../../limits.ts";
import type { Pgno } from "../../vocabulary.ts";
import type { PageSet } from "../../wal/page-set.ts";

/** Pages from number 1 on. */
export type Image = readonly Uint8Array[];

const hashOfPage = new WeakMap<Uint8Array, { readonly pgno: number; readonly hash: Hash64 }>();

/** The hash of a page that is never changed any more. */
export function hashOf(pgno: number, page: Uint8Array): Hash64 {
  const known = hashOfPage.get(page);
  if (known?.pgno === pgno) return known.hash;
  const hash = pageHash(pgno as Pgno, page);
  hashOfPage.set(page, { pgno, hash });
  return hash;
}

export function checksumOf(image: Image): Hash64 {
  let sum = zeroHash;
  for (const [i, page] of image.entries()) sum = xorHash(sum, hashOf(i + 1, page));
  return sum;
}

/** What makes `after` of `before`. */
export function changeOf(before: Image, after: Image): PageSet {
  const pgnos: number[] = [];
  for (const [i, page] of after.entries()) if (page !== before[i]) pgnos.push(i + 1);
  return setOf(after, pgnos);
}

export function setOf(image: Image, pgnos: readonly number[]): PageSet {
  const { pageSize } = limits;
  const pages = new Uint8Array(pgnos.length * pageSize);
  const hashes = new Uint32Array(2 * pgnos.length);
  for (const [i, pgno] of pgnos.entries()) {
    const page = image[pgno - 1]!;
    pages.set(page, i * pageSize);
    const hash = hashOf(pgno, page);
    hashes[2 * i] = hash.high;
    hashes[2 * i + 1] = hash.low;
  }
  return { pageSize, pageCount: image.length, pgnos: Uint32Array.from(pgnos), pages, hashes };
}

export function changed(before: Image, set: Pick<PageSet, "pgnos" | "pages" | "pageCount">): Image {
  const pages = before.slice(0, set.pageCount);
  const { pageSize } = limits;
  for (const [i, pgno] of set.pgnos.entries()) {
    while (pages.length < pgno) pages.push(new Uint8Array(pageSize));
    // A slice of a Buffer would be a view.
    pages[pgno - 1] = new Uint8Array(set.pages.subarray(i * pageSize, (i + 1) * pageSize));
  }
  return pages;
}
