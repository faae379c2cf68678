/**
 * Members as they are written on a command line: `a=HOST:PORT,b=HOST:PORT,c=HOST:PORT/witness`. Without a kind a
 * member is a voter.
 *
 * Everything that contradicts itself is refused here, before anything is touched.
 */

import { type MemberKind, memberKinds, nodeIdPattern } from "../../vocabulary.ts";
import { parseMemberAddress } from "../archive/flags.ts";
import { misuse } from "../terminal.ts";

/** One member of a list. */
export type MemberSpec = {
  readonly id: string;
  readonly address: string;
  readonly kind?: MemberKind;
};

/** Reads one of `memberKinds`. Throws the misuse of `flag`. */
export function parseKind(text: string, flag: string): MemberKind {
  const kind = memberKinds.find((known) => known === text);
  if (kind !== undefined) return kind;
  throw misuse(`${flag}: "${text}" is no kind of member`, `Kinds are ${memberKinds.join(", ")}.`);
}

/** Reads a list, which must name the node `own` too and have somebody who may lead. */
export function parseMembers(text: string, flag: string, own: string): MemberSpec[] {
  const members = text.split(",").map((part) => parseMember(part.trim(), flag));
  for (const [key, values] of [
    ["id", members.map((m) => m.id)],
    ["address", members.map((m) => m.address)],
  ] as const) {
    const twice = values.find((value, i) => values.indexOf(value) !== i);
    if (twice !== undefined) throw misuse(`${flag} names the ${key} ${twice} twice`);
  }
  if (!members.some((m) => m.id === own)) {
    throw misuse(
      `${flag} does not name this node, "${own}"`,
      "List all members, this one included.",
    );
  }
  if (!members.some((m) => (m.kind ?? "voter") === "voter")) {
    throw misuse(
      `${flag} has no data node that may lead`,
      "A witness has no database and a learner no vote: at least one member must be a voter.",
    );
  }
  return members;
}

function parseMember(part: string, flag: string): MemberSpec {
  const [id = "", place] = part.split("=", 2);
  if (place === undefined || !nodeIdPattern.test(id)) {
    throw misuse(
      `${flag}: "${part}" is not ID=HOST:PORT`,
      "For example a=10.0.0.1:7001,b=10.0.0.2:7001,c=10.0.0.3:7001/witness",
    );
  }
  const slash = place.indexOf("/");
  const address = slash < 0 ? place : place.slice(0, slash);
  parseMemberAddress(address, flag);
  return slash < 0
    ? { id, address }
    : { id, address, kind: parseKind(place.slice(slash + 1), flag) };
}
