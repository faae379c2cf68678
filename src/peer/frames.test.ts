import { strict as assert } from "node:assert";
import { test } from "node:test";
import { ProtocolError } from "../base/errors.ts";
import { Prng } from "../base/prng.ts";
import { lsn, term } from "../vocabulary.ts";
import { decodeMessage, encodeMessage } from "./append-codec.ts";
import { encodeFrame, type Frame, FrameDecoder } from "./frames.ts";
import { entryOf } from "./testbed.ts";

function framesOf(bytes: Uint8Array, cut: () => number, bytesMax = 1 << 20): Frame[] {
  const decoder = new FrameDecoder(bytesMax);
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + cut();
    decoder.push(bytes.slice(at, end));
    at = end;
    for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
      frames.push(frame);
    }
  }
  return frames;
}

function randomBytes(prng: Prng, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => prng.integer(0, 256));
}

test("frames survive any cut of the stream", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const prng = new Prng(seed);
    const sent = Array.from({ length: prng.integer(1, 8) }, () => {
      const size = prng.chance(0.2) ? prng.integer(4000, 9000) : prng.integer(0, 40);
      return { type: prng.integer(0, 256), payload: randomBytes(prng, size) };
    });
    const bytes = Buffer.concat(
      sent.flatMap(({ type, payload }) => {
        const half = payload.length >> 1;
        return encodeFrame(type, [payload.subarray(0, half), payload.subarray(half)]);
      }),
    );
    assert.deepEqual(
      framesOf(bytes, () => prng.integer(1, prng.chance(0.5) ? 4 : 5000)),
      sent,
      `seed ${seed}`,
    );
  }
});

test("one wrong bit anywhere is a ProtocolError or a frame that does not end", () => {
  const bytes = Buffer.concat(encodeFrame(7, [randomBytes(new Prng(5), 60)]));
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const torn = Uint8Array.from(bytes);
    torn[bit >> 3]! ^= 1 << (bit & 7);
    try {
      assert.deepEqual(
        framesOf(torn, () => 100),
        [],
        `bit ${bit}`,
      );
    } catch (error) {
      assert.ok(error instanceof ProtocolError, `bit ${bit}: ${error}`);
    }
  }
});

test("a length over the bound is refused before its bytes are there", () => {
  const decoder = new FrameDecoder(100);
  decoder.push(Uint8Array.of(0, 0, 0, 101, 0, 0, 0, 0, 7));
  assert.throws(() => decoder.next(), ProtocolError);
  const wide = new FrameDecoder(100);
  wide.allow(101);
  wide.push(Uint8Array.of(0, 0, 0, 101, 0, 0, 0, 0, 7));
  assert.equal(wide.next(), undefined);
});

test("random bytes never do more harm than a ProtocolError", () => {
  for (let seed = 1; seed <= 500; seed++) {
    const prng = new Prng(seed);
    const bytes = randomBytes(prng, prng.integer(1, 300));
    if (prng.chance(0.8)) bytes.fill(0, 0, 3);
    try {
      framesOf(bytes, () => prng.integer(1, 30), 1024);
    } catch (error) {
      assert.ok(error instanceof ProtocolError);
    }
  }
});

test("a large frame in small chunks costs linear time", () => {
  const frame = encodeFrame(1, [new Uint8Array(64 << 20)]);
  const startedMs = performance.now();
  const decoder = new FrameDecoder(1 << 30);
  let found: Frame | undefined;
  for (const part of frame) {
    for (let at = 0; at < part.length; at += 65_536) {
      decoder.push(part.subarray(at, at + 65_536));
      found = decoder.next();
    }
  }
  assert.equal(found?.payload.byteLength, 64 << 20);
  assert.ok(performance.now() - startedMs < 1500);
});

test("an append comes back as it was, its bodies as views of the frame", () => {
  const entries = [
    { ...entryOf(0, 5), kind: "noop" as const },
    { ...entryOf(3, 6), lsn: lsn(Number.MAX_SAFE_INTEGER), term: term(2 ** 40) },
    { ...entryOf(1, 7), kind: "membership" as const, chain: "ffffffff00000001" },
    { ...entryOf(2, 8), kind: "genesis" as const },
  ];
  const parts = encodeMessage({ envelope: { ü: [1, "x"] }, entries });
  assert.ok(entries.every(({ body }) => parts.some((part) => part === body)));
  const payload = new Uint8Array(Buffer.concat(parts));
  const decoded = decodeMessage(payload);
  assert.deepEqual(decoded, { envelope: { ü: [1, "x"] }, entries });
  assert.ok(decoded.entries.every(({ body }) => body.buffer === payload.buffer));
});

test("an append that is cut, stretched or torn is a ProtocolError or another append", () => {
  const whole = new Uint8Array(
    Buffer.concat(encodeMessage({ envelope: { a: 1 }, entries: [entryOf(9), entryOf(4, 2)] })),
  );
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => decodeMessage(whole.slice(0, length)), ProtocolError, `${length}`);
  }
  assert.throws(() => decodeMessage(new Uint8Array([...whole, 0])), ProtocolError);
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const torn = whole.slice();
    torn[bit >> 3]! ^= 1 << (bit & 7);
    try {
      decodeMessage(torn);
    } catch (error) {
      assert.ok(error instanceof ProtocolError, `bit ${bit}: ${error}`);
    }
  }
});
