/** Fuzzing of what nodes send each other: src/raft, src/peer, src/sync and the notes of src/node. */

import { crc32 } from "node:zlib";
import { ProtocolError } from "../../../src/base/errors.ts";
import type { Prng } from "../../../src/base/prng.ts";
import { decodeNote, membersNote } from "../../../src/node/notes.ts";
import { decodeMessage, encodeMessage } from "../../../src/peer/append-codec.ts";
import { encodeFrame, type Frame, FrameDecoder } from "../../../src/peer/frames.ts";
import { Accepting, Dialling, type Step } from "../../../src/peer/handshake.ts";
import { lanes } from "../../../src/peer/introduction.ts";
import { decodeMembership, encodeMembership } from "../../../src/raft/membership.ts";
import { decodeEnvelope } from "../../../src/raft/messages.ts";
import { decodeSettings, encodeSettings } from "../../../src/raft/rule/settings.ts";
import {
  decodeSync,
  encodeSync,
  type SyncMessage,
  syncVersion,
} from "../../../src/sync/messages.ts";
import { nodeId } from "../../../src/vocabulary.ts";
import { makeHash, makeId, makeNumber, makeText, makeWords } from "../make.ts";
import {
  makeEntries,
  makeEntryId,
  makeMembership,
  makePgnos,
  makeSettings,
  makeSnapshot,
} from "../make-entries.ts";
import { mutateBytes, pick, randomBytes } from "../mutate.ts";
import { demand, demandSame, probe } from "../rules.ts";
import { codecTarget, encoded, jsonTarget, type Outcome, type Target } from "../target.ts";

/** As append-codec.ts does, which is tried by itself below. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ProtocolError("not JSON", { cause });
  }
}

const envelope = jsonTarget({
  name: "envelope",
  errors: [ProtocolError],
  make: makeEnvelope,
  decode: (text) => decodeEnvelope(parsed(text)),
  encode: (value) => value,
});

function makeEnvelope(prng: Prng): unknown {
  const stamp = { round: makeNumber(prng), sentMs: prng.integer(-5, 5_000) / 4 };
  const flag = prng.chance(0.5);
  const verdict = pick(["granted", "reserved", "refused"], prng);
  const prev = { lsn: prng.integer(0, 100), term: makeNumber(prng) };
  const from = prev.lsn + 1;
  const append = {
    prev,
    range: { from, to: from + prng.integer(0, 9) },
    committedLsn: makeNumber(prng),
  };
  const message = pick<unknown>(
    [
      { type: "prevote", last: makeEntryId(prng), born: flag },
      { type: "prevote-reply", forTerm: makeNumber(prng), verdict },
      { type: "vote", last: makeEntryId(prng), born: flag, transfer: flag },
      { type: "vote-reply", verdict },
      { type: "append", ...append, stamp },
      { type: "appended", matchLsn: makeNumber(prng), stamp, born: flag },
      {
        type: "append-refused",
        prevLsn: makeNumber(prng),
        hint: makeEntryId(prng),
        stamp,
        born: flag,
      },
      { type: "timeout-now", round: makeNumber(prng) },
      { type: "read", id: makeNumber(prng) },
      { type: "read-reply", id: makeNumber(prng), lsn: flag ? makeNumber(prng) : undefined },
    ],
    prng,
  );
  return { from: makeId(prng), to: makeId(prng), term: makeNumber(prng), message };
}

const membership = codecTarget({
  name: "membership",
  errors: [ProtocolError],
  sample: encoded(makeMembership, encodeMembership),
  encode: encodeMembership,
  decode: decodeMembership,
});

const settings = codecTarget({
  name: "settings",
  errors: [ProtocolError],
  sample: encoded(makeSettings, encodeSettings),
  encode: encodeSettings,
  decode: decodeSettings,
});

const note = jsonTarget({
  name: "note",
  errors: [ProtocolError],
  make: (prng) =>
    pick<unknown>(
      [
        { note: "pageSyncWanted", clusterId: makeText(prng) },
        { note: "pageSyncEnded", lsn: makeNumber(prng) },
        { note: "pageSyncEnded" },
        membersNote(makeMembership(prng)),
      ],
      prng,
    ),
  decode: (text) => decodeNote(parsed(text)),
});

const message = codecTarget({
  name: "append with entries",
  errors: [ProtocolError],
  sample: (prng) => {
    const value = { envelope: makeEnvelope(prng), entries: makeEntries(prng) };
    const bytes = new Uint8Array(Buffer.concat(encodeMessage(value)));
    return { bytes, value: { ...value, envelope: JSON.parse(JSON.stringify(value.envelope)) } };
  },
  encode: (value) => new Uint8Array(Buffer.concat(encodeMessage(value))),
  decode: decodeMessage,
});

const sync = codecTarget({
  name: "page sync message",
  errors: [ProtocolError],
  sample: encoded(makeSync, encodeSync),
  encode: encodeSync,
  decode: decodeSync,
  mend: (bytes) => {
    if (bytes[0] !== 6 || bytes.byteLength < 5) return;
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(1, crc32(bytes.subarray(5)));
  },
});

function makeSync(prng: Prng): SyncMessage {
  const pageSize = pick([512, 4096, 65_536], prng);
  const pageCount = prng.integer(1, 200);
  const groupPages = pick([1, 4, 64], prng);
  const pgnos = makePgnos(prng, pageCount);
  const snapshot = makeSnapshot(prng);
  switch (prng.integer(0, 8)) {
    case 0: {
      const groupHashes = makeWords(prng, 2 * Math.ceil(pageCount / groupPages));
      return { type: "offer", version: syncVersion, pageSize, pageCount, groupPages, groupHashes };
    }
    case 1:
      return { type: "answer", pageSize, pageCount, groups: pgnos };
    case 2:
      return { type: "hashes", hashes: makeWords(prng, 2 * prng.integer(0, 9)) };
    case 3:
      return { type: "round", round: prng.u32(), pages: prng.u32() };
    case 4:
    case 5: {
      const own = pgnos.length > 0 ? pgnos : new Uint32Array([1]);
      const hashes = makeWords(prng, 2 * own.length);
      const pages = randomBytes(prng.integer(0, 600), prng);
      return { type: "pages", pageCount, pgnos: own, hashes, pages };
    }
    case 6: {
      const position = pick([snapshot, { lsn: snapshot.lsn, term: snapshot.term }], prng);
      const { lsn: l, term: t } = position;
      const image = {
        pageCount,
        checksum: makeHash(prng),
        position: { lsn: l, term: t },
        snapshot,
      };
      return { type: "final", image };
    }
    default:
      return pick<SyncMessage>(
        [{ type: "done" }, { type: "failed", why: [...makeText(prng)].slice(0, 90).join("") }],
        prng,
      );
  }
}

/** Frames come out the same however the bytes were cut on their way. */
function playFrames(prng: Prng): Outcome {
  const stream = mutateBytes(makeFrames(prng), makeFrames(prng), prng);
  if (prng.chance(0.6) && stream.byteLength >= 9) mendFirst(stream);
  const whole = framesOf([stream]);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < stream.byteLength; ) {
    const to = at + prng.integer(0, prng.chance(0.5) ? 4 : 200);
    pieces.push(stream.slice(at, to));
    at = to;
  }
  demandSame(framesOf(pieces), whole, "frames depend on how the stream was cut");
  return whole.failed ? "refused" : "accepted";
}

function framesOf(pieces: readonly Uint8Array[]): { frames: Frame[]; failed: boolean } {
  const decoder = new FrameDecoder(1 << 16);
  const frames: Frame[] = [];
  const bytes = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
  const done = probe(new Uint8Array(bytes), [ProtocolError], () => {
    for (const piece of pieces) {
      decoder.push(piece);
      for (let next = decoder.next(); next !== undefined; next = decoder.next()) frames.push(next);
    }
    return true;
  });
  return { frames, failed: done === undefined };
}

function makeFrames(prng: Prng): Uint8Array {
  const frames = Array.from({ length: prng.integer(1, 5) }, () =>
    Buffer.concat(encodeFrame(prng.integer(0, 20), [randomBytes(prng.integer(0, 100), prng)])),
  );
  return new Uint8Array(Buffer.concat(frames));
}

function mendFirst(stream: Uint8Array): void {
  const view = new DataView(stream.buffer, stream.byteOffset);
  view.setUint32(4, crc32(stream.subarray(8, 9 + view.getUint32(0))));
}

/**
 * Two sides of a handshake, with one frame spoiled on the way. Nobody may take the other for proved unless both saw
 * the same; a spoiled refusal may only give another reason.
 */
function playHandshake(prng: Prng): Outcome {
  const secret = "s";
  const lane = pick(lanes, prng);
  const self = { id: nodeId("a"), instance: "11", clusterId: pick([undefined, "c"], prng), secret };
  const other = {
    id: nodeId("b"),
    instance: "22",
    clusterId: pick([undefined, "c"], prng),
    secret,
  };
  const dialling = new Dialling(self, { node: other.id, lane }, randomBytes(32, prng));
  const accepting = new Accepting(other, () => undefined, randomBytes(32, prng));
  const spoilAt = prng.integer(0, 5);
  let isSpoiled = false;
  let frame: Frame | undefined = dialling.hello;
  const done: string[] = [];
  for (let n = 0; frame !== undefined && n < 6; n++) {
    const given: Frame = n === spoilAt ? spoil(frame, dialling.hello, prng) : frame;
    isSpoiled ||= !isSame(given, frame);
    const side = n % 2 === 0 ? accepting : dialling;
    const found = probe<Step>(given.payload, [ProtocolError], () => side.step(given));
    if (found === undefined) return "refused";
    const step = found.value;
    if (step.type === "done") {
      demand(!isSpoiled, `a side took a spoiled handshake for proved at frame ${n}`);
      done.push(step.peer.id);
    }
    frame = step.reply;
  }
  demand(isSpoiled || done.join() === "a,b", `an unspoiled handshake ended with ${done.join()}`);
  return isSpoiled ? "refused" : "whole";
}

function isSame(a: Frame, b: Frame): boolean {
  return a.type === b.type && Buffer.compare(a.payload, b.payload) === 0;
}

function spoil(frame: Frame, other: Frame, prng: Prng): Frame {
  if (prng.chance(0.1)) return { ...frame, type: prng.integer(0, 20) };
  const payload = mutateBytes(frame.payload, other.payload, prng);
  return { type: frame.type, payload };
}

export const peerTargets: readonly Target[] = [
  envelope,
  membership,
  settings,
  note,
  message,
  sync,
  { name: "frames", weight: 1, play: playFrames },
  { name: "handshake", weight: 1, play: playHandshake },
];
