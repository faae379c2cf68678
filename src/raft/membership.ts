/**
 * Who belongs to the cluster: the codec of a membership entry, and single-server changes [Raft thesis §4].
 *
 *   offset  size  field
 *        0     1  format version: 2 when a member has a priority, else 1
 *        1     2  number of members
 *        3     …  per member: id (u32 length, UTF-8), kind (u8), address (as id), and in version 2 priority (u8)
 *
 * kind: 0 voter, 1 learner, 2 witness, 3 learner that is to become a voter by itself. priority: 0 to 100, 255 never.
 *
 * Version 1 is still written where it says everything, so that nodes of the old version go on reading: priorities are
 * for clusters whose nodes all know them.
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
import { isCaretaker, isPriority, priorityMax, priorityOf } from "./rule/priority.ts";

const plainVersion = 1;
const priorityVersion = 2;
const neverCode = 255;
const kinds: readonly MemberKind[] = ["voter", "learner", "witness"];
const promotedLearner = 3;

/** The body of a membership entry. */
export function encodeMembership(membership: Membership): Uint8Array {
  const isPlain = membership.every((member) => priorityOf(member) === 0);
  const version = isPlain ? plainVersion : priorityVersion;
  const writer = new ByteWriter().u8(version).u16(membership.length);
  for (const member of membership) {
    const isPromoted = member.kind === "learner" && member.promote === true;
    const kind = isPromoted ? promotedLearner : kinds.indexOf(member.kind);
    writer.text(member.id).u8(kind).text(member.address);
    const priority = priorityOf(member);
    if (!isPlain) writer.u8(priority === "never" ? neverCode : priority);
  }
  return writer.finish();
}

/** Reads the body of a membership entry. Throws ProtocolError when it is none. */
export function decodeMembership(body: Uint8Array): Membership {
  const reader = new ByteReader(body);
  const version = reader.u8();
  if (version !== plainVersion && version !== priorityVersion)
    throw new ProtocolError(`membership format ${version} is unknown`);
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
    const priority = version === plainVersion ? 0 : reader.u8();
    if (priority > priorityMax && priority !== neverCode) {
      throw new ProtocolError("member priority is out of range");
    }
    members.push({
      ...{ id: nodeId(id), kind, address },
      ...(code === promotedLearner ? { promote: true } : {}),
      ...(priority === 0 ? {} : { priority: priority === neverCode ? "never" : priority }),
    });
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
  const after = change.type === "remove" ? undefined : altered(present, change);
  if (change.type !== "remove" && after === undefined) return undefined;
  if (after !== undefined && others.some(({ address }) => address === after.address)) {
    return undefined;
  }
  const next = after === undefined ? others : sorted([...others, after]);
  // A cluster without anyone who may lead could never change again.
  const mayLead = (member: Member) => member.kind === "voter" && !isCaretaker(member);
  return next.some(mayLead) ? next : undefined;
}

/** Undefined when there is nothing to change, or no such thing. */
function altered(
  member: Member,
  change: Extract<MembershipChange, { type: "kind" | "priority" | "address" }>,
): Member | undefined {
  if (change.type === "address") {
    return member.address === change.address ? undefined : { ...member, address: change.address };
  }
  const { promote: _, priority, ...rest } = member;
  if (change.type === "kind") {
    if (member.kind === change.kind) return undefined;
    return { ...rest, kind: change.kind, ...(priority === undefined ? {} : { priority }) };
  }
  const isRank = change.priority === "never" || isPriority(change.priority);
  if (!isRank || change.priority === priorityOf(member)) return undefined;
  const { priority: __, ...others } = member;
  return change.priority === 0 ? others : { ...others, priority: change.priority };
}

function sorted(members: readonly Member[]): Membership {
  return [...members].sort((a, b) => (a.id < b.id ? -1 : 1));
}
