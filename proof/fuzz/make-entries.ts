/** Good values of the log's own types: entries, members, settings, snapshots. Small, for a case must be cheap. */

import type { Prng } from "../../src/base/prng.ts";
import { settingsChoices } from "../../src/raft/rule/settings.ts";
import {
  type Entry,
  type EntryId,
  lsn,
  type MemberKind,
  type Membership,
  type Settings,
  type SnapshotId,
  term,
} from "../../src/vocabulary.ts";
import { makeChain, makeId, makeNumber, makeText } from "./make.ts";
import { pick, randomBytes } from "./mutate.ts";

export function makeEntryId(prng: Prng): EntryId {
  return { lsn: lsn(makeNumber(prng)), term: term(makeNumber(prng)) };
}

export function makeMembership(prng: Prng): Membership {
  const ids = new Set(Array.from({ length: prng.integer(0, 6) }, () => makeId(prng)));
  return [...ids].sort().map((id) => {
    const kind = pick<MemberKind>(["voter", "learner", "witness"], prng);
    const priority = pick(["never", prng.integer(1, 101)] as const, prng);
    const rank = kind === "voter" && prng.chance(0.2) ? { priority } : {};
    const member = { id, kind, address: prng.chance(0.9) ? `${id}:7001` : makeText(prng), ...rank };
    return kind === "learner" && prng.chance(0.5) ? { ...member, promote: true } : member;
  });
}

export function makeSnapshot(prng: Prng): SnapshotId {
  return {
    ...makeEntryId(prng),
    chain: makeChain(prng),
    membership: makeMembership(prng),
    settings: makeSettings(prng),
  };
}

export function makeSettings(prng: Prng): Settings {
  return {
    commitRule: pick(settingsChoices.commitRule, prng),
    whenCopiesMissing: pick(settingsChoices.whenCopiesMissing, prng),
    copiesTimeoutMs: prng.integer(10, 600_001),
    logKind: pick(settingsChoices.logKind, prng),
    coordinator: pick(settingsChoices.coordinator, prng),
    record: { statements: prng.chance(0.5), changes: prng.chance(0.5) },
    foreignKeys: pick(settingsChoices.foreignKeys, prng),
    begin: pick(settingsChoices.begin, prng),
  };
}

/** Not chained: codecs do not look at that. */
export function makeEntries(prng: Prng): Entry[] {
  return Array.from({ length: prng.integer(0, 5) }, () => ({
    ...makeEntryId(prng),
    kind: pick(["noop", "genesis", "membership", "payload", "settings"] as const, prng),
    chain: makeChain(prng),
    body: randomBytes(prng.chance(0.9) ? prng.integer(0, 20) : prng.integer(0, 2_000), prng),
  }));
}

/** Ascending and unique, from 1 on. */
export function makePgnos(prng: Prng, pageCount: number): Uint32Array {
  const pgnos = new Set<number>();
  for (let n = prng.integer(0, 6); n > 0; n--) pgnos.add(prng.integer(1, pageCount + 1));
  return Uint32Array.from([...pgnos].sort((a, b) => a - b));
}
