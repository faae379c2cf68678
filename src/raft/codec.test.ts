/** The two gateways of the room: envelopes from peers and bodies of membership entries; and the term runs. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ProtocolError } from "../base/errors.ts";
import { lsn, type Member, type MemberKind, nodeId, term } from "../vocabulary.ts";
import { changed, decodeMembership, encodeMembership } from "./membership.ts";
import { decodeEnvelope, type Message } from "./messages.ts";
import { TermRuns } from "./term-runs.ts";

const options = { seed: 20_260_102, numRuns: 300 };
const id = { lsn: lsn(7), term: term(3) };
const stamp = { round: 4, sentMs: 12.5 };

const messages: readonly Message[] = [
  { type: "prevote", last: id, born: true },
  { type: "prevote-reply", forTerm: term(4), verdict: "reserved" },
  { type: "vote", last: id, born: false, transfer: true },
  { type: "vote-reply", verdict: "granted" },
  { type: "append", prev: id, range: { from: lsn(8), to: lsn(9) }, committedLsn: lsn(7), stamp },
  { type: "appended", matchLsn: lsn(9), stamp, born: true },
  { type: "append-refused", prevLsn: lsn(7), hint: id, stamp, born: false },
  { type: "timeout-now", round: 4 },
  { type: "read", id: 11 },
  { type: "read-reply", id: 11, lsn: lsn(7) },
  { type: "read-reply", id: 11, lsn: undefined },
];

test("every message survives the wire", () => {
  for (const message of messages) {
    const envelope = { from: nodeId("a"), to: nodeId("b"), term: term(3), message };
    assert.deepEqual(decodeEnvelope(JSON.parse(JSON.stringify(envelope))), envelope);
  }
});

test("a message with any field missing or of another type is refused", () => {
  for (const message of messages) {
    const wire = JSON.stringify({ from: "a", to: "b", term: 3, message });
    for (const path of pathsOf(JSON.parse(wire))) {
      const isOptional = message.type === "read-reply" && path.at(-1) === "lsn";
      const wrong = isOptional ? [{}, -1, 1.5] : [undefined, null, {}, "!", -1, Number.NaN];
      for (const value of wrong) {
        const broken = JSON.parse(wire);
        const parent = path.slice(0, -1).reduce((at, key) => at[key], broken);
        parent[path.at(-1)!] = value;
        // A time may be negative: it is nobody's business but the sender's.
        if (path.at(-1) === "sentMs" && value === -1) continue;
        assert.throws(() => decodeEnvelope(broken), ProtocolError, `${wire} ${path} = ${value}`);
      }
    }
  }
  for (const value of [undefined, null, 1, "x", [], {}]) {
    assert.throws(() => decodeEnvelope(value), ProtocolError);
  }
});

test("a range that does not follow the previous entry is refused", () => {
  const message = { type: "append", prev: id, committedLsn: 7, stamp, range: { from: 9, to: 9 } };
  assert.throws(() => decodeEnvelope({ from: "a", to: "b", term: 3, message }), ProtocolError);
});

const member = fc.record(
  {
    id: fc.stringMatching(/^[a-z0-9_-]{1,32}$/).map(nodeId),
    kind: fc.constantFrom<MemberKind>("voter", "learner", "witness"),
    address: fc.string({ maxLength: 40 }),
  },
  { noNullPrototype: true },
);
const membership = fc
  .uniqueArray(member, { selector: (m: Member) => m.id, maxLength: 9 })
  .map((members) => [...members].sort((a, b) => (a.id < b.id ? -1 : 1)));

test("a membership survives its codec, and no prefix of one is a membership", () => {
  fc.assert(
    fc.property(membership, (members) => {
      const body = encodeMembership(members);
      assert.deepEqual(decodeMembership(body), members);
      for (let length = 0; length < body.byteLength; length++) {
        assert.throws(() => decodeMembership(body.subarray(0, length)), ProtocolError);
      }
    }),
    options,
  );
});

test("changes that make no sense are refused", () => {
  const a = { id: nodeId("a"), kind: "voter", address: "a:1" } as const;
  const b = { id: nodeId("b"), kind: "learner", address: "b:1" } as const;
  assert.deepEqual(changed([a], { type: "add", member: b }), [a, b]);
  assert.equal(changed([a, b], { type: "add", member: b }), undefined);
  assert.equal(changed([a], { type: "remove", id: b.id }), undefined);
  assert.equal(changed([a, b], { type: "kind", id: b.id, kind: "learner" }), undefined);
  assert.equal(changed([a, b], { type: "remove", id: a.id }), undefined);
  assert.equal(changed([a], { type: "kind", id: a.id, kind: "witness" }), undefined);
});

test("term runs answer like the plain list of terms", () => {
  const script = fc.array(
    fc.record({ grow: fc.nat({ max: 3 }), cut: fc.nat({ max: 4 }), drop: fc.nat({ max: 2 }) }),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(script, (steps) => {
      const runs = new TermRuns([]);
      const list: number[] = [];
      let first = 1;
      let now = 1;
      for (const { grow, cut, drop } of steps) {
        const keep = Math.max(first, list.length + 1 - cut);
        runs.truncateFrom(lsn(keep));
        list.length = keep - 1;
        now += grow % 2;
        for (let n = 0; n < grow; n++) {
          list.push(now);
          runs.append(lsn(list.length), term(now));
        }
        if (first + drop <= list.length) {
          first += drop;
          if (drop > 0) runs.dropUpTo(lsn(first - 1));
        }
      }
      for (let at = first; at <= list.length; at++)
        assert.equal(runs.termAt(lsn(at)), list[at - 1]);
    }),
    options,
  );
});

// biome-ignore lint/suspicious/noExplicitAny: JSON of any shape.
function pathsOf(value: any, prefix: string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [prefix];
  return Object.keys(value).flatMap((key) => pathsOf(value[key], [...prefix, key]));
}

test("a membership without priorities is written as version 1, which nodes of the old version read", () => {
  const plain = [{ id: nodeId("a"), kind: "voter" as const, address: "h:1" }];
  const old = Uint8Array.from([1, 0, 1, 0, 0, 0, 1, 97, 0, 0, 0, 0, 3, 104, 58, 49]);
  assert.deepEqual(encodeMembership(plain), old);
  assert.deepEqual(decodeMembership(old), plain);
});

test("priorities survive, and are kept when the kind changes", () => {
  const before = [
    { id: nodeId("a"), kind: "voter" as const, address: "h:1", priority: 100 },
    { id: nodeId("b"), kind: "learner" as const, address: "h:2", promote: true, priority: 7 },
    { id: nodeId("c"), kind: "voter" as const, address: "h:3", priority: "never" as const },
    { id: nodeId("d"), kind: "witness" as const, address: "h:4" },
  ];
  const body = encodeMembership(before);
  assert.equal(body[0], 2);
  assert.deepEqual(decodeMembership(body), before);
  const promoted = changed(before, { type: "kind", id: nodeId("b"), kind: "voter" });
  const { promote: _, ...rest } = before[1]!;
  assert.deepEqual(promoted?.[1], { ...rest, kind: "voter" });
  const plain = changed(before, { type: "priority", id: nodeId("a"), priority: 0 });
  assert.equal(plain?.[0]?.priority, undefined);
  body[body.length - 1] = 101;
  assert.throws(() => decodeMembership(body), ProtocolError);
});

test("a member moves to an address that no other has, and stays what it is", () => {
  const members = [
    { id: nodeId("a"), kind: "learner" as const, address: "h:1", promote: true },
    { id: nodeId("b"), kind: "voter" as const, address: "h:2", priority: 5 as const },
  ];
  const to = (address: string) => changed(members, { type: "address", id: nodeId("a"), address });
  assert.deepEqual(to("h:9"), [{ ...members[0], address: "h:9" }, members[1]]);
  assert.equal(to("h:1"), undefined);
  assert.equal(to("h:2"), undefined);
  assert.equal(changed(members, { type: "address", id: nodeId("c"), address: "h:3" }), undefined);
});

test("a cluster without anyone who may lead is refused", () => {
  const members = [
    { id: nodeId("a"), kind: "voter" as const, address: "h:1" },
    { id: nodeId("b"), kind: "voter" as const, address: "h:2", priority: "never" as const },
    { id: nodeId("c"), kind: "witness" as const, address: "h:3" },
  ];
  assert.equal(changed(members, { type: "remove", id: nodeId("a") }), undefined);
  const never = { type: "priority", id: nodeId("a"), priority: "never" } as const;
  assert.equal(changed(members, never), undefined);
});
