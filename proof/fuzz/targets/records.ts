/** Fuzzing of src/payload and of what a node keeps in small files or is told by another. */

import { crc32 } from "node:zlib";
import { ClientError, CorruptionError, ProtocolError } from "../../../src/base/errors.ts";
import type { Prng } from "../../../src/base/prng.ts";
import { newConnection } from "../../../src/db/stream/connection-state.ts";
import { rewindRecord } from "../../../src/node/discarded/rewind-record.ts";
import { Identity } from "../../../src/node/identity.ts";
import {
  readInstallRecord,
  writeInstallRecord,
} from "../../../src/node/page-sync/install-record.ts";
import { decodeAnswer, encodeAnswer } from "../../../src/node/route/forward-wire.ts";
import type { RunAnswer } from "../../../src/node/route/run.ts";
import { decodeGenesis, encodeGenesis } from "../../../src/payload/genesis.ts";
import { decodePages, encodePages, stampChecksum } from "../../../src/payload/pages.ts";
import { SimDisk } from "../../../src/sim/disk.ts";
import { lsn, nodeId } from "../../../src/vocabulary.ts";
import { makeChain, makeHash, makeText, makeWords } from "../make.ts";
import { makeEntryId, makePgnos, makeSnapshot } from "../make-entries.ts";
import { mutateBytes, mutateJson, pick, randomBytes } from "../mutate.ts";
import { demandSame, probeAsync } from "../rules.ts";
import { codecTarget, encoded, type Outcome, type Target } from "../target.ts";

const pages = codecTarget({
  name: "payload of pages",
  errors: [CorruptionError],
  sample: (prng) => {
    const pageSize = pick([512, 512, 4096], prng);
    const pageCount = prng.integer(1, 300);
    const pgnos = makePgnos(prng, pageCount);
    const content = new Uint8Array(pgnos.length * pageSize);
    // Some compress and some do not.
    if (prng.chance(0.5)) content.set(randomBytes(content.byteLength, prng));
    const hashes = makeWords(prng, 2 * pgnos.length);
    const set = { pageSize, pageCount, pgnos, pages: content, hashes };
    const value = { set, checksumAfter: makeHash(prng), committedAtMs: prng.u32() * 300 };
    const bytes = encodePages(set, value.committedAtMs, prng.chance(0.5));
    stampChecksum(bytes, value.checksumAfter);
    return { bytes, value };
  },
  encode: ({ set, checksumAfter, committedAtMs }) => {
    const bytes = encodePages(set, committedAtMs, true);
    stampChecksum(bytes, checksumAfter);
    return bytes;
  },
  decode: (bytes) => {
    const { set, ...rest } = decodePages(bytes);
    return { set: { ...set, pages: new Uint8Array(set.pages) }, ...rest };
  },
  mend: (bytes) => {
    if (bytes.byteLength < 48) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const end = Math.min(bytes.byteLength, 48 + 12 * view.getUint32(12));
    view.setUint32(32, bytes.byteLength - end);
    view.setUint32(36, crc32(bytes.subarray(48, end)));
    view.setUint32(40, crc32(bytes.subarray(end)));
    view.setUint32(4, crc32(bytes.subarray(8, 48), crc32(bytes.subarray(0, 4))));
  },
});

const genesis = codecTarget({
  name: "genesis",
  errors: [CorruptionError],
  sample: encoded((prng) => {
    const pageSize = pick([512, 1024], prng);
    const bytes = randomBytes(pageSize * prng.integer(1, 3), prng);
    return { clusterId: makeText(prng), image: { pageSize, pages: bytes } };
  }, encodeGenesis),
  encode: encodeGenesis,
  decode: decodeGenesis,
});

const settings = { foreign_keys: "1", recursive_triggers: "0" };

const answer = codecTarget<RunAnswer>({
  name: "forwarded answer",
  errors: [ProtocolError],
  sample: encoded(
    (prng) => {
      const id = makeEntryId(prng);
      const small = { lsn: id.lsn % 1e15, term: id.term % 1e15 } as typeof id;
      return {
        results: Array.from({ length: prng.integer(0, 4) }, () => makeText(prng)),
        position: small,
        session: pick([undefined, makeText(prng)], prng),
        connection: pick([undefined, newConnection, { ...newConnection, settings }], prng),
        acked: pick([undefined, "quorum", "all"] as const, prng),
      };
    },
    (value) => Buffer.from(encodeAnswer(value)),
  ),
  encode: (value) => Buffer.from(encodeAnswer(value)),
  decode: (bytes) => decodeAnswer(Buffer.from(bytes).toString()),
});

async function playIdentity(prng: Prng): Promise<Outcome> {
  const disk = new SimDisk();
  const self = { id: nodeId("a"), witness: undefined };
  const open = () => Identity.open(disk, "/n", self, (n) => "ab".repeat(n));
  const made = await open();
  if (prng.chance(0.5)) await made.adopt("c1");
  const path = "/n/identity.json";
  const record: unknown = JSON.parse(Buffer.from(await disk.readFile(path)).toString());
  const isWhole = prng.chance(0.1);
  if (!isWhole) await disk.replaceFile(path, spoiledJson(record, prng));
  const found = await probeAsync([CorruptionError, ClientError], open);
  if (found === undefined) return "refused";
  if (isWhole) demandSame(found.value.clusterId, made.clusterId, "an identity changed");
  return "accepted";
}

async function playInstall(prng: Prng): Promise<Outcome> {
  const disk = new SimDisk();
  await disk.makeDirectory("/n");
  const record = {
    clusterId: makeText(prng),
    snapshot: makeSnapshot(prng),
    position: makeEntryId(prng),
    checksum: makeChain(prng),
  } as const;
  await writeInstallRecord(disk, "/n", record);
  const isWhole = prng.chance(0.1);
  if (!isWhole) await disk.replaceFile("/n/install.json", spoiledJson(record, prng));
  const found = await probeAsync([CorruptionError], () => readInstallRecord(disk, "/n"));
  if (found === undefined) return "refused";
  if (isWhole) demandSame(found.value, record, "a plan changed");
  await writeInstallRecord(disk, "/n", found.value!);
  demandSame(await readInstallRecord(disk, "/n"), found.value, "a plan that was accepted changed");
  return "accepted";
}

async function playRewind(prng: Prng): Promise<Outcome> {
  const disk = new SimDisk();
  await disk.makeDirectory("/n");
  const record = { format: 1, from: lsn(prng.integer(1, 99)), why: makeText(prng) } as const;
  await rewindRecord.write(disk, "/n", record);
  const isWhole = prng.chance(0.1);
  if (!isWhole) await disk.replaceFile("/n/rewind.json", spoiledJson(record, prng));
  const found = await probeAsync([CorruptionError], () => rewindRecord.read(disk, "/n"));
  if (found === undefined) return "refused";
  if (isWhole) demandSame(found.value, record, "a note of a rewind changed");
  return "accepted";
}

function spoiledJson(record: unknown, prng: Prng): Uint8Array {
  if (prng.chance(0.7)) return Buffer.from(mutateJson(record, [record], prng));
  const bytes = new Uint8Array(Buffer.from(JSON.stringify(record)));
  return mutateBytes(bytes, bytes, prng);
}

export const recordTargets: readonly Target[] = [
  pages,
  genesis,
  answer,
  { name: "identity", weight: 0.5, play: playIdentity },
  { name: "note of a rewind", weight: 0.3, play: playRewind },
  { name: "plan of a page sync", weight: 0.5, play: playInstall },
];
