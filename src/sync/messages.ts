/**
 * What the two sides of a page sync say. Each message is a type byte and fixed fields, big-endian.
 *
 *   1 offer    receiver   version u16, page size u32 (0: nothing here), page count u32, pages per group u32,
 *                         then per group the XOR of its pages' hashes
 *   2 answer   sender     page size u32, page count u32, the groups that differ
 *   3 hashes   receiver   hashes of all pages it has in the next of these groups, in the answer's order
 *   4 round    sender     number u32, pages to come in this round u32
 *   5 pages    sender     page count u32, page numbers, hashes, pages
 *   6 final    sender     crc32 and identity of the image; it is complete
 *   7 done     receiver   it has taken effect
 *   8 failed   either     why; the last message
 *
 * A list is its length as u32 and its items. `decode` checks what can be checked without knowing the conversation;
 * the rest is checked by sender.ts and receiver.ts. Both throw ProtocolError.
 *
 * History of the version: 1, the first; 2, an image names the settings of the cluster and has a checksum of its own,
 * and its members are written as in a membership entry, because as JSON they lost some of their fields.
 */

import { crc32 } from "node:zlib";
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { decodeMembership, encodeMembership } from "../raft/membership.ts";
import { decodeSettings, encodeSettings } from "../raft/rule/settings.ts";
import { lsn, term } from "../vocabulary.ts";
import type { ImageId } from "./ports.ts";

export const syncVersion = 2;

export type SyncMessage =
  | {
      readonly type: "offer";
      readonly version: number;
      readonly pageSize: number;
      readonly pageCount: number;
      readonly groupPages: number;
      /** Two words per group. */
      readonly groupHashes: Uint32Array;
    }
  | {
      readonly type: "answer";
      readonly pageSize: number;
      readonly pageCount: number;
      /** Ascending, unique. Group g is the pages from g · groupPages + 1 on. */
      readonly groups: Uint32Array;
    }
  | { readonly type: "hashes"; readonly hashes: Uint32Array }
  | { readonly type: "round"; readonly round: number; readonly pages: number }
  | {
      readonly type: "pages";
      readonly pageCount: number;
      readonly pgnos: Uint32Array;
      readonly hashes: Uint32Array;
      readonly pages: Uint8Array;
    }
  | { readonly type: "final"; readonly image: ImageId }
  | { readonly type: "done" }
  | { readonly type: "failed"; readonly why: string };

type TypeName = SyncMessage["type"];

const typeNumbers: Record<TypeName, number> = {
  offer: 1,
  answer: 2,
  hashes: 3,
  round: 4,
  pages: 5,
  final: 6,
  done: 7,
  failed: 8,
};

const whyBytesMax = 1024;

export function encodeSync(message: SyncMessage): Uint8Array {
  const size = message.type === "pages" ? message.pages.byteLength : 0;
  const writer = new ByteWriter(1024 + size).u8(typeNumbers[message.type]);
  switch (message.type) {
    case "offer":
      writer.u16(message.version).u32(message.pageSize).u32(message.pageCount);
      writeWords(writer.u32(message.groupPages), message.groupHashes);
      break;
    case "answer":
      writeWords(writer.u32(message.pageSize).u32(message.pageCount), message.groups);
      break;
    case "hashes":
      writeWords(writer, message.hashes);
      break;
    case "round":
      writer.u32(message.round).u32(message.pages);
      break;
    case "pages":
      writeWords(writer.u32(message.pageCount), message.pgnos);
      writeWords(writer, message.hashes);
      writer.bytes(message.pages);
      break;
    case "final":
      writeImage(writer, message.image);
      break;
    case "failed":
      writer.text(message.why.slice(0, whyBytesMax / 4));
      break;
    case "done":
  }
  return writer.finish();
}

/** Pages are a view of `bytes`. */
export function decodeSync(bytes: Uint8Array): SyncMessage {
  const reader = new ByteReader(bytes);
  const message = readMessage(reader, reader.u8());
  if (reader.left !== 0) throw new ProtocolError(`${reader.left} bytes behind a sync message`);
  return message;
}

function readMessage(reader: ByteReader, number: number): SyncMessage {
  switch (number) {
    case typeNumbers.offer:
      return readOffer(reader);
    case typeNumbers.answer:
      return {
        type: "answer",
        pageSize: pageSizeFrom(reader.u32()),
        pageCount: reader.u32(),
        groups: ascending(readWords(reader)),
      };
    case typeNumbers.hashes:
      return { type: "hashes", hashes: pairs(readWords(reader)) };
    case typeNumbers.round:
      return { type: "round", round: reader.u32(), pages: reader.u32() };
    case typeNumbers.pages:
      return readPages(reader);
    case typeNumbers.final:
      return { type: "final", image: readImage(reader) };
    case typeNumbers.done:
      return { type: "done" };
    case typeNumbers.failed:
      return { type: "failed", why: readWhy(reader) };
    default:
      throw new ProtocolError(`no sync message has number ${number}`);
  }
}

function readOffer(reader: ByteReader): SyncMessage {
  const version = reader.u16();
  if (version !== syncVersion) {
    throw new ProtocolError(`page sync of version ${version}, this node speaks ${syncVersion}`);
  }
  const [pageSize, pageCount, groupPages] = [reader.u32(), reader.u32(), reader.u32()];
  const groupHashes = readWords(reader);
  const isEmpty = pageSize === 0 && pageCount === 0;
  if (!isEmpty) pageSizeFrom(pageSize);
  if (groupPages < 1 || groupHashes.length !== 2 * Math.ceil(pageCount / groupPages)) {
    throw new ProtocolError(`${groupHashes.length} words of group hashes for ${pageCount} pages`);
  }
  return { type: "offer", version, pageSize, pageCount, groupPages, groupHashes };
}

function readPages(reader: ByteReader): SyncMessage {
  const pageCount = reader.u32();
  const pgnos = ascending(readWords(reader));
  const hashes = readWords(reader);
  if (pgnos.length === 0 || pgnos[0] === 0 || pgnos.at(-1)! > pageCount) {
    throw new ProtocolError(`pages outside of 1 to ${pageCount}`);
  }
  if (hashes.length !== 2 * pgnos.length) throw new ProtocolError("a page without its hash");
  return { type: "pages", pageCount, pgnos, hashes, pages: reader.bytes(reader.left) };
}

/** With a checksum of its own: no hash of a page tells when the number of pages is wrong. */
function writeImage(message: ByteWriter, image: ImageId): void {
  const { checksum, position, snapshot } = image;
  const writer = new ByteWriter();
  writer.u32(image.pageCount).u32(checksum.high).u32(checksum.low);
  writer.u64(position.lsn).u64(position.term).u64(snapshot.lsn).u64(snapshot.term);
  writer.text(snapshot.chain);
  for (const part of [encodeMembership(snapshot.membership), encodeSettings(snapshot.settings)]) {
    writer.u32(part.byteLength).bytes(part);
  }
  const fields = writer.finish();
  message.u32(crc32(fields)).bytes(fields);
}

function readImage(message: ByteReader): ImageId {
  const crc = message.u32();
  const fields = message.bytes(message.left);
  if (crc32(fields) !== crc) throw new ProtocolError("the identity of the image is garbled");
  const reader = new ByteReader(fields);
  const pageCount = reader.u32();
  const checksum = { high: reader.u32(), low: reader.u32() };
  const position = { lsn: lsn(reader.u64()), term: term(reader.u64()) };
  const id = { lsn: lsn(reader.u64()), term: term(reader.u64()) };
  const chain = reader.text();
  const membership = decodeMembership(reader.bytes(reader.u32()));
  const settings = decodeSettings(reader.bytes(reader.u32()));
  if (reader.left !== 0) throw new ProtocolError("the identity of the image has trailing bytes");
  if (!/^[0-9a-f]{16}$/.test(chain)) throw new ProtocolError("chain is not 16 hex digits");
  if (position.lsn > id.lsn || position.term > id.term || pageCount === 0) {
    throw new ProtocolError(`image of ${pageCount} pages at ${position.lsn}, log from ${id.lsn}`);
  }
  return { pageCount, checksum, position, snapshot: { ...id, chain, membership, settings } };
}

function readWhy(reader: ByteReader): string {
  const why = reader.text();
  if (why.length > whyBytesMax) throw new ProtocolError("reason is too long");
  return why;
}

function pageSizeFrom(value: number): number {
  const isPower = value >= 512 && value <= 65_536 && (value & (value - 1)) === 0;
  if (!isPower) throw new ProtocolError(`no page has ${value} bytes`);
  return value;
}

function ascending(words: Uint32Array): Uint32Array {
  for (let at = 1; at < words.length; at++) {
    if (words[at - 1]! >= words[at]!) throw new ProtocolError("numbers are not ascending");
  }
  return words;
}

function pairs(words: Uint32Array): Uint32Array {
  if (words.length % 2 !== 0) throw new ProtocolError("half a hash");
  return words;
}

function writeWords(writer: ByteWriter, words: Uint32Array): void {
  writer.u32(words.length);
  for (const word of words) writer.u32(word);
}

function readWords(reader: ByteReader): Uint32Array {
  const length = reader.u32();
  if (4 * length > reader.left) throw new ProtocolError(`list of ${length} is cut short`);
  const words = new Uint32Array(length);
  for (let at = 0; at < length; at++) words[at] = reader.u32();
  return words;
}
