import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzz } from "../proof/fuzz/run.ts";

test("spoiled input for every decoder: refused in good order, or read and written back the same", async () => {
  const { found, cases, targets } = await fuzz({ cases: 50_000, seed: 1, only: "" });
  for (const { target, number, what } of found) {
    assert.fail(`npm run fuzz -- --only "${target}" --seed 1 --case ${number}\n${what}`);
  }
  assert.ok(cases >= 49_000, `${cases} cases`);
  // A decoder that refuses everything, or nothing, was not tried; but a seal is never forged.
  for (const [name, { accepted, refused }] of Object.entries(targets)) {
    const takesAny = ["handshake", "baton", "JSON slices"].includes(name);
    assert.ok(takesAny || (accepted > 0 && refused > 0), `${name}: ${accepted} and ${refused}`);
  }
});
