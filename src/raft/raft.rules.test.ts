/**
 * Rules of ours that the paper does not have, or has only in the thesis, each on one core: what may leave before an
 * fsync, who may vote when, birth, the window of a stream, page sync.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { chainHash, zeroChain } from "../base/hash.ts";
import { limits } from "../limits.ts";
import { defaultSettings, lsn, nodeId, term } from "../vocabulary.ts";
import { append, appended, id, makeLog, Subject, vote } from "./fixtures/subject.ts";
import { emptyBase } from "./fixtures/toy-cluster.ts";
import type { Memory, Message } from "./messages.ts";
import { encodeSettings } from "./rule/settings.ts";

test("a vote is refused, and its term ignored, while a leader is heard; unless that leader ordered it", () => {
  const a = new Subject({ others: "bc", term: 1 });
  a.step("b", 1, append(id(0, 0), []));
  a.nowMs += limits.electionTimeoutMinMs - 1;
  a.step("c", 5, vote(id(9, 1)));
  assert.equal(a.term, 1);
  a.nowMs += 1;
  a.step("c", 5, vote(id(9, 1)));
  assert.equal(a.term, 5);

  const ordered = new Subject({ others: "bc", term: 1 });
  ordered.step("b", 1, append(id(0, 0), []));
  ordered.step("c", 2, { type: "vote", last: id(9, 1), born: true, transfer: true });
  assert.equal(ordered.toldOf("vote-reply", "c")[0]?.verdict, "granted");
});

test("a node that starts does not vote before every lease that it may have granted is over", () => {
  const early = new Subject({ others: "bc", term: 1, upMs: limits.leaseOverMs - 1 });
  early.step("c", 5, vote(id(9, 1)));
  assert.equal(early.term, 1);
});

test("an order to stand is void once a later round of the same leader was heard", () => {
  const a = new Subject({ others: "bc", term: 1 });
  const heartbeat = { ...append(id(0, 0), []), stamp: { round: 5, sentMs: 0 } };
  a.step("b", 1, { type: "timeout-now", round: 5 });
  assert.equal(a.term, 1, "from someone who is not known to lead");
  a.step("b", 1, heartbeat);
  a.step("b", 1, { type: "timeout-now", round: 4 });
  a.step("c", 1, { type: "timeout-now", round: 9 });
  assert.equal(a.term, 1);
  a.step("b", 1, { type: "timeout-now", round: 5 });
  assert.equal(a.term, 2);
  assert.equal(a.toldOf("vote", "c")[0]?.transfer, true);
});

test("a vote leaves after its hard state", () => {
  const a = new Subject({ others: "bc", term: 1 });
  const envelope = { from: nodeId("b"), to: nodeId("a"), term: term(2), message: vote(id(0, 0)) };
  a.raft.step(envelope, [], a.nowMs);
  const ready = a.raft.ready()!;
  assert.deepEqual(ready.hardState, { term: 2, vote: "b", born: true });
  assert.deepEqual(ready.messagesNow, []);
  assert.equal(ready.messages[0]?.message.type, "vote-reply");
});

test("a lone voter's appends wait until its term is durable, or it could lead that term twice", () => {
  const a = new Subject({ others: "b", learners: "b", term: 1 });
  a.nowMs += limits.electionTimeoutMaxMs;
  a.raft.tick(a.nowMs);
  const ready = a.raft.ready()!;
  assert.equal(ready.hardState?.term, 2);
  assert.equal(ready.entries.length, 1);
  assert.deepEqual(ready.messagesNow, []);
  assert.equal(ready.messages[0]?.message.type, "append");
});

test("learners neither count nor are asked for votes", () => {
  const a = new Subject({ others: "bcd", learners: "cd", term: 1 });
  a.lead("b");
  assert.equal(a.toldOf("vote", "c").length, 0);
  a.step("c", 2, appended(1));
  a.step("d", 2, appended(1));
  assert.equal(a.raft.status().committedLsn, 0);
  a.step("b", 2, appended(1));
  assert.equal(a.raft.status().committedLsn, 1);
});

test("an fsync of entries that were replaced meanwhile counts up to the replacement", () => {
  const a = new Subject({ others: "bc", term: 1 });
  const old = makeLog([1, 1, 1], "old");
  const stepAppend = (from: string, at: number, prev: ReturnType<typeof id>, log: typeof old) => {
    const envelope = { from: nodeId(from), to: nodeId("a"), term: term(at) };
    a.raft.step({ ...envelope, message: append(prev, log) }, log, a.nowMs);
  };
  stepAppend("b", 1, id(0, 0), old);
  const ready = a.raft.ready()!;
  const next = makeLog([1, 2, 2, 2], "new").slice(1);
  stepAppend("c", 2, id(1, 1), next);
  a.raft.advance(ready);
  assert.equal(a.raft.status().durableLsn, 1);
  assert.deepEqual(a.raft.status().last, id(4, 2));
  a.drain();
  assert.equal(a.raft.status().durableLsn, 4);
});

test("what replaces a durable entry is not durable itself", () => {
  const a = new Subject({ others: "bc", log: [1, 1, 1] });
  const next = makeLog([1, 2]).slice(1);
  const envelope = { from: nodeId("b"), to: nodeId("a"), term: term(2) };
  a.raft.step({ ...envelope, message: append(id(1, 1), next) }, next, a.nowMs);
  assert.equal(a.raft.status().durableLsn, 1);
});

test("a node is born when it durably has an entry of the leader's own term that is committed", () => {
  const log = makeLog([1, 1, 2]);
  const a = new Subject({ others: "bc", born: false });
  a.step("b", 2, append(id(0, 0), log.slice(0, 2), 2), log.slice(0, 2));
  const { life } = a.toldOf("appended")[0]!;
  const confirmed = (message: Message) => ({ ...message, confirms: life }) as Message;
  a.step("b", 2, confirmed(append(id(2, 1), [], 2)));
  assert.equal(a.raft.status().born, false, "an entry of an older term proves nothing");
  const envelope = { from: nodeId("b"), to: nodeId("a"), term: term(2) };
  const rest = log.slice(2);
  const proof = confirmed(append(id(2, 1), rest, 3));
  a.raft.step({ ...envelope, message: proof }, rest, a.nowMs);
  const ready = a.raft.ready()!;
  assert.equal(ready.hardState, undefined, "hard state is written before entries");
  a.raft.advance(ready);
  assert.equal(a.raft.ready()?.hardState?.born, true);
});

test("a node is not born by a leader that does not confirm this life of it", () => {
  const log = makeLog([2]);
  const a = new Subject({ others: "bc", born: false });
  a.step("b", 2, append(id(0, 0), log, 1), log);
  a.step("b", 2, append(id(1, 2), [], 1));
  assert.equal(a.raft.status().born, false, "nothing is confirmed");
  const life = a.toldOf("appended")[0]!.life! + 1;
  a.step("b", 2, { ...append(id(1, 2), [], 1), confirms: life } as Message);
  assert.equal(a.raft.status().born, false, "another life");
});

test("a follower that is not born counts once enough others have answered a round since", () => {
  const a = new Subject({ others: "bcde", term: 1 });
  a.lead("b", "c");
  const { round } = a.toldOf("append").at(-1)!.stamp;
  const answer = (at: number, memory: Memory): Message => ({
    ...({ type: "appended", matchLsn: lsn(1), stamp: { round: at, sentMs: 0 } } as const),
    ...memory,
  });
  const lost = { born: false, life: 7, voted: true };
  a.step("b", 2, answer(round, { born: true }));
  a.step("e", 2, answer(round, lost));
  assert.equal(a.raft.status().committedLsn, 0, "two copies that count, one that does not");
  const confirmed = () => {
    a.forget();
    a.tick(limits.heartbeatMs);
    return a.toldOf("append", "e").at(-1)?.confirms;
  };
  a.step("c", 2, answer(round, { born: true }));
  assert.equal(a.raft.status().committedLsn, 1, "a majority without it");
  assert.equal(confirmed(), undefined, "both answered what was asked before it came");
  const since = a.toldOf("append", "b").at(-1)!.stamp.round;
  a.step("b", 2, answer(since, { born: true }));
  assert.equal(confirmed(), undefined, "two of the four others");
  a.step("c", 2, answer(since, { born: true }));
  assert.equal(confirmed(), 7);
  a.step("e", 2, answer(round, { born: true }));
  assert.equal(confirmed(), 7, "an answer of the life before, late");
  a.step("e", 2, answer(since, { ...lost, life: 8 }));
  assert.equal(confirmed(), undefined, "it lost its disk again");
});

test("what a follower matched before it lost its disk no longer counts", () => {
  const a = new Subject({ others: "bcde", term: 1 });
  a.lead("b", "c");
  a.step("b", 2, appended(1));
  assert.equal(a.raft.status().progress[0]?.matchLsn, 1);
  const stamp = { round: 1, sentMs: 0 };
  const refusal = { type: "append-refused", prevLsn: lsn(1), hint: id(0, 0), stamp } as const;
  a.step("b", 2, { ...refusal, born: true });
  assert.equal(a.raft.status().progress[0]?.matchLsn, 1, "an old refusal, overtaken");
  a.step("b", 2, { ...refusal, born: false });
  assert.equal(a.raft.status().progress[0]?.matchLsn, 0);
  a.step("c", 2, appended(1));
  assert.equal(a.raft.status().committedLsn, 0);
});

test("a stream stays within its window, and goes on with the answers", () => {
  const a = new Subject({ others: "b", term: 1 });
  a.lead("b");
  a.step("b", 2, appended(1));
  a.forget();
  for (let n = 0; n < limits.inFlightAppendsMax + 10; n++) {
    a.raft.propose("payload", new Uint8Array(8), a.nowMs);
    a.drain();
  }
  assert.equal(a.toldOf("append").length, limits.inFlightAppendsMax);
  a.forget();
  a.step("b", 2, appended(2));
  const [next] = a.toldOf("append").filter((message) => message.range.to > message.range.from);
  assert.deepEqual(next?.range, {
    from: limits.inFlightAppendsMax + 2,
    to: limits.inFlightAppendsMax + 12,
  });
});

test("an append holds at most its bytes, but at least one entry", () => {
  const a = new Subject({ others: "b", term: 1 });
  a.lead("b");
  a.step("b", 2, appended(1));
  a.forget();
  const sizes = [0.4, 0.4, 0.4, 3, 0.1].map((share) => Math.floor(share * limits.appendBytesMax));
  for (const size of sizes) a.raft.propose("payload", new Uint8Array(size), a.nowMs);
  a.drain();
  const ranges = a.toldOf("append").map(({ range }) => range.to - range.from);
  assert.deepEqual(ranges, [2, 1, 1, 1]);
});

test("what the driver could not fit into an append is sent again at once", () => {
  const a = new Subject({ others: "b", term: 1, log: [1, 1, 1, 1, 1, 1] });
  a.lead("b");
  a.step("b", 2, appended(0));
  a.forget();
  const stamp = { round: 1, sentMs: 0 };
  const refusal = { type: "append-refused", prevLsn: lsn(6), hint: id(0, 0), stamp } as const;
  a.step("b", 2, { ...refusal, born: true });
  a.step("b", 2, appended(2));
  const ranges = a.toldOf("append").map((message) => message.range);
  assert.deepEqual(ranges.at(-1), { from: 3, to: 8 });
});

test("proposals are refused when too many bytes wait for their commit", () => {
  const a = new Subject({ others: "b", term: 1 });
  a.lead("b");
  const body = new Uint8Array(limits.uncommittedBytesMax / 2);
  assert.ok(a.raft.propose("payload", body, a.nowMs).accepted);
  assert.ok(a.raft.propose("payload", body, a.nowMs).accepted);
  const refused = a.raft.propose("payload", body, a.nowMs);
  assert.deepEqual(refused, { accepted: false, why: "too-many-in-flight" });
  a.drain();
  a.step("b", 2, appended(3));
  assert.ok(a.raft.propose("payload", body, a.nowMs).accepted);
});

test("a log that has reached the snapshot by itself is not thrown away for it", () => {
  const a = new Subject({ others: "bc", log: [1, 1, 1], committed: 1 });
  const snapshot = { ...emptyBase(a.membership), chain: "00000000000000ff" };
  const at = (lsnNow: number, of: number) => ({ ...snapshot, ...id(lsnNow, of) });
  assert.equal(a.raft.wantsInstall(at(1, 1)), false, "committed already");
  assert.equal(a.raft.wantsInstall(at(2, 1)), false, "in the log, and perhaps counted");
  assert.equal(a.raft.wantsInstall(at(2, 2)), true, "the log is someone else's there");
  assert.equal(a.raft.wantsInstall(at(9, 1)), true);
  a.raft.installed(at(9, 1), a.nowMs);
  assert.deepEqual(a.raft.status().last, id(9, 1));
});

test("page sync that failed is asked for again only when the follower speaks", () => {
  const a = new Subject({ others: "bc", log: [1, 1, 1], committed: 3 });
  a.raft.logStartsAt({ ...emptyBase(a.membership), ...id(3, 1), chain: a.entries[2]!.chain });
  a.lead("c");
  a.step("c", 2, appended(4));
  const stamp = { round: 1, sentMs: 0 };
  const refusal = { type: "append-refused", hint: id(1, 1), stamp, born: true } as const;
  const wanted = () => a.persisted.flatMap((ready) => ready.snapshotsWanted);
  a.step("b", 2, { ...refusal, prevLsn: lsn(3) });
  assert.deepEqual(wanted(), ["b"]);
  a.raft.reportProgress(nodeId("b"), { type: "snapshot-failed" }, a.nowMs);
  a.drain();
  assert.deepEqual(wanted(), ["b"]);
  a.step("b", 2, { ...refusal, prevLsn: lsn(3) });
  assert.deepEqual(wanted(), ["b", "b"]);
});

test("a follower's read index is refused when the leader is silent for too long", () => {
  const a = new Subject({ others: "bc", term: 1 });
  assert.equal(a.raft.readIndex(1, a.nowMs), "no-leader");
  a.step("b", 1, append(id(0, 0), []));
  assert.equal(a.raft.readIndex(2, a.nowMs), undefined);
  a.tick(limits.electionTimeoutMaxMs + limits.tickMs);
  assert.deepEqual(
    a.persisted.flatMap((ready) => ready.reads),
    [{ id: 2, lsn: undefined }],
  );
});

for (const [commitRule, others, outcome] of [
  ["quorum", "bc", "leader"],
  ["all", "bc", "leader"],
  // The one that fell silent may be the old leader, which acknowledges alone.
  ["leader", "bc", "follower"],
  ["one", "bc", "leader"],
  // Two fell silent: one may be the old leader, and the other the copy that it asks for.
  ["one", "bcd", "follower"],
  ["quorum", "bcd", "leader"],
] as const) {
  test(`rule ${commitRule}: a promotion that only node b follows, of ${others.length + 1}`, () => {
    const settings = { ...defaultSettings, coordinator: "manual" as const, commitRule };
    const a = new Subject({ others, term: 1, settings });
    const expected = [...others].map(nodeId);
    const order = { aboveTerm: term(1), expected, acceptLoss: false };
    assert.equal(a.raft.promote(order, a.nowMs), undefined);
    a.drain();
    a.step("b", a.term, { type: "vote-reply", verdict: "granted" });
    assert.equal(a.raft.status().role, "candidate");
    a.tick(1_500);
    assert.equal(a.raft.status().role, outcome);
  });
}

test("a promotion counts with settings that may be in force where more is known", () => {
  const settings = { ...defaultSettings, coordinator: "manual" as const };
  const a = new Subject({ others: "bc", term: 1, settings });
  assert.equal(a.raft.fewestCopies(), 2);
  const body = encodeSettings({ ...settings, commitRule: "leader" });
  const next = { lsn: lsn(1), term: term(1), kind: "settings" as const, body };
  const entry = { ...next, chain: chainHash(zeroChain, next) };
  a.step("b", 1, append(id(0, 0), [entry]), [entry]);
  assert.equal(a.raft.fewestCopies(), 1);
});
