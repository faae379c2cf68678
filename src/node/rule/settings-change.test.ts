/** Settings that contradict each other, or the members that there are. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultSettings, type Member, nodeId, type Settings } from "../../vocabulary.ts";
import { contradictionIn } from "./settings-change.ts";

const member = (id: string, kind: Member["kind"] = "voter"): Member => ({
  ...{ id: nodeId(id), kind, address: `${id}:1` },
});

function refusal(change: Partial<Settings>, ...members: Member[]): string | undefined {
  return contradictionIn({ ...defaultSettings, ...change }, members, () => true);
}

test("beside a witness no rule may lose what it acknowledged", () => {
  const [a, b, w] = [member("a"), member("b"), member("w", "witness")];
  for (const commitRule of ["quorum", "one", "all"] as const) {
    assert.equal(refusal({ commitRule }, a, b, w), undefined, commitRule);
  }
  assert.equal(refusal({ commitRule: "all", whenCopiesMissing: "degrade" }, a, b, w), undefined);
  const weak: Partial<Settings>[] = [
    { commitRule: "leader" },
    { commitRule: "one", whenCopiesMissing: "degrade" },
  ];
  for (const change of weak) {
    assert.match(refusal(change, a, b, w) ?? "", /^w is a witness.*Choose commitRule=quorum/);
    assert.equal(refusal(change, a, b, member("c")), undefined);
  }
  const five = [a, b, member("c"), member("d")];
  assert.match(refusal({ commitRule: "one" }, ...five, w) ?? "", /witness/);
});
