/**
 * Who belongs to the cluster: the codec of a membership entry, and single-server changes [Raft thesis §4].
 *
 *   offset  size  field
 *        0     1  format version, now 1
 *        1     2  number of members
 *        3     …  per member: id (u32 length, UTF-8), kind (u8), address (as id)
 *
 * kind: 0 voter, 1 learner, 2 witness, 3 learner that is to become a voter by itself.
 *
 * The entry around it carries the checksum. Members are sorted by id, and no id occurs twice.
 *
 * Voters and witnesses vote and count; learners only store. A change touches one member, so that the set of those
 * who count gains or loses at most one, and any two neighbouring majorities overlap [Raft thesis §4.1].
 *
 * Not here: when a change may be proposed (replication.ts), and which membership is in force (log-view.ts).
 */

import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import {
  type Member,
  type MemberKind,
  type Membership,
  type NodeId,
  nodeId,
  nodeIdPattern,
} from "../vocabulary.ts";
import type { MembershipChange } from "./ready.ts";

const formatVersion = 1;
const kinds: readonly MemberKind[] = ["voter", "learner", "witness"];
const promotedLearner = 3;

/** The body of a membership entry. */
export function encodeMembership(membership: Membership): Uint8Array {
  const writer = new ByteWriter().u8(formatVersion).u16(membership.length);
  for (const member of membership) {
    const isPromoted = member.kind === "learner" && member.promote === true;
    const kind = isPromoted ? promotedLearner : kinds.indexOf(member.kind);
    writer.text(member.id).u8(kind).text(member.address);
  }
  return writer.finish();
}

/** Reads the body of a membership entry. Throws ProtocolError when it is none. */
export function decodeMembership(body: Uint8Array): Membership {
  const reader = new ByteReader(body);
  const version = reader.u8();
  if (version !== formatVersion) throw new ProtocolError(`membership format ${version} is unknown`);
  const count = reader.u16();
  const members: Member[] = [];
  for (let i = 0; i < count; i++) {
    const id = reader.text();
    const code = reader.u8();
    const kind = code === promotedLearner ? "learner" : kinds[code];
    const address = reader.text();
    if (!nodeIdPattern.test(id)) throw new ProtocolError("member id is malformed");
    if (kind === undefined) throw new ProtocolError("member kind is unknown");
    if (i > 0 && members[i - 1]!.id >= id) throw new ProtocolError("members are not sorted by id");
    const member = { id: nodeId(id), kind, address };
    members.push(code === promotedLearner ? { ...member, promote: true } : member);
  }
  if (reader.left !== 0) throw new ProtocolError("membership has trailing bytes");
  return members;
}

/** Whether the member's disk and vote count towards a majority. */
export function counts(member: Member): boolean {
  return member.kind !== "learner";
}

export function memberOf(membership: Membership, id: NodeId): Member | undefined {
  return membership.find((member) => member.id === id);
}

/** The membership after one change, or undefined when the change makes no sense. */
export function changed(membership: Membership, change: MembershipChange): Membership | undefined {
  const id = change.type === "add" ? change.member.id : change.id;
  const present = memberOf(membership, id);
  const others = membership.filter((member) => member.id !== id);
  if (change.type === "add") {
    if (present !== undefined || !nodeIdPattern.test(id)) return undefined;
    return sorted([...others, change.member]);
  }
  if (present === undefined) return undefined;
  if (change.type === "kind" && present.kind === change.kind) return undefined;
  const next =
    change.type === "remove"
      ? others
      : sorted([...others, { id, kind: change.kind, address: present.address }]);
  // A cluster without anyone who may lead could never change again.
  return next.some((member) => member.kind === "voter") ? next : undefined;
}

function sorted(members: readonly Member[]): Membership {
  return [...members].sort((a, b) => (a.id < b.id ? -1 : 1));
}
