import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { plants } from "./plants.ts";

test("what a planted bug breaks is there, once", () => {
  const root = join(import.meta.dirname, "../../..");
  for (const [name, { file, text, by }] of Object.entries(plants)) {
    const source = readFileSync(join(root, file), "utf8");
    assert.equal(source.split(text).length, 2, `${name}: ${text}`);
    assert.notEqual(text, by);
  }
});
