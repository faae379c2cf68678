/** The byte formats by themselves. That they are SQLite's is shown in db/, against SQLite's own files. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../base/prng.ts";
import { decodeWalHeader, encodeWalHeader, frameBytes } from "./format.ts";
import { FrameEncoder } from "./frame-encoder.ts";
import { blockOfFrame, frameBeforeBlock, IndexBlock } from "./index-block.ts";
import { lockPage } from "./page-size.ts";
import * as index from "./wal-index.ts";
import { WalReader } from "./wal-reader.ts";

const pageSize = 512;
const salts = { salt1: 0xfedcba98, salt2: 7 };
const { bytes: headBytes, header } = encodeWalHeader({ pageSize, checkpointSequence: 3, salts });

function someFrames(count: number): Uint8Array {
  const prng = new Prng(1);
  const encoder = new FrameEncoder(pageSize, count);
  encoder.continueFrom(salts, header.checksum);
  for (let i = 0; i < count; i++) {
    const page = Uint8Array.from({ length: pageSize }, () => prng.u32() & 0xff);
    encoder.push(i + 1, page, i === count - 1 ? count : 0);
  }
  return encoder.take().slice();
}

function validFrames(bytes: Uint8Array): number {
  return new WalReader(pageSize, salts, header.checksum).read(bytes, () => {});
}

test("a file header is read back, and refused with any bit flipped", () => {
  assert.deepEqual(decodeWalHeader(headBytes), header);
  for (let bit = 0; bit < headBytes.byteLength * 8; bit++) {
    const bad = headBytes.slice();
    bad[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(decodeWalHeader(bad), undefined, `bit ${bit}`);
  }
});

test("the valid frames end where a byte is missing or wrong", () => {
  const frames = someFrames(4);
  const size = frameBytes(pageSize);
  assert.equal(validFrames(frames), 4);
  for (let length = 0; length < frames.byteLength; length += 13) {
    assert.equal(validFrames(frames.subarray(0, length)), Math.floor(length / size));
  }
  for (let at = 0; at < frames.byteLength; at++) {
    const bad = frames.slice();
    bad[at]! ^= 0x40;
    assert.equal(validFrames(bad), Math.floor(at / size), `byte ${at}`);
  }
});

test("frames of another generation are not valid, and chunks at odd offsets are read", () => {
  const frames = someFrames(3);
  const other = new WalReader(pageSize, { ...salts, salt2: 8 }, header.checksum);
  assert.equal(
    other.read(frames, () => {}),
    0,
  );
  const shifted = new Uint8Array(frames.byteLength + 1);
  shifted.set(frames, 1);
  assert.equal(validFrames(shifted.subarray(1)), 3);
  // One by one gives the same as all at once.
  const reader = new WalReader(pageSize, salts, header.checksum);
  const seen: number[] = [];
  for (let i = 0; i < 3; i++) {
    const one = frames.subarray(i * frameBytes(pageSize), (i + 1) * frameBytes(pageSize));
    assert.equal(
      reader.read(one, (pgno) => seen.push(pgno)),
      1,
    );
  }
  assert.deepEqual(seen, [1, 2, 3]);
});

test("index headers are read back, and refused when the copies differ or a bit is wrong", () => {
  const value: index.IndexHeader = {
    change: 0xffff_ffff,
    pageSize: 65_536,
    mxFrame: 9,
    pageCount: 5,
    frameChecksum: { s1: 1, s2: 0xffff_fffe },
    salts,
  };
  const bytes = index.encodeIndexHeaders(value);
  assert.deepEqual(index.decodeIndexHeaders(bytes), value);
  assert.equal(index.sameIndexHeader(value, { ...value, mxFrame: 10 }), false);
  for (let at = 0; at < bytes.byteLength; at++) {
    const bad = bytes.slice();
    bad[at]! ^= 1;
    assert.equal(index.decodeIndexHeaders(bad), undefined, `byte ${at}`);
  }
  const bothCopies = bytes.slice();
  bothCopies[16]! ^= 1;
  bothCopies[48 + 16]! ^= 1;
  assert.equal(index.decodeIndexHeaders(bothCopies), undefined);
});

test("blocks hold 4062 and then 4096 entries", () => {
  const check = (frame: number, block: number) => assert.equal(blockOfFrame(frame), block);
  check(1, 0);
  check(4062, 0);
  check(4063, 1);
  check(4062 + 4096, 1);
  check(4062 + 4097, 2);
  assert.equal(frameBeforeBlock(0), 0);
  assert.equal(frameBeforeBlock(2), 4062 + 4096);
  assert.equal(lockPage(4096), 262_145);
});

test("a block gives all of itself once, then what changed, at multiples of eight", () => {
  const block = new IndexBlock(1);
  block.push(77);
  const first = block.takeChanged();
  assert.deepEqual([first.at, first.bytes.byteLength], [32_768, 32_768]);
  for (let i = 0; i < 100; i++) block.push(i + 1);
  const second = block.takeChanged();
  assert.equal(second.at % 8, 0);
  assert.ok(second.at <= 32_768 + 4);
  assert.equal(second.at + second.bytes.byteLength, 65_536);
  const zero = new IndexBlock(0).takeChanged();
  assert.deepEqual([zero.at, zero.bytes.byteLength], [136, 32_768 - 136]);
});
