/**
 * The words of Paceline, as types. One word per idea, one idea per word; the same words in code, commands, metrics
 * and documents.
 *
 *   leader, follower, candidate   roles of a node in a term
 *   voter, learner, witness       kinds of member
 *   term                          number of an election; at most one leader per term
 *   LSN                           number of an entry in the replication log, from 1, without gaps
 *   position                      `lsn@term`, printed `42@3`; given to clients for read-your-writes
 *   durable, committed, applied   on this disk / safe by the commit rule / in the served database
 *   page sync                     copying database pages that differ, when the log no longer reaches back
 *
 * Not here: how any of these is stored or sent; that belongs to the room that does it.
 */

declare const brand: unique symbol;
type Brand<T, Name> = T & { readonly [brand]: Name };

/** Number of an entry in the replication log, from 1; 0 means "before the first entry". A safe integer. */
export type Lsn = Brand<number, "Lsn">;
/** Number of an election, from 1; 0 means "before the first election". A safe integer. */
export type Term = Brand<number, "Term">;
/** Number of a database page, from 1. */
export type Pgno = Brand<number, "Pgno">;
/** Name of a node within its cluster: 1 to 32 characters of `[a-z0-9_-]`. */
export type NodeId = Brand<string, "NodeId">;

export const lsn = (n: number): Lsn => n as Lsn;
export const term = (n: number): Term => n as Term;
export const pgno = (n: number): Pgno => n as Pgno;

/** What a name of a node may look like. */
export const nodeIdPattern: RegExp = /^[a-z0-9_-]{1,32}$/;
export const nodeId = (s: string): NodeId => s as NodeId;

export type Role = "leader" | "follower" | "candidate";
export const memberKinds = ["voter", "learner", "witness"] as const;
export type MemberKind = (typeof memberKinds)[number];

/** Identity of an entry. Two entries with equal lsn and term are the same entry. */
export type EntryId = { readonly lsn: Lsn; readonly term: Term };

export const zeroEntryId: EntryId = { lsn: 0 as Lsn, term: 0 as Term };

/** How gladly a voter leads: the higher, the rather, from 0 to 100. "never": it votes and stores, and does not lead. */
export type Priority = number | "never";

/** A member of the cluster. `address` is `host:port`, opaque to consensus. */
export type Member = {
  readonly id: NodeId;
  readonly kind: MemberKind;
  readonly address: string;
  /** A learner that becomes a voter by itself once it has caught up. Absent means no. */
  readonly promote?: boolean | undefined;
  /** Absent means 0. */
  readonly priority?: Priority | undefined;
};

/** All members, sorted by id. Takes effect on a node as soon as it is in that node's log. */
export type Membership = readonly Member[];

/**
 * How many copies make a write safe.
 *   quorum  a majority of the voters; an election never loses it
 *   all     every voter
 *   one     the leader and one other voter (semi-synchronous)
 *   leader  the leader alone (asynchronous)
 */
export type CommitRule = "quorum" | "all" | "one" | "leader";

/** What travels in an entry, and how a follower takes it in. */
export type LogKind = "pages" | "rows" | "statements" | "triggers";

/**
 * What the whole cluster has agreed on, in its log. Takes effect once a majority of the voters has it, and not before:
 * nobody acts by settings that an election could drop.
 */
export type Settings = {
  readonly commitRule: CommitRule;
  /**
   * What happens to writes while too few copies can be made.
   *   wait     they wait for them
   *   fail     after copiesTimeoutMs they are answered: outcome unknown
   *   degrade  after copiesTimeoutMs the next weaker rule does, loudly, until the copies are back
   */
  readonly whenCopiesMissing: "wait" | "fail" | "degrade";
  readonly copiesTimeoutMs: number;
  readonly logKind: LogKind;
  /** Who says who leads: an election by majority, or an operator. */
  readonly coordinator: "quorum" | "manual";
  /** What entries carry beside what followers apply: for the change stream, and for what is discarded. */
  readonly record: { readonly statements: boolean; readonly changes: boolean };
  /** `PRAGMA foreign_keys` of a stream that has not set it. */
  readonly foreignKeys: "on" | "off";
  /** When a plain BEGIN takes the writer: at its first write, or at once. */
  readonly begin: "deferred" | "immediate";
};

/** Of a cluster that was never told otherwise. A field that is missing in the log or in a file has this value. */
export const defaultSettings: Settings = {
  commitRule: "quorum",
  whenCopiesMissing: "wait",
  copiesTimeoutMs: 2_000,
  logKind: "pages",
  coordinator: "quorum",
  record: { statements: false, changes: false },
  foreignKeys: "off",
  begin: "deferred",
};

/** What the first leader of a new cluster puts into its log. Clusters that are older keep what they have. */
export const newClusterSettings: Settings = { ...defaultSettings, foreignKeys: "on" };

/**
 * What an entry is about.
 *   noop        the first entry of a term; commits everything before it
 *   genesis     birth of the cluster: cluster id and the first pages of the database
 *   membership  body is a Membership
 *   settings    body is Settings
 *   payload     a change of the database, encoded by `payload/`
 */
export type EntryKind = "noop" | "genesis" | "membership" | "payload" | "settings";

/**
 * One entry of the replication log. Immutable once made; `body` is shared, never copied, never written to.
 * `chain` is a 64-bit hash (16 hex digits) over the chain of the entry before and this entry, so that equal chains
 * mean equal histories.
 */
export type Entry = {
  readonly lsn: Lsn;
  readonly term: Term;
  readonly kind: EntryKind;
  readonly chain: string;
  readonly body: Uint8Array;
};

/** A database image at one LSN: what a log may start from instead of its first entry. */
export type SnapshotId = {
  readonly lsn: Lsn;
  readonly term: Term;
  readonly chain: string;
  readonly membership: Membership;
  /** In force at that LSN, or about to be. */
  readonly settings: Settings;
};

/** `42@3`. */
export function formatPosition(id: EntryId): string {
  return `${id.lsn}@${id.term}`;
}

/** Reads `42@3`, or `42` (any term, given as 0). Undefined when the text is neither. */
export function parsePosition(text: string): EntryId | undefined {
  const match = /^(\d{1,15})(?:@(\d{1,15}))?$/.exec(text);
  if (match === null) return undefined;
  return { lsn: Number(match[1]) as Lsn, term: Number(match[2] ?? 0) as Term };
}
