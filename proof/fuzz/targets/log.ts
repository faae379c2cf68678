/** Fuzzing of src/log: its records one by one, and whole logs on a disk. */

import { crc32 } from "node:zlib";
import { ByteWriter } from "../../../src/base/bytes.ts";
import { CorruptionError } from "../../../src/base/errors.ts";
import type { Prng } from "../../../src/base/prng.ts";
import { decodeBase, encodeBase } from "../../../src/log/base-record.ts";
import { decodeHead, decodeTable, encodeHead, headBytes } from "../../../src/log/entry-codec.ts";
import { decodeSlot, encodeSlot } from "../../../src/log/hard-state.ts";
import { LogStore } from "../../../src/log/log-store.ts";
import { chained, endOf, initial, membershipDraft, stateOf } from "../../../src/log/test-log.ts";
import { SimDisk } from "../../../src/sim/disk.ts";
import { lsn, term } from "../../../src/vocabulary.ts";
import { makeId, makeNumber } from "../make.ts";
import { makeEntries, makeSnapshot } from "../make-entries.ts";
import { mutateBytes, pick, randomBytes } from "../mutate.ts";
import { demand, probeAsync } from "../rules.ts";
import { codecTarget, encoded, type Outcome, type Target } from "../target.ts";

const place = { seed: 77, offset: 4_096 };

/** The crc32 at offset 12 of everything but itself. */
function mendRecord(bytes: Uint8Array): void {
  if (bytes.byteLength < 16) return;
  const crc = crc32(bytes.subarray(16), crc32(bytes.subarray(0, 12)));
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(12, crc);
}

function mendHead(bytes: Uint8Array): void {
  if (bytes.byteLength < headBytes) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(20, crc32(bytes.subarray(headBytes)));
  // The head's place, last word first, in the machine's byte order turned around [entry-codec.ts].
  const placed = crc32(new ByteWriter(12).u32(place.offset).u32(0).u32(place.seed).finish());
  view.setUint32(4, crc32(bytes.subarray(8, headBytes), placed));
}

/** Head and table together, without the bodies. */
const head = codecTarget({
  name: "log batch",
  errors: [],
  sample: (prng) => {
    const firstLsn = lsn(makeNumber(prng) % 1e15);
    const entries = makeEntries(prng);
    const rows = entries.map(({ term: t, chain, kind, body }) => {
      return { term: t, chain, kind, bodyBytes: body.byteLength, bodyCrc: crc32(body) };
    });
    return { bytes: encodeHead(firstLsn, entries, place), value: { firstLsn, rows } };
  },
  decode: (bytes) => {
    const found = decodeHead(bytes, place);
    const rows = found && decodeTable(bytes.subarray(headBytes), found);
    return rows && { firstLsn: found!.firstLsn, rows };
  },
  mend: mendHead,
});

const base = codecTarget({
  name: "log base",
  errors: [CorruptionError],
  sample: encoded(
    (prng) => ({ snapshot: makeSnapshot(prng), firstSegment: makeNumber(prng) }),
    encodeBase,
  ),
  encode: encodeBase,
  decode: (bytes) => decodeBase(bytes, "base"),
  mend: mendRecord,
});

const slot = codecTarget({
  name: "hard state",
  errors: [],
  sample: encoded((prng) => {
    const vote = prng.chance(0.3) ? undefined : makeId(prng);
    const state = { term: term(makeNumber(prng)), vote, born: prng.chance(0.5) };
    return { sequence: makeNumber(prng), state };
  }, encodeSlot),
  encode: encodeSlot,
  decode: decodeSlot,
  mend: mendRecord,
});

const files = ["base", "hard-state", "000000000001.segment", "000000000002.segment"];
let pristine: Promise<{ disk: SimDisk; lines: readonly string[] }> | undefined;

async function makeLog(): Promise<{ disk: SimDisk; lines: readonly string[] }> {
  const disk = new SimDisk();
  const log = await LogStore.open(disk, "/log", initial, { segmentBytesMax: 400 });
  for (let i = 0; i < 4; i++) {
    const drafts = [{ term: 1 }, membershipDraft(1, "a"), { term: 1, body: new Uint8Array(90) }];
    await log.persist({ hardState: undefined, entries: chained(endOf(log), drafts) });
  }
  await log.persist({ hardState: { term: term(1), vote: undefined, born: true }, entries: [] });
  const { entries } = await stateOf(log);
  disk.kill();
  return { disk, lines: entries };
}

/** A log that opens holds a prefix of what was written, and nothing else: every byte of it is guarded. */
async function playLog(prng: Prng): Promise<Outcome> {
  pristine ??= makeLog();
  const { disk, lines } = await pristine;
  const twin = disk.fork();
  const other = await disk.readFile(`/log/${pick(files, prng)}`);
  for (let n = prng.integer(1, 3); n > 0; n--) {
    twin.damage(`/log/${pick(files, prng)}`, (bytes) =>
      prng.chance(0.05)
        ? randomBytes(prng.integer(0, 2_000), prng)
        : new Uint8Array(mutateBytes(bytes, other, prng)),
    );
  }
  const found = await probeAsync([CorruptionError], async () =>
    stateOf(await LogStore.open(twin, "/log", initial)),
  );
  if (found === undefined) return "refused";
  const { entries } = found.value;
  demand(
    entries.every((line, i) => line === lines[i]),
    `a damaged log gave entries that were never written:\n${entries.join("\n")}`,
  );
  return "accepted";
}

export const logTargets: readonly Target[] = [
  head,
  base,
  slot,
  { name: "log files", weight: 0.05, play: playLog },
];
