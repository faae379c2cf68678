/** What the tests of the log share: chained entries, and the visible state of a log as plain values. */

import { chainHash, zeroChain } from "../base/hash.ts";
import { encodeMembership } from "../raft/membership.ts";
import {
  defaultSettings,
  type Entry,
  type EntryKind,
  lsn,
  type Membership,
  nodeId,
  type SnapshotId,
  type Term,
  term,
} from "../vocabulary.ts";
import type { LogStore } from "./log-store.ts";

export const membershipOf = (...ids: string[]): Membership =>
  ids.map((id) => ({ id: nodeId(id), kind: "voter", address: `${id}:1` }));

export const initial: SnapshotId = {
  lsn: lsn(0),
  term: term(0),
  chain: zeroChain,
  membership: membershipOf("a", "b", "c"),
  settings: defaultSettings,
};

type Draft = {
  readonly term: number;
  readonly kind?: EntryKind;
  readonly body?: Uint8Array;
};

/** Entries that follow `before`, one per draft. */
export function chained(
  before: { readonly lsn: number; readonly chain: string },
  drafts: readonly Draft[],
): Entry[] {
  let { chain } = before;
  return drafts.map((draft, i) => {
    const kind = draft.kind ?? "payload";
    const body = draft.body ?? textBody(`${before.lsn + 1 + i}@${draft.term}`);
    const entry = { lsn: lsn(before.lsn + 1 + i), term: draft.term as Term, kind, body };
    chain = chainHash(chain, entry);
    return { ...entry, chain };
  });
}

/** Entries with bodies of `bytes` bytes that look random and differ from each other. */
export function filled(
  before: { readonly lsn: number; readonly chain: string },
  { count, bytes, term: t = 1 }: { count: number; bytes: number; term?: number },
): Entry[] {
  const drafts = Array.from({ length: count }, (_, i) => {
    const body = new Uint8Array(bytes);
    for (let at = 0; at < bytes; at++)
      body[at] = Math.imul(at + 1, 2654435761 + i * 40503 + t) >>> 13;
    return { term: t, body };
  });
  return chained(before, drafts);
}

export function membershipDraft(t: number, ...ids: string[]): Draft {
  return { term: t, kind: "membership", body: encodeMembership(membershipOf(...ids)) };
}

/** Where the next entry of a log continues. */
export function endOf(log: LogStore): { lsn: number; chain: string } {
  return { lsn: log.last.lsn, chain: log.lastChain };
}

/** All that a log shows, in a form that can be compared. */
export async function stateOf(log: LogStore): Promise<LogState> {
  const lines: string[] = [];
  for (let at = log.firstLsn; at <= log.last.lsn; ) {
    const entries = await log.read(at, lsn(log.last.lsn + 1), 1 << 20);
    if (entries.length === 0) throw new Error(`read gave nothing at ${at}`);
    for (const entry of entries) {
      if (entry.lsn !== at) throw new Error(`read gave ${entry.lsn} at ${at}`);
      lines.push(lineOf(entry));
      at = lsn(at + 1);
    }
  }
  return {
    base: `${log.base.lsn}@${log.base.term} ${log.base.chain}`,
    entries: lines,
    hard: hardOf(log),
  };
}

type LogState = {
  readonly base: string;
  readonly entries: readonly string[];
  readonly hard: string;
};

export function lineOf({ lsn, term, kind, chain, body }: Entry): string {
  return `${lsn}@${term} ${kind} ${chain} ${body.byteLength}`;
}

function hardOf({ hardState }: LogStore): string {
  return `${hardState.term} ${hardState.vote ?? "-"} ${hardState.born}`;
}

function textBody(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
