import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { largeBodyBytes } from "../../base/body-sums.ts";
import { Channel } from "./channel.ts";

type Received = { head: unknown; body: number[] };

/** Sends through `cut`, which may deliver the bytes in any pieces, and gives what arrives. */
function roundTrip(
  messages: readonly { head: unknown; body?: Uint8Array }[],
  cut: (bytes: Buffer) => Buffer[],
): Received[] {
  const sent: Buffer[] = [];
  const out = new PassThrough();
  out.on("data", (chunk: Buffer) => sent.push(chunk));
  const sender = new Channel(out, () => {});
  for (const { head, body } of messages) sender.send(head, body);
  out.read();
  const received: Received[] = [];
  const input = new PassThrough();
  new Channel(input, (head, body) => received.push({ head, body: [...body] }));
  for (const piece of cut(Buffer.concat(sent))) input.emit("data", piece);
  return received;
}

test("frames arrive whole and in order however the bytes are cut", () => {
  const messages = [
    { head: { type: "a", text: "é \ud800 \0", n: 2n ** 63n } },
    { head: [], body: new Uint8Array([1, 2, 3]) },
    { head: { type: "b", none: undefined }, body: new Uint8Array(0) },
    { head: "last", body: new Uint8Array(300).fill(7) },
  ];
  const expected = messages.map(({ head, body }) => ({ head, body: [...(body ?? [])] }));
  assert.deepEqual(
    roundTrip(messages, (bytes) => [bytes]),
    expected,
  );
  for (const size of [1, 2, 7, 8, 9, 100]) {
    const cut = (bytes: Buffer) => {
      const pieces: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
      return pieces;
    };
    assert.deepEqual(roundTrip(messages, cut), expected, `pieces of ${size}`);
  }
});

test("a large body between small ones arrives whole however the bytes are cut", () => {
  const large = Uint8Array.from({ length: largeBodyBytes + 7 }, (_, i) => i);
  const messages = [
    { head: "before", body: new Uint8Array([1]) },
    { head: { type: "large" }, body: large },
    { head: { type: "large again" }, body: large },
    { head: "behind", body: new Uint8Array([2, 3]) },
  ];
  for (const size of [60_000, 65_536, largeBodyBytes, 3 * largeBodyBytes]) {
    const cut = (bytes: Buffer) => {
      const pieces: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
      return pieces;
    };
    const received = roundTrip(messages, cut);
    assert.deepEqual(
      received.map(({ head, body }) => ({ head, isWhole: body.length })),
      messages.map(({ head, body }) => ({ head, isWhole: body.length })),
    );
    assert.ok(received[2]!.body.every((byte, i) => byte === large[i]));
    assert.deepEqual(received[3]!.body, [2, 3]);
  }
});
