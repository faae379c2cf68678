/** Entries that take the disk or a link for seconds: nobody is taken for dead, and nothing large is sent twice. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { chainHash } from "../base/hash.ts";
import { limits } from "../limits.ts";
import { type Entry, type EntryId, lsn, nodeId, term } from "../vocabulary.ts";
import { append, appended, id, Subject } from "./fixtures/subject.ts";
import type { Message } from "./messages.ts";

const large = new Uint8Array(8 * limits.appendBytesMax);

/** The entry after `before`, of a size that matters. */
function largeEntry(before: Entry): Entry {
  const next = { ...id(before.lsn + 1, before.term), kind: "payload" as const, body: large };
  return { ...next, chain: chainHash(before.chain, next) };
}

/** A heartbeat of a later round. */
function beat(prev: EntryId, round: number, sentMs: number): Message {
  return { ...append(prev, []), stamp: { round, sentMs } } as Message;
}

test("a follower whose fsync runs answers that it hears the leader, and promises what is on its disk", () => {
  const a = new Subject({ others: "bc", log: [1], term: 1 });
  const [first] = a.entries;
  const entry = largeEntry(first!);
  const told = (message: Message, entries: readonly Entry[] = []) =>
    a.raft.step({ from: nodeId("b"), to: nodeId("a"), term: term(1), message }, entries, a.nowMs);
  told(append(id(1, 1), [entry]), [entry]);
  const ready = a.raft.ready()!;
  assert.equal(ready.entries.length, 1);
  assert.deepEqual(a.raft.beside(), [], "nothing was heard since");
  told(beat(id(2, 1), 7, 70));
  const [answer, ...more] = a.raft.beside();
  assert.deepEqual(more, []);
  assert.deepEqual(answer?.message, { ...appended(1), stamp: { round: 7, sentMs: 70 } });
  assert.deepEqual(a.raft.beside(), [], "once");
  a.raft.advance(ready, a.nowMs);
  const promises = a.raft.ready()!.messages.map(({ message }) => message);
  assert.deepEqual(
    promises.map((message) => message.type === "appended" && message.matchLsn),
    [2],
  );
});

test("nothing is said beside an fsync that makes a term or a vote durable", () => {
  const a = new Subject({ others: "bc", log: [1], term: 1 });
  const message = append(id(1, 1), []);
  a.raft.step({ from: nodeId("b"), to: nodeId("a"), term: term(2), message }, [], a.nowMs);
  const ready = a.raft.ready()!;
  assert.equal(ready.hardState?.term, 2);
  const again = beat(id(1, 1), 2, 20);
  a.raft.step({ from: nodeId("b"), to: nodeId("a"), term: term(2), message: again }, [], a.nowMs);
  assert.deepEqual(a.raft.beside(), []);
});

test("a leader whose own fsync runs sends heartbeats and no entries", () => {
  const a = ledBy();
  a.raft.propose("payload", large, a.nowMs);
  const ready = a.raft.ready()!;
  a.raft.propose("payload", new Uint8Array(1), a.nowMs);
  a.nowMs += limits.heartbeatMs;
  a.raft.tick(a.nowMs);
  const beats = a.raft.beside();
  assert.deepEqual(beats.map(({ to }) => to).sort(), ["b", "c"]);
  for (const { message } of beats) {
    assert.ok(message.type === "append" && message.range.from === message.range.to);
  }
  assert.deepEqual(a.raft.beside(), [], "not due");
  a.raft.advance(ready, a.nowMs);
});

test("a heartbeat that overtakes a large entry does not ask for it, so that it is sent once", () => {
  const a = ledBy();
  a.raft.propose("payload", large, a.nowMs);
  a.drain();
  const { lsn: at } = a.raft.status().last;
  a.forget();
  a.tick(limits.heartbeatMs);
  const asked = a.toldOf("append", "b");
  assert.deepEqual(
    asked.map(({ prev }) => prev.lsn),
    [at - 1],
  );
  // The follower has what was asked for.
  a.step("b", a.term, appended(at - 1, a.nowMs));
  a.tick(limits.heartbeatMs);
  assert.deepEqual(sentEntries(a), []);
  // It does not come at all: after a while it is asked for, and sent again when it is not there.
  const patienceMs = large.byteLength / limits.slowBytesPerMs;
  for (let ms = 0; ms < patienceMs; ms += 100) {
    a.tick(100);
    a.step("b", a.term, appended(at - 1, a.nowMs));
  }
  assert.deepEqual(sentEntries(a), []);
  a.tick(2 * limits.heartbeatMs);
  assert.equal(a.toldOf("append", "b").at(-1)?.prev.lsn, at);
});

test("a large entry that was dropped on its way is sent again as soon as the follower answers", () => {
  const a = ledBy();
  a.raft.propose("payload", large, a.nowMs);
  a.drain();
  const { lsn: at } = a.raft.status().last;
  a.forget();
  a.raft.entriesLost(nodeId("b"), a.nowMs);
  a.tick(limits.heartbeatMs);
  assert.deepEqual(sentEntries(a), []);
  a.step("b", a.term, appended(at - 1, a.nowMs));
  assert.deepEqual(sentEntries(a), [at]);
});

/** A leader whose followers have all but what comes next. */
function ledBy(): Subject {
  const a = new Subject({ others: "bc", log: [1], term: 1 });
  a.lead("b", "c");
  for (const other of ["b", "c"]) a.step(other, a.term, appended(a.raft.status().last.lsn));
  a.forget();
  return a;
}

/** Which entries left for "b". */
function sentEntries(a: Subject): number[] {
  return a
    .toldOf("append", "b")
    .filter(({ range }) => range.from < range.to)
    .map(({ range }) => lsn(range.from));
}
