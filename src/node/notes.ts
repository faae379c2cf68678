/**
 * What nodes tell each other beside consensus, in words of JSON on the control lane.
 *
 *   pageSyncWanted  leader to follower: the log no longer reaches back to you; fetch pages from me
 *   pageSyncEnded   follower to leader: done, my log now begins after `lsn`; or given up (no lsn)
 *   members         leader to a member that does not answer: these are the members, with their addresses
 */

import { ProtocolError } from "../base/errors.ts";
import { decodeMembership, encodeMembership } from "../raft/membership.ts";
import type { Lsn, Membership } from "../vocabulary.ts";

export type Note =
  | { readonly note: "pageSyncWanted"; readonly clusterId: string }
  | { readonly note: "pageSyncEnded"; readonly lsn: Lsn | undefined }
  | { readonly note: "members"; readonly members: Membership };

/** What goes out for a note "members": the bytes of a membership entry, in base64. */
export function membersNote(members: Membership): { note: string; members: string } {
  return { note: "members", members: Buffer.from(encodeMembership(members)).toString("base64") };
}

/** Undefined when `value` is not a note at all. Throws ProtocolError when it is a broken one. */
export function decodeNote(value: unknown): Note | undefined {
  if (typeof value !== "object" || value === null || !("note" in value)) return undefined;
  const fields = value as Record<string, unknown>;
  if (fields["note"] === "pageSyncWanted" && typeof fields["clusterId"] === "string") {
    return { note: "pageSyncWanted", clusterId: fields["clusterId"] };
  }
  if (fields["note"] === "pageSyncEnded") {
    const { lsn } = fields;
    if (lsn === undefined || lsn === null) return { note: "pageSyncEnded", lsn: undefined };
    if (Number.isSafeInteger(lsn) && (lsn as number) >= 0) {
      return { note: "pageSyncEnded", lsn: lsn as Lsn };
    }
  }
  if (fields["note"] === "members" && typeof fields["members"] === "string") {
    const bytes = new Uint8Array(Buffer.from(fields["members"], "base64"));
    return { note: "members", members: decodeMembership(bytes) };
  }
  throw new ProtocolError(`broken note ${JSON.stringify(value).slice(0, 200)}`);
}
