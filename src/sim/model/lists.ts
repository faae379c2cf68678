/**
 * The database of the simulation: lists of numbers in pages, behind the same interfaces as SQLite. Small enough to be
 * looked through, real enough that checksums, page sets, page sync and crashes are those of the program.
 *
 *   page 1       magic, LSN and term of the last change, number of lists
 *   page 2 …     one list each: length, then its numbers, oldest first; lists only grow
 *   the rest     filler: one number, written again and again; may become more or fewer
 */

import { CorruptionError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import type { EntryId, Lsn, Term } from "../../vocabulary.ts";
import type { Image } from "./pages.ts";

const magic = 0x4d4f4445;

export function birth(lists: number): Image {
  const first = new Uint8Array(limits.pageSize);
  const image = [first];
  const view = viewOf(first);
  view.setUint32(0, magic);
  view.setUint32(16, lists);
  for (let i = 0; i < lists; i++) image.push(new Uint8Array(limits.pageSize));
  return image;
}

export function listCount(image: Image): number {
  return viewOf(image[0]!).getUint32(16);
}

export function listOf(image: Image, list: number): readonly number[] {
  const view = viewOf(image[1 + list]!);
  const length = view.getUint32(0);
  return Array.from({ length }, (_, i) => view.getUint32(4 + 4 * i));
}

/** Values that fit into a list. */
export function listCapacity(): number {
  return (limits.pageSize - 4) / 4;
}

/** Undefined when the list is full. */
export function appended(image: Image, list: number, value: number): Image | undefined {
  const page = image[1 + list]!.slice();
  const view = viewOf(page);
  const length = view.getUint32(0);
  if (4 + 4 * length + 4 > page.byteLength) return undefined;
  view.setUint32(4 + 4 * length, value);
  view.setUint32(0, length + 1);
  return image.with(1 + list, page);
}

/** The image with `count` filler pages, each of them new. */
export function filled(image: Image, count: number, value: number): Image {
  const fixed = 1 + listCount(image);
  const pages = image.slice(0, fixed);
  for (let i = 0; i < count; i++) {
    const page = new Uint8Array(limits.pageSize);
    viewOf(page).setUint32(0, value);
    viewOf(page).setUint32(4, i);
    pages.push(page);
  }
  return pages;
}

/** Throws CorruptionError when the first page is not what `birth` and `stamped` write. */
export function positionOf(image: Image): EntryId {
  const first = image[0];
  if (first === undefined || viewOf(first).getUint32(0) !== magic) {
    throw new CorruptionError("the file is not a database");
  }
  const view = viewOf(first);
  return { lsn: view.getUint32(4) as Lsn, term: view.getUint32(8) as Term };
}

export function stamped(image: Image, position: EntryId): Image {
  const first = image[0]!.slice();
  viewOf(first).setUint32(4, position.lsn);
  viewOf(first).setUint32(8, position.term);
  return [first, ...image.slice(1)];
}

function viewOf(page: Uint8Array): DataView {
  return new DataView(page.buffer, page.byteOffset, page.byteLength);
}
