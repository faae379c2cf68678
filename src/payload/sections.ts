/**
 * The body of a payload entry: one or more sections, each a way to tell the same change.
 *
 *   pages       the pages after the change (pages.ts)
 *   changes     the rows that changed, schema changes as text (changes/)
 *   statements  the statements with their arguments (changes/)
 *
 * A body with nothing but pages is a pages body as it stands (first byte 1): nothing is wrapped, copied or checked for
 * the sake of sections. Any other body begins with 2:
 *
 *   offset  size  field
 *        0     1  payload kind, 2
 *        1     1  format version, now 1
 *        2     1  log kind: how a follower applies it; 1 pages, 2 rows, 3 statements, 4 triggers
 *        3     1  n, sections
 *        4     4  crc32 of bytes 0..3 and 8 to the end of the table
 *        8     8  leader's wall clock at the commit, milliseconds since 1970, float
 *       16    12n table: section (1 pages, 2 changes, 3 statements) u32, length u32, crc32 u32
 *        …     …  the sections, in the order of the table
 *
 * Sections ascend. The crc32 of the pages is zero: a pages body has checksums of its own and is stamped after it was
 * put together.
 */

import { crc32 } from "node:zlib";
import { assert } from "../base/assert.ts";
import { CorruptionError } from "../base/errors.ts";
import type { LogKind } from "../vocabulary.ts";
import { pagesHeader } from "./pages.ts";

/** What a body consists of. Sections are views of the body. */
export type Sections = {
  /** The section that followers apply. */
  readonly logKind: LogKind;
  /** Leader's wall clock, for people. */
  readonly committedAtMs: number;
  readonly pages: Uint8Array | undefined;
  readonly changes: Uint8Array | undefined;
  readonly statements: Uint8Array | undefined;
};

const kinds = { pages: 1, sections: 2 } as const;
const version = 1;
const tableStart = 16;
const rowBytes = 12;
const logKinds: readonly LogKind[] = ["pages", "rows", "statements", "triggers"];
const sectionNames = ["pages", "changes", "statements"] as const;

/** Joins sections to a body. A pages section alone is the body. */
export function joinSections(sections: Sections): Uint8Array {
  const { pages, changes, statements, logKind, committedAtMs } = sections;
  if (changes === undefined && statements === undefined) {
    assert(pages !== undefined && logKind === "pages", "a body has a section");
    return pages;
  }
  const parts = sectionNames.flatMap((name, i) => {
    const bytes = sections[name];
    return bytes === undefined ? [] : [{ id: i + 1, bytes }];
  });
  const start = tableStart + parts.length * rowBytes;
  const total = parts.reduce((sum, { bytes }) => sum + bytes.byteLength, start);
  const body = new Uint8Array(total);
  const view = viewOf(body);
  body.set([kinds.sections, version, logKinds.indexOf(logKind) + 1, parts.length]);
  view.setFloat64(8, committedAtMs);
  let at = start;
  for (const [i, { id, bytes }] of parts.entries()) {
    const row = tableStart + i * rowBytes;
    view.setUint32(row, id);
    view.setUint32(row + 4, bytes.byteLength);
    view.setUint32(row + 8, id === 1 ? 0 : crc32(bytes));
    body.set(bytes, at);
    at += bytes.byteLength;
  }
  view.setUint32(4, headCrc(body, start));
  return body;
}

/** Takes a body apart and checks all but the pages. Throws CorruptionError. */
export function sectionsOf(body: Uint8Array): Sections {
  if (body[0] === kinds.pages) {
    const { committedAtMs } = pagesHeader(body);
    const pages = body;
    return { logKind: "pages", committedAtMs, pages, changes: undefined, statements: undefined };
  }
  const start = checkedHead(body);
  const view = viewOf(body);
  const logKind = logKinds[body[2]! - 1];
  if (logKind === undefined) throw corrupt(2, `log kind ${body[2]}`);
  const committedAtMs = view.getFloat64(8);
  if (!Number.isFinite(committedAtMs)) throw corrupt(8, "commit time is no number");
  const found: { [name in (typeof sectionNames)[number]]?: Uint8Array } = {};
  let at = start;
  let previous = 0;
  for (let row = tableStart; row < start; row += rowBytes) {
    const id = view.getUint32(row);
    const name = sectionNames[id - 1];
    if (name === undefined || id <= previous) throw corrupt(row, `section ${id} after ${previous}`);
    const bytes = body.subarray(at, at + view.getUint32(row + 4));
    at += view.getUint32(row + 4);
    if (at > body.byteLength) throw corrupt(row + 4, `section ${id} ends at ${at}`);
    if (id !== 1 && crc32(bytes) !== view.getUint32(row + 8)) {
      throw corrupt(row + 8, `checksum of section ${id} disagrees`);
    }
    found[name] = bytes;
    previous = id;
  }
  if (at !== body.byteLength) throw corrupt(at, `${body.byteLength - at} bytes too many`);
  const { pages, changes, statements } = found;
  const sections = { logKind, committedAtMs, pages, changes, statements };
  if (appliedSection(sections) === undefined) throw corrupt(2, `${logKind} without its section`);
  return sections;
}

/** The section that followers apply; undefined when it is missing. */
export function appliedSection(sections: Sections): Uint8Array | undefined {
  if (sections.logKind === "pages") return sections.pages;
  return sections.logKind === "statements" ? sections.statements : sections.changes;
}

/** The leader's wall clock at the commit, without looking at what was committed. Throws CorruptionError. */
export function commitTimeOf(body: Uint8Array): number {
  if (body[0] === kinds.pages) return pagesHeader(body).committedAtMs;
  checkedHead(body);
  const committedAtMs = viewOf(body).getFloat64(8);
  if (!Number.isFinite(committedAtMs)) throw corrupt(8, "commit time is no number");
  return committedAtMs;
}

/** Whether a body has more than pages, or none: one byte decides. */
export function hasSections(body: Uint8Array): boolean {
  return body[0] === kinds.sections;
}

/** The pages section, for its checksum to be stamped in place; undefined when the body has none. */
export function pagesSection(body: Uint8Array): Uint8Array | undefined {
  if (!hasSections(body)) return body;
  const start = checkedHead(body);
  const view = viewOf(body);
  if (view.getUint32(tableStart) !== 1) return undefined;
  return body.subarray(start, start + view.getUint32(tableStart + 4));
}

/** Returns where the first section starts. */
function checkedHead(body: Uint8Array): number {
  if (body.byteLength < tableStart) throw corrupt(body.byteLength, "the header is cut short");
  if (body[0] !== kinds.sections) throw corrupt(0, `payload kind ${body[0]}`);
  if (body[1] !== version) throw corrupt(1, `version ${body[1]}, this program knows ${version}`);
  const count = body[3]!;
  if (count === 0 || count > sectionNames.length) throw corrupt(3, `${count} sections`);
  const start = tableStart + count * rowBytes;
  if (body.byteLength < start) throw corrupt(body.byteLength, "the table is cut short");
  if (viewOf(body).getUint32(4) !== headCrc(body, start)) {
    throw corrupt(4, "checksum of the header disagrees");
  }
  return start;
}

function headCrc(body: Uint8Array, end: number): number {
  return crc32(body.subarray(8, end), crc32(body.subarray(0, 4)));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function corrupt(offset: number, why: string): CorruptionError {
  return new CorruptionError(`payload sections, offset ${offset}: ${why}`);
}
