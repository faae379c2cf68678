/**
 * What nodes tell each other beside consensus, in words of JSON on the control lane.
 *
 *   pageSyncWanted  leader to follower: the log no longer reaches back to you; fetch pages from me
 *   pageSyncEnded   follower to leader: done, my log now begins after `lsn`; or given up (no lsn)
 *   logBegins       leader to a witness, in place of pageSyncWanted: your log begins after this snapshot
 *   prepareLead     leader to follower: you are about to lead; make ready for it
 *   leadPrepared    its answer
 *   tellApplied     leader to follower: a write waits until you show everything up to `lsn` to readers
 *   applied         follower to leader: now I do
 *   address         a node that has moved to all members: I am there now; `isCertain` when an operator said so
 *   reached         its answer: I have reached you there
 *   members         leader to a member that does not answer: these are the members, with their addresses
 */

import { ProtocolError } from "../base/errors.ts";
import { decodeMembership, encodeMembership } from "../raft/membership.ts";
import { settingsFrom } from "../raft/rule/settings.ts";
import {
  defaultSettings,
  type Lsn,
  type Membership,
  type SnapshotId,
  type Term,
} from "../vocabulary.ts";

export type Note =
  | { readonly note: "pageSyncWanted"; readonly clusterId: string }
  | { readonly note: "pageSyncEnded"; readonly lsn: Lsn | undefined }
  | { readonly note: "tellApplied" | "applied"; readonly lsn: Lsn }
  | { readonly note: "logBegins"; readonly clusterId: string; readonly snapshot: SnapshotId }
  | { readonly note: "prepareLead" }
  | { readonly note: "leadPrepared" }
  | { readonly note: "address"; readonly address: string; readonly isCertain: boolean }
  | { readonly note: "reached"; readonly address: string }
  | { readonly note: "members"; readonly members: Membership };

/** What goes out for a note "members": the bytes of a membership entry, in base64. */
export function membersNote(members: Membership): { note: string; members: string } {
  return { note: "members", members: Buffer.from(encodeMembership(members)).toString("base64") };
}

/** What goes out for a note "logBegins". */
export function logBeginsNote(clusterId: string, snapshot: SnapshotId): Record<string, unknown> {
  const { lsn, term, chain, membership, settings } = snapshot;
  return { ...membersNote(membership), note: "logBegins", clusterId, lsn, term, chain, settings };
}

/** Undefined when `value` is not a note at all. Throws ProtocolError when it is a broken one. */
export function decodeNote(value: unknown): Note | undefined {
  if (typeof value !== "object" || value === null || !("note" in value)) return undefined;
  const fields = value as Record<string, unknown>;
  if (fields["note"] === "pageSyncWanted" && typeof fields["clusterId"] === "string") {
    return { note: "pageSyncWanted", clusterId: fields["clusterId"] };
  }
  if (fields["note"] === "prepareLead") return { note: "prepareLead" };
  if (fields["note"] === "leadPrepared") return { note: "leadPrepared" };
  if (fields["note"] === "pageSyncEnded") {
    const { lsn } = fields;
    if (lsn === undefined || lsn === null) return { note: "pageSyncEnded", lsn: undefined };
    if (Number.isSafeInteger(lsn) && (lsn as number) >= 0) {
      return { note: "pageSyncEnded", lsn: lsn as Lsn };
    }
  }
  if (fields["note"] === "tellApplied" || fields["note"] === "applied") {
    if (isCount(fields["lsn"])) return { note: fields["note"], lsn: fields["lsn"] as Lsn };
  }
  const { address } = fields;
  if (fields["note"] === "address" && typeof address === "string") {
    return { note: "address", address, isCertain: fields["isCertain"] === true };
  }
  if (fields["note"] === "reached" && typeof address === "string") {
    return { note: "reached", address };
  }
  if (fields["note"] === "members" && typeof fields["members"] === "string") {
    return { note: "members", members: decodeMembers(fields["members"]) };
  }
  if (fields["note"] === "logBegins") {
    const { clusterId, lsn, term, chain, members } = fields;
    const isWhole = isCount(lsn) && isCount(term) && typeof clusterId === "string";
    const isChain = typeof chain === "string" && /^[0-9a-f]{16}$/.test(chain);
    if (isWhole && isChain && typeof members === "string") {
      const membership = decodeMembers(members);
      const settings = settingsFrom(fields["settings"], defaultSettings);
      const snapshot = { lsn: lsn as Lsn, term: term as Term, chain, membership, settings };
      return { note: "logBegins", clusterId, snapshot };
    }
  }
  throw new ProtocolError(`broken note ${JSON.stringify(value).slice(0, 200)}`);
}

function decodeMembers(base64: string): Membership {
  return decodeMembership(new Uint8Array(Buffer.from(base64, "base64")));
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
