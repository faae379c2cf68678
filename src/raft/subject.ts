/**
 * One core on a bench: node "a" of a cluster of one-letter nodes, for tests that speak for all the others.
 */

import assert from "node:assert/strict";
import { chainHash, zeroChain } from "../base/hash.ts";
import { Prng } from "../base/prng.ts";
import { limits } from "../limits.ts";
import {
  type Entry,
  type EntryId,
  lsn,
  type Membership,
  nodeId,
  type Term,
  term,
} from "../vocabulary.ts";
import type { Envelope, Message } from "./messages.ts";
import { Raft, type Ready } from "./raft.ts";
import { emptyBase } from "./toy-cluster.ts";

/** Node "a" of a cluster of one-letter nodes; `step` speaks for the others. */
export class Subject {
  readonly raft: Raft;
  readonly membership: Membership;
  readonly entries: readonly Entry[];
  nowMs = 1_000;
  /** Everything that left, in order. */
  sent: Envelope[] = [];
  persisted: Ready[] = [];

  constructor(options: {
    readonly others: string;
    readonly term?: number;
    readonly vote?: string;
    /** Terms of the entries in its log. */
    readonly log?: readonly number[];
    readonly committed?: number;
    readonly seed?: number;
    /** Which of the others are learners. */
    readonly learners?: string;
    readonly born?: boolean;
    /** Milliseconds since the start; by default the silence after it is over. */
    readonly upMs?: number;
  }) {
    this.membership = ["a", ...options.others].map((id) => ({
      id: nodeId(id),
      kind: options.learners?.includes(id) ? "learner" : "voter",
      address: `${id}:1`,
    }));
    this.entries = makeLog(options.log ?? []);
    const last = this.entries.at(-1);
    this.raft = new Raft({
      id: nodeId("a"),
      prng: new Prng(options.seed ?? 1),
      nowMs: this.nowMs,
      hardState: {
        term: term(options.term ?? last?.term ?? 0),
        vote: options.vote === undefined ? undefined : nodeId(options.vote),
        born: options.born ?? true,
      },
      base: emptyBase(this.membership),
      termRuns: runsOf(this.entries),
      last: last === undefined ? id(0, 0) : id(last.lsn, last.term),
      lastChain: last?.chain ?? zeroChain,
      memberships: [],
      committedLsn: lsn(options.committed ?? 0),
    });
    this.nowMs += options.upMs ?? limits.leaseOverMs;
  }

  /** Does the work of one Ready after another. */
  drain(): void {
    for (let ready = this.raft.ready(); ready !== undefined; ready = this.raft.ready()) {
      this.persisted.push(ready);
      this.sent.push(...ready.messagesNow, ...ready.messages);
      this.raft.advance(ready);
    }
  }

  step(from: string, at: number, message: Message, entries: readonly Entry[] = []): void {
    const envelope = { from: nodeId(from), to: nodeId("a"), term: term(at), message };
    this.raft.step(envelope, entries, this.nowMs);
    this.drain();
  }

  tick(ms: number): void {
    for (let passed = 0; passed < ms; passed += limits.tickMs) {
      this.nowMs += limits.tickMs;
      this.raft.tick(this.nowMs);
      this.drain();
    }
  }

  /** What was sent to `to` since the last call to `forget`, of one type. */
  toldOf<T extends Message["type"]>(type: T, to?: string): Extract<Message, { type: T }>[] {
    return this.sent
      .filter((envelope) => to === undefined || envelope.to === to)
      .map((envelope) => envelope.message)
      .filter((message) => message.type === type) as Extract<Message, { type: T }>[];
  }

  forget(): void {
    this.sent = [];
    this.persisted = [];
  }

  /** Wins the next election with the vote of everyone named. */
  lead(...voters: string[]): void {
    this.stand(...voters);
    for (const voter of voters) {
      this.step(voter, this.term, { type: "vote-reply", verdict: "granted" });
    }
    assert.equal(this.raft.status().role, "leader");
  }

  /** Becomes a candidate of the next term. */
  stand(...voters: string[]): void {
    const before = this.term;
    this.tick(limits.electionTimeoutMaxMs);
    const forTerm = term(before + 1);
    for (const voter of voters) {
      this.step(voter, before, { type: "prevote-reply", forTerm, verdict: "granted" });
    }
    assert.equal(this.term, forTerm);
  }

  get term(): Term {
    return this.raft.status().term;
  }
}

/** An identity in few letters. */
export function id(at: number, of: number): EntryId {
  return { lsn: lsn(at), term: term(of) };
}

/** Entries from LSN 1 on, of these terms. */
export function makeLog(terms: readonly number[], salt = ""): Entry[] {
  const entries: Entry[] = [];
  for (const [i, of] of terms.entries()) {
    const body = new TextEncoder().encode(`${salt}${i + 1}@${of}`);
    const next = { ...id(i + 1, of), kind: "payload" as const, body };
    entries.push({ ...next, chain: chainHash(entries.at(-1)?.chain ?? zeroChain, next) });
  }
  return entries;
}

function runsOf(entries: readonly Entry[]): { from: Entry["lsn"]; term: Term }[] {
  return entries
    .filter((entry, i) => entries[i - 1]?.term !== entry.term)
    .map((entry) => ({ from: entry.lsn, term: entry.term }));
}

/** An append of the first broadcast. */
export function append(prev: EntryId, entries: readonly Entry[], committed = 0): Message {
  const from = lsn(prev.lsn + 1);
  const range = { from, to: lsn(from + entries.length) };
  const stamp = { round: 1, sentMs: 0 };
  return { type: "append", prev, range, committedLsn: lsn(committed), stamp };
}

/** An answer to the first broadcast. */
export function appended(match: number, sentMs = 0): Message {
  return { type: "appended", matchLsn: lsn(match), stamp: { round: 1, sentMs }, born: true };
}

/** A request for a vote by a born candidate. */
export function vote(last: EntryId): Message {
  return { type: "vote", last, born: true, transfer: false };
}
