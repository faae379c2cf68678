// Records that a node keeps or gets, when they are not what they should be. Found by `npm run fuzz`.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CorruptionError, ProtocolError } from "../base/errors.ts";
import { Identity } from "../node/identity.ts";
import { readInstallRecord, writeInstallRecord } from "../node/page-sync/install-record.ts";
import { decodeAnswer } from "../node/route/forward-wire.ts";
import { decodeGenesis, encodeGenesis } from "../payload/genesis.ts";
import { decodeSync, encodeSync } from "../sync/messages.ts";
import { defaultSettings, lsn, nodeId, term } from "../vocabulary.ts";
import { SimDisk } from "./disk.ts";

const learner = { id: nodeId("d"), kind: "learner", address: "d:1", promote: true } as const;
const position = { lsn: lsn(7), term: term(2) };
const snapshot = {
  ...position,
  chain: "0123456789abcdef",
  membership: [learner],
  settings: defaultSettings,
};

describe("records", () => {
  test("an image says of a member that it is to become a voter", () => {
    const image = { pageCount: 1, checksum: { high: 1, low: 2 }, position, snapshot };
    assert.deepEqual(decodeSync(encodeSync({ type: "final", image })), { type: "final", image });
  });

  test("a plan of a page sync comes back as it was, or is called damaged", async () => {
    const disk = new SimDisk();
    await disk.makeDirectory("/n");
    const plan = { clusterId: "c", snapshot, position, checksum: "0".repeat(16) };
    await writeInstallRecord(disk, "/n", plan);
    assert.deepEqual(await readInstallRecord(disk, "/n"), plan);
    for (const text of ["", "null", "7", "{", '{"format":1}', '{"format":2,"clusterId":"c"}']) {
      await disk.replaceFile("/n/install.json", Buffer.from(text));
      await assert.rejects(readInstallRecord(disk, "/n"), CorruptionError, text);
    }
  });

  test("an identity that holds anything else is called damaged", async () => {
    const disk = new SimDisk();
    const open = () =>
      Identity.open(disk, "/n", { id: nodeId("a"), witness: undefined }, () => "ab");
    await open();
    const texts = ["null", "7", "{}", '{"format":1,"nodeId":"a","instance":"ab","clusterId":7}'];
    for (const text of [...texts, '{"format":1,"nodeId":"a","instance":""}']) {
      await disk.replaceFile("/n/identity.json", Buffer.from(text));
      await assert.rejects(open(), CorruptionError, text);
    }
  });

  test("a genesis that is none is called damaged", () => {
    const image = { pageSize: 512, pages: new Uint8Array(512) };
    const body = encodeGenesis({ clusterId: "c", image });
    assert.throws(() => decodeGenesis(body.subarray(0, 3)), CorruptionError);
    // A page size that divides the bytes but is none.
    const odd = encodeGenesis({ clusterId: "c", image: { ...image, pageSize: 1 } });
    assert.throws(() => decodeGenesis(odd), CorruptionError);
  });

  test("an answer whose first line is null is no answer", () => {
    assert.throws(() => decodeAnswer("null\n"), ProtocolError);
  });
});
