// Looking at JSON before parsing it, and cutting it up without parsing it.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ClientError } from "../base/errors.ts";
import { limits } from "../limits.ts";
import { parseJsonObject } from "./json-body.ts";
import { elementsAt, fieldText, valueEnd } from "./json-slices.ts";

const parse = (text: string | Uint8Array, containersMax?: number) =>
  parseJsonObject(typeof text === "string" ? Buffer.from(text) : text, containersMax);

function refusalOf(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof ClientError) return error.code;
    throw error;
  }
  return undefined;
}

const nested = (depth: number) => `{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;

test("bodies that are not objects in JSON in UTF-8", () => {
  for (const bad of ["", "{", "[]", "null", "7", '{"a":}', "{'a':1}", "\ufeff{}x"]) {
    assert.equal(
      refusalOf(() => parse(bad)),
      "BAD_REQUEST",
      bad,
    );
  }
  assert.equal(
    refusalOf(() => parse(new Uint8Array([0x7b, 0xff, 0x7d]))),
    "BAD_REQUEST",
  );
  assert.equal(
    refusalOf(() => parseJsonObject(undefined)),
    "BAD_REQUEST",
  );
});

test("depth is looked at before parsing, strings are not counted", () => {
  assert.equal(
    refusalOf(() => parse(nested(limits.jsonDepthMax))),
    undefined,
  );
  assert.equal(
    refusalOf(() => parse(nested(limits.jsonDepthMax + 1))),
    "BAD_REQUEST",
  );
  const brackets = "[{".repeat(1_000);
  assert.deepEqual(
    parse(JSON.stringify({ a: `${brackets}\\"${brackets}\\` }))["a"],
    `${brackets}\\"${brackets}\\`,
  );
  const startedMs = performance.now();
  assert.equal(
    refusalOf(() => parse("[".repeat(16_000_000))),
    "BAD_REQUEST",
  );
  assert.ok(performance.now() - startedMs < 200, "a bomb costs nothing");
});

test("numbers of objects and arrays are bounded", () => {
  const body = `{"a":[${"[],".repeat(98)}[]]}`;
  assert.equal(
    refusalOf(() => parse(body, 101)),
    undefined,
  );
  assert.equal(
    refusalOf(() => parse(body, 100)),
    "BODY_TOO_LARGE",
  );
});

test("keys with a meaning in JavaScript are only keys", () => {
  const value = parse('{"__proto__":{"x":1},"constructor":2,"a":1,"a":2}');
  assert.equal(value["x"], undefined);
  assert.equal(value["a"], 2);
  assert.equal(({} as Record<string, unknown>)["x"], undefined);
});

test("pieces cut out are what parsing finds, whatever the spacing", () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.array(fc.jsonValue()),
      fc.constantFrom(0, 2),
      (object, array, indent) => {
        const text = JSON.stringify(object, undefined, indent);
        assert.equal(valueEnd(`${text},`, 0), text.length);
        for (const [key, value] of Object.entries(object)) {
          // Keys are compared as they are written, so only those without escapes can be asked for.
          if (JSON.stringify(key) !== `"${key}"`) continue;
          assert.deepEqual(JSON.parse(fieldText(text, 0, key)!), JSON.parse(JSON.stringify(value)));
        }
        assert.equal(fieldText(text, 0, "there is no such key"), undefined);
        const list = JSON.stringify(array, undefined, indent);
        const elements = [...elementsAt(list, 0)].map(({ from, to }) => list.slice(from, to));
        assert.deepEqual(
          elements.map((element) => JSON.parse(element)),
          JSON.parse(list),
        );
      },
    ),
    { seed: 1, numRuns: 200 },
  );
});
