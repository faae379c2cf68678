/**
 * Payload of a `message` frame: a plain JSON envelope, and the entries that belong to it.
 *
 *   size  field
 *      4  length of the JSON text, then the text in UTF-8
 *      4  number of entries, n
 *   29·n  per entry: lsn u64, term u64, kind u8, chain 8 bytes, length of its body u32
 *      …  the bodies, one after the other
 *
 * Bodies are neither copied when sent nor when received: the parts to write hold the bodies themselves, and the
 * decoded bodies are views of the frame.
 *
 * Not here: what an envelope may say; the core's own decoder checks that.
 */

import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { type Entry, type EntryKind, lsn, term } from "../vocabulary.ts";

export type PeerMessage = {
  /** Any JSON value. Not checked. */
  readonly envelope: unknown;
  readonly entries: readonly Entry[];
};

const entryHeadBytes = 29;

/** Numbers on the wire; 0 is none, so that zeroed bytes are not an entry. */
const kindNumbers: Record<EntryKind, number> = {
  noop: 1,
  genesis: 2,
  membership: 3,
  payload: 4,
  settings: 5,
};
const kindByNumber: ReadonlyMap<number, EntryKind> = new Map(
  Object.entries(kindNumbers).map(([kind, number]) => [number, kind as EntryKind]),
);

/** Parts of the payload. Keeps views of the entries' bodies. */
export function encodeMessage(message: PeerMessage): readonly Uint8Array[] {
  const json = JSON.stringify(message.envelope);
  const { entries } = message;
  const head = new ByteWriter(8 + json.length + entries.length * entryHeadBytes);
  head.text(json).u32(entries.length);
  for (const entry of entries) {
    head.u64(entry.lsn).u64(entry.term).u8(kindNumbers[entry.kind]);
    head.u32(Number.parseInt(entry.chain.slice(0, 8), 16));
    head.u32(Number.parseInt(entry.chain.slice(8), 16));
    head.u32(entry.body.byteLength);
  }
  return [head.finish(), ...entries.map((entry) => entry.body)];
}

/** Throws ProtocolError on anything that `encodeMessage` does not write. Bodies are views of `payload`. */
export function decodeMessage(payload: Uint8Array): PeerMessage {
  const reader = new ByteReader(payload);
  const envelope = parseJson(reader.text());
  const count = reader.u32();
  if (count * entryHeadBytes > reader.left) {
    throw new ProtocolError(`${count} entries do not fit into ${reader.left} bytes`);
  }
  const heads = Array.from({ length: count }, () => ({
    lsn: lsn(reader.u64()),
    term: term(reader.u64()),
    kind: kindFrom(reader.u8()),
    chain: hex(reader.u32()) + hex(reader.u32()),
    bodyBytes: reader.u32(),
  }));
  const entries = heads.map(({ bodyBytes, ...head }) => ({
    ...head,
    body: reader.bytes(bodyBytes),
  }));
  if (reader.left !== 0) throw new ProtocolError(`${reader.left} bytes behind the last entry`);
  return { envelope, entries };
}

function kindFrom(number: number): EntryKind {
  const kind = kindByNumber.get(number);
  if (kind === undefined) throw new ProtocolError(`no kind of entry has number ${number}`);
  return kind;
}

function hex(half: number): string {
  return half.toString(16).padStart(8, "0");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ProtocolError("envelope is not JSON", { cause });
  }
}
