import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeTransactions } from "../../changes/steps-codec.ts";
import { limits } from "../../limits.ts";
import { encodePages } from "../../payload/pages.ts";
import { joinSections } from "../../payload/sections.ts";
import { isTooLarge } from "./run-limits.ts";

test("a record that followers would refuse to unpack is too large, however small it is packed", (t) => {
  const before = limits.transactionBytesMax;
  t.after(() => Object.assign(limits, { transactionBytesMax: before }));
  Object.assign(limits, { transactionBytesMax: 1024 * 1024 });
  const pages = encodePages(
    {
      pageSize: 4096,
      pageCount: 1,
      pgnos: new Uint32Array([1]),
      pages: new Uint8Array(4096),
      hashes: new Uint32Array(2),
    },
    0,
    false,
  );
  const of = (bytes: number) => {
    const step = { type: "changeset", bytes: new Uint8Array(bytes) } as const;
    const changes = encodeTransactions([{ steps: [step] }]);
    assert.ok(changes.byteLength < 5_000);
    const nothing = { pages: undefined, statements: undefined };
    return joinSections({ ...nothing, logKind: "rows", committedAtMs: 0, changes });
  };
  assert.equal(isTooLarge(pages, undefined), false);
  assert.equal(isTooLarge(of(1_000_000), pages), false);
  assert.equal(isTooLarge(of(1_100_000), pages), true);
});
