/**
 * Runs the golden scenarios of `scenarios/`. `UPDATE=1` rewrites them; commit a changed file only if you can say why
 * each line changed.
 */

import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { runScenario } from "./fixtures/scenario.ts";

const directory = join(import.meta.dirname, "scenarios");

for (const name of readdirSync(directory).sort()) {
  test(name.replace(/\.txt$/, "").replaceAll("-", " "), () => {
    const path = join(directory, name);
    const expected = readFileSync(path, "utf8");
    const actual = runScenario(expected);
    if (process.env["UPDATE"] === "1") writeFileSync(path, actual);
    else assert.equal(actual, expected);
  });
}
