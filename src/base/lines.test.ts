import assert from "node:assert/strict";
import { test } from "node:test";
import { firstLine, linesOf } from "./lines.ts";

async function* chunked(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test("lines come out whole, however the bytes were cut", async () => {
  const text = "one\n\nzwölf\nlast, without an end";
  for (let size = 1; size < 40; size++) {
    assert.deepEqual(await Array.fromAsync(linesOf(chunked(text, size))), text.split("\n"));
    const { line, rest } = await firstLine(chunked(text, size));
    assert.equal(line, "one");
    assert.equal(Buffer.concat(await Array.fromAsync(rest)).toString(), text.slice(4));
  }
  const { line, rest } = await firstLine(chunked("no end", 2));
  assert.deepEqual([line, await Array.fromAsync(rest)], ["no end", []]);
});

test("who stops reading ends the source", async () => {
  let isEnded = false;
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield Buffer.from("head\nmore");
    } finally {
      isEnded = true;
    }
  }
  const { rest } = await firstLine(endless());
  for await (const _ of rest) break;
  assert.ok(isEnded);
});
