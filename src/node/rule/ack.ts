/**
 * How many copies one write waits for before it is answered. It can only ask for *more* than the commit rule of the
 * cluster: nothing is answered before it is committed, whatever it asks for, so what is answered can be read.
 *
 *   leader    what the rule asks for, and nothing more
 *   one       one other voter has it on disk
 *   quorum    a majority of the voters has: no election loses it
 *   all       every voter has
 *   applied   and every voter with a database shows it to readers
 *
 * The header `paceline-ack` has one of these, with how long to wait: `all;timeoutMs=2000`.
 *
 * Not here: waiting (copies.ts).
 */

import type { CommitRule } from "../../vocabulary.ts";

export type AckLevel = CommitRule | "applied";

export type Ack = {
  readonly level: AckLevel;
  /** Undefined: as long as settings and limits say. */
  readonly timeoutMs: number | undefined;
};

/** From the weakest. */
const levels: readonly AckLevel[] = ["leader", "one", "quorum", "all", "applied"];

/** What `parseAck` accepts, for messages. */
export const ackForms = "leader, one, quorum, all or applied, and ;timeoutMs=N (1 to 30000)";

const pattern = /^(leader|one|quorum|all|applied)(?:\s*;\s*timeoutMs\s*=\s*(\d{1,5}))?$/i;

/** Reads the header `paceline-ack`. Undefined when the text is none of the forms. */
export function parseAck(text: string): Ack | undefined {
  const match = pattern.exec(text.trim());
  if (match === null) return undefined;
  const timeoutMs = match[2] === undefined ? undefined : Number(match[2]);
  if (timeoutMs !== undefined && (timeoutMs < 1 || timeoutMs > 30_000)) return undefined;
  return { level: match[1]!.toLowerCase() as AckLevel, timeoutMs };
}

export function formatAck({ level, timeoutMs }: Ack): string {
  return timeoutMs === undefined ? level : `${level};timeoutMs=${timeoutMs}`;
}

export function stronger(a: AckLevel, b: AckLevel): AckLevel {
  return levels.indexOf(a) >= levels.indexOf(b) ? a : b;
}
