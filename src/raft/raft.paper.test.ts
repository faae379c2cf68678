/**
 * Sentences of the Raft paper (Ongaro and Ousterhout, extended version), each tested on one core that talks to
 * nobody: a test speaks for all the others.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "../limits.ts";
import { type EntryId, lsn, type NodeId, nodeId, term } from "../vocabulary.ts";
import { append, appended, id, makeLog, Subject, vote } from "./fixtures/subject.ts";

test("§5.1 a server whose term is smaller than the other's updates it to the larger value", () => {
  const a = new Subject({ others: "bc", term: 2 });
  a.step("b", 5, append(id(0, 0), []));
  assert.equal(a.term, 5);
});

test("§5.1 a candidate or leader whose term is out of date immediately reverts to follower", () => {
  const leader = new Subject({ others: "bc", term: 1 });
  leader.lead("b");
  leader.step("c", 9, appended(0));
  assert.equal(leader.raft.status().role, "follower");
  assert.equal(leader.term, 9);

  const candidate = new Subject({ others: "bc", term: 1 });
  candidate.stand("b");
  candidate.step("c", 9, { type: "vote-reply", verdict: "refused" });
  assert.equal(candidate.raft.status().role, "follower");
});

test("§5.1 if a server receives a request with a stale term number, it rejects the request", () => {
  const a = new Subject({ others: "bc", term: 3, log: [1] });
  const entries = makeLog([1, 2]).slice(1);
  a.step("b", 2, append(id(1, 1), entries), entries);
  assert.equal(a.raft.status().last.lsn, 1);
  assert.equal(a.toldOf("append-refused", "b").length, 1);
  a.step("c", 2, vote(id(9, 2)));
  assert.deepEqual(a.toldOf("vote-reply", "c"), [{ type: "vote-reply", verdict: "refused" }]);
  assert.ok(a.sent.every((envelope) => envelope.term === 3));
});

test("§5.2 when servers start up, they begin as followers", () => {
  assert.equal(new Subject({ others: "bc" }).raft.status().role, "follower");
});

test("§5.2 a server remains in follower state as long as it receives valid messages from a leader", () => {
  const a = new Subject({ others: "bc", term: 1 });
  for (let passed = 0; passed < 5_000; passed += 100) {
    a.step("b", 1, append(id(0, 0), []));
    a.tick(100);
  }
  assert.equal(a.raft.status().role, "follower");
  assert.equal(a.toldOf("prevote").length, 0);
});

test("§5.2 a candidate increments its term, votes for itself, and asks the others in parallel", () => {
  const a = new Subject({ others: "bcde", term: 4 });
  a.stand("b", "c");
  assert.equal(a.term, 5);
  assert.equal(a.persisted.findLast((ready) => ready.hardState)?.hardState?.vote, "a");
  const asked = a.sent.filter((envelope) => envelope.message.type === "vote");
  assert.deepEqual(
    asked.map((envelope) => envelope.to),
    ["b", "c", "d", "e"],
  );
});

test("§5.2 a candidate wins an election if it receives votes from a majority", () => {
  const cases: [others: string, voters: string, wins: boolean][] = [
    ["", "", true],
    ["b", "", false],
    ["b", "b", true],
    ["bc", "", false],
    ["bc", "c", true],
    ["bcd", "b", false],
    ["bcd", "bd", true],
    ["bcde", "b", false],
    ["bcde", "be", true],
  ];
  for (const [others, voters, wins] of cases) {
    const a = new Subject({ others, term: 1 });
    if (others === "") a.tick(limits.electionTimeoutMaxMs);
    else a.stand(...others);
    for (const voter of voters) a.step(voter, 2, { type: "vote-reply", verdict: "granted" });
    assert.equal(a.raft.status().role === "leader", wins, `${others} voted by ${voters}`);
  }
});

test("§5.2 each server votes for at most one candidate in a term, first-come-first-served", () => {
  const a = new Subject({ others: "bc", term: 1 });
  a.step("b", 2, vote(id(0, 0)));
  a.step("c", 2, vote(id(0, 0)));
  a.step("b", 2, vote(id(0, 0)));
  const verdicts = a.toldOf("vote-reply").map((reply) => reply.verdict);
  assert.deepEqual(verdicts, ["granted", "refused", "granted"]);
});

test("§5.2 a vote is remembered over a restart", () => {
  const a = new Subject({ others: "bc", term: 2, vote: "b" });
  a.step("c", 2, vote(id(5, 1)));
  assert.equal(a.toldOf("vote-reply")[0]?.verdict, "refused");
});

test("§5.2 a candidate yields to a leader of its own term, and not to one of a smaller term", () => {
  const same = new Subject({ others: "bc", term: 1 });
  same.stand("b");
  same.step("b", 2, append(id(0, 0), []));
  assert.equal(same.raft.status().role, "follower");
  assert.equal(same.raft.status().leader, "b");

  const smaller = new Subject({ others: "bc", term: 1 });
  smaller.stand("b");
  smaller.step("b", 1, append(id(0, 0), []));
  assert.equal(smaller.raft.status().role, "candidate");
});

test("§5.2 election timeouts are chosen randomly from a fixed interval", () => {
  const seen = new Set<number>();
  for (let seed = 1; seed <= 40; seed++) {
    const a = new Subject({ others: "bc", term: 1, seed });
    a.step("b", 1, append(id(0, 0), []));
    let ms = 0;
    for (; a.toldOf("prevote").length === 0; ms += limits.tickMs) a.tick(limits.tickMs);
    assert.ok(ms >= limits.electionTimeoutMinMs, `stood after ${ms} ms`);
    assert.ok(ms <= limits.electionTimeoutMaxMs + limits.tickMs, `stood only after ${ms} ms`);
    seen.add(ms);
  }
  assert.ok(seen.size > 20, "the same timeout again and again");
});

test("§5.3 the leader appends the command, then issues AppendEntries in parallel to the others", () => {
  const a = new Subject({ others: "bc", term: 1 });
  a.lead("b");
  a.step("b", 2, appended(1));
  a.step("c", 2, appended(1));
  a.forget();
  const proposal = a.raft.propose("payload", new Uint8Array([1]), a.nowMs);
  assert.ok(proposal.accepted);
  a.raft.propose("payload", new Uint8Array([2]), a.nowMs);
  a.drain();
  for (const follower of ["b", "c"]) {
    const ranges = a.toldOf("append", follower).map((message) => message.range);
    assert.deepEqual(ranges, [{ from: 2, to: 4 }], "both entries leave in one append");
  }
});

test("§5.3 an entry is committed once its leader has replicated it on a majority of the servers", () => {
  const a = new Subject({ others: "bcde", term: 1 });
  a.lead("b", "c");
  a.step("b", 2, appended(1));
  assert.equal(a.raft.status().committedLsn, 0);
  a.step("c", 2, appended(1));
  assert.equal(a.raft.status().committedLsn, 1);
});

test("§5.3 the leader includes the highest committed index in future AppendEntries", () => {
  const a = new Subject({ others: "bc", term: 1 });
  a.lead("b");
  a.forget();
  a.step("b", 2, appended(1));
  assert.equal(a.toldOf("append", "b").at(-1)?.committedLsn, 1);
});

test("§5.3 a follower without an entry of the same index and term refuses the new entries", () => {
  for (const prev of [id(2, 1), id(2, 3), id(3, 2), id(9, 2)]) {
    const a = new Subject({ others: "bc", term: 3, log: [1, 2] });
    const entries = makeLog([1, 2, 3, 3, 3, 3, 3, 3, 3, 3]).slice(prev.lsn, prev.lsn + 1);
    a.step("b", 3, append(prev, entries), entries);
    assert.equal(a.toldOf("append-refused", "b").length, 1);
    assert.equal(a.raft.status().last.lsn, 2);
  }
});

test("§5.3 the leader forces the followers' logs to duplicate its own (Figure 7)", () => {
  const leaderTerms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  const followers = [
    [1, 1, 1, 4, 4, 5, 5, 6, 6],
    [1, 1, 1, 4],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    [1, 1, 1, 4, 4, 4, 4],
    [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  ];
  for (const log of followers) {
    const leader = new Subject({ others: "bc", term: 7, log: leaderTerms });
    leader.lead("c");
    // The no-op of term 8 ends the leader's log.
    const full = [...leader.entries, leader.persisted.flatMap((ready) => ready.entries).at(-1)!];
    const follower = new Subject({ others: "bc", term: 7, log });
    for (let trips = 0; follower.raft.status().last.term !== 8; trips++) {
      assert.ok(trips < 8, "too many round trips");
      const [request, reply] = [leader.toldOf("append", "b").at(-1)!, () => follower.sent.at(-1)!];
      const { from, to } = request.range;
      follower.step("b", 8, request, full.slice(from - 1, to - 1));
      leader.step("b", 8, reply().message);
    }
    assert.deepEqual(follower.raft.status().last, id(11, 8));
    assert.equal(leader.raft.status().progress[0]?.matchLsn, 11);
  }
});

test("§5.3 a leader never overwrites or deletes entries in its own log", () => {
  const a = new Subject({ others: "bc", term: 1, log: [1, 1] });
  a.lead("b");
  const refusal = { type: "append-refused", prevLsn: lsn(2), hint: id(0, 0) } as const;
  a.step("b", 2, { ...refusal, stamp: { round: 1, sentMs: 0 }, born: true });
  assert.equal(a.raft.status().last.lsn, 3);
});

test("§5.4.1 the voter denies its vote if its own log is more up-to-date", () => {
  const cases: [last: EntryId, verdict: string][] = [
    [id(2, 2), "refused"],
    [id(3, 2), "granted"],
    [id(4, 2), "granted"],
    [id(9, 1), "refused"],
    [id(1, 3), "granted"],
  ];
  for (const [last, verdict] of cases) {
    const a = new Subject({ others: "bc", term: 2, log: [1, 2, 2] });
    a.step("b", 5, vote(last));
    assert.equal(a.toldOf("vote-reply")[0]?.verdict, verdict, `${last.lsn}@${last.term}`);
  }
});

test("§5.4.2 only entries of the leader's current term are committed by counting (Figure 8)", () => {
  const a = new Subject({ others: "bcde", term: 3, log: [1, 2] });
  a.lead("b", "c");
  a.step("b", 4, appended(2));
  a.step("c", 4, appended(2));
  a.step("d", 4, appended(2));
  assert.equal(a.raft.status().committedLsn, 0, "entry 2 is on four disks, and of term 2");
  a.step("b", 4, appended(3));
  a.step("c", 4, appended(3));
  assert.equal(a.raft.status().committedLsn, 3, "and is committed with an entry of term 4");
});

test("§5.5 Raft RPCs are idempotent: an append that is there is ignored, and acknowledged", () => {
  const log = makeLog([1, 1, 1]);
  const a = new Subject({ others: "bc", term: 1 });
  a.step("b", 1, append(id(0, 0), log), log);
  a.forget();
  const [first, second] = [log.slice(0, 1), log.slice(1, 2)];
  a.step("b", 1, append(id(0, 0), first), first);
  a.step("b", 1, append(id(1, 1), second), second);
  assert.equal(a.persisted.flatMap((ready) => ready.entries).length, 0);
  assert.equal(a.raft.status().last.lsn, 3);
  const matches = a.toldOf("appended", "b").map((message) => message.matchLsn);
  assert.deepEqual(matches, [1, 2], "and only what was mentioned is acknowledged");
});

test("§5.3 a follower commits only up to the last entry that is known to match", () => {
  const a = new Subject({ others: "bc", term: 2, log: [1, 1, 1] });
  a.step("b", 2, append(id(1, 1), [], 3));
  assert.equal(a.raft.status().committedLsn, 1);
});

test("§6 a server uses the latest configuration in its log, whether committed or not", () => {
  const a = new Subject({ others: "bc", term: 1 });
  a.lead("b");
  a.step("b", 2, appended(1));
  const change = { type: "remove", id: nodeId("c") } as const;
  assert.ok(a.raft.changeMembership(change, a.nowMs).accepted);
  assert.deepEqual(memberIds(a), ["a", "b"]);
  a.drain();
  assert.equal(a.raft.status().committedLsn, 1, "two of two are needed now");
  a.step("b", 2, appended(2));
  assert.equal(a.raft.status().committedLsn, 2);
});

test("thesis §4.1 one change at a time, and none before the leader has committed in its term", () => {
  const a = new Subject({ others: "bc", term: 1 });
  a.lead("b");
  const change = { type: "remove", id: nodeId("c") } as const;
  assert.deepEqual(a.raft.changeMembership(change, a.nowMs), { accepted: false, why: "not-ready" });
  a.step("b", 2, appended(1));
  assert.ok(a.raft.changeMembership(change, a.nowMs).accepted);
  const next = { type: "remove", id: nodeId("b") } as const;
  const refused = a.raft.changeMembership(next, a.nowMs);
  assert.deepEqual(refused, { accepted: false, why: "membership-busy" });
});

test("thesis §6.4 a leader answers a read index only after a majority answered a later broadcast", () => {
  const a = new Subject({ others: "bc", term: 1 });
  a.lead("b");
  a.step("b", 2, appended(1));
  a.forget();
  const reads = () => a.persisted.flatMap((ready) => ready.reads);
  a.raft.readIndex(1, a.nowMs);
  a.drain();
  assert.deepEqual(reads(), []);
  a.step("b", 2, appended(1));
  assert.deepEqual(reads(), [], "an answer to an earlier broadcast proves nothing");
  const { stamp } = a.toldOf("append", "c").at(-1)!;
  a.step("c", 2, { type: "appended", matchLsn: lsn(1), stamp, born: true });
  assert.deepEqual(reads(), [{ id: 1, lsn: 1 }]);
});

test("thesis §10.2.1 appends may leave beside the leader's fsync, and nothing else that promises may", () => {
  const a = new Subject({ others: "bc", term: 1 });
  a.lead("b");
  a.step("b", 2, appended(1));
  a.step("c", 2, appended(1));
  a.raft.propose("payload", new Uint8Array([1]), a.nowMs);
  const ready = a.raft.ready()!;
  assert.equal(ready.entries.length, 1);
  assert.equal(ready.messagesNow.length, 2);
  a.raft.step(
    { from: nodeId("b"), to: nodeId("a"), term: term(2), message: appended(2) },
    [],
    a.nowMs,
  );
  assert.equal(a.raft.status().committedLsn, 1, "our own disk is not done");
  a.raft.advance(ready);
  assert.equal(a.raft.status().committedLsn, 2);
});

function memberIds(a: Subject): NodeId[] {
  return a.raft.status().membership.map((member) => member.id);
}
