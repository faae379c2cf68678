import assert from "node:assert/strict";
import { test } from "node:test";
import { CorruptionError } from "../base/errors.ts";
import { Prng } from "../base/prng.ts";
import { defaultSettings, nodeId } from "../vocabulary.ts";
import { type BackupLabel, decodeTail, encodeTrailer } from "./backup-file.ts";

const label: BackupLabel = {
  format: 1,
  clusterId: "c1",
  takenAt: "2026-11-21T00:00:00.000Z",
  takenFrom: "10.0.0.2:7001",
  lsn: 42,
  term: 3,
  chain: "0123456789abcdef",
  pageSize: 512,
  pageCount: 7,
  checksum: "fedcba9876543210",
  membership: [{ id: nodeId("a"), kind: "voter", address: "10.0.0.1:7001" }],
};

test("a label comes back from the end of a file, and fills whole pages", () => {
  for (const pageSize of [512, 4096, 65_536]) {
    const trailer = encodeTrailer({ ...label, pageSize });
    assert.equal(trailer.byteLength % pageSize, 0);
    assert.deepEqual(decodeTail(Buffer.concat([Buffer.alloc(99, 7), trailer]), "f"), {
      ...label,
      pageSize,
    });
  }
});

test("a label carries the settings; an older one has none and is read as well", () => {
  const settings = { ...defaultSettings, commitRule: "leader" as const };
  for (const each of [{ ...label, settings }, label]) {
    assert.deepEqual(decodeTail(encodeTrailer(each), "f"), each);
  }
});

test("a trailer that is cut or has one wrong bit is refused, never believed", () => {
  const trailer = encodeTrailer(label);
  for (let length = 0; length < trailer.byteLength; length++) {
    assert.throws(() => decodeTail(trailer.subarray(0, length), "f"), CorruptionError);
  }
  const json = Buffer.from(JSON.stringify(label)).byteLength;
  const from = trailer.byteLength - 20 - json;
  const prng = new Prng(5);
  for (let i = 0; i < 2_000; i++) {
    const bytes = Buffer.from(trailer);
    const at = prng.integer(from, bytes.byteLength);
    bytes[at]! ^= 1 << prng.integer(0, 8);
    assert.throws(() => decodeTail(bytes, "f"), CorruptionError);
  }
});

test("a label whose fields make no sense is refused", () => {
  for (const wrong of [
    { pageSize: 1000 },
    { pageCount: 0 },
    { lsn: -1 },
    { checksum: "xyz" },
    { chain: 7 },
    { format: 2 },
    { membership: {} },
    { settings: [] },
    { settings: "quorum" },
  ]) {
    const bad = { ...label, ...wrong } as unknown as BackupLabel;
    assert.throws(() => decodeTail(encodeTrailer(bad), "f"), /lacks its fields/);
  }
});
