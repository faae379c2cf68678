/**
 * Who should rather lead: a priority per voter. It speaks in elections only as politeness (election.ts), so that
 * neither safety nor the end of an election depends on it; the lead moves by orderly transfers.
 *
 * Not here: how a priority is stored (membership.ts), when the lead moves (node/lead/).
 */

import type { Member, Priority } from "../../vocabulary.ts";

/** Bound of a priority. */
export const priorityMax = 100;

/** Whether a number is a priority. */
export function isPriority(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= priorityMax;
}

/** What the member's priority is, said or not. */
export function priorityOf(member: Member): Priority {
  return member.priority ?? 0;
}

/**
 * Whether the member leads only to hand over: it is elected when it alone has the newest entries, accepts nothing, and
 * gives the lead away (leading.ts). Witnesses, and voters that shall never lead.
 */
export function isCaretaker(member: Member | undefined): boolean {
  return member?.kind === "witness" || (member?.kind === "voter" && member.priority === "never");
}
