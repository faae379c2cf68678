/**
 * What goes into the core and what comes out, as types. The whole border of the room, apart from the messages
 * between nodes (messages.ts).
 *
 * The one rule of `Ready`: hard state and entries become durable *before* any of `messages` is sent. `messagesNow`
 * holds nothing that is a promise about this node's own disk, so it may leave while the fsync runs: a leader's
 * appends [Raft thesis §10.2.1] and the traffic of reads. Committed entries are applied in LSN order; nothing else
 * is ordered.
 */

import type { Prng } from "../base/prng.ts";
import type {
  Entry,
  EntryId,
  Lsn,
  Member,
  MemberKind,
  Membership,
  NodeId,
  Priority,
  Role,
  Settings,
  SnapshotId,
  Term,
} from "../vocabulary.ts";
import type { Envelope } from "./messages.ts";
import type { TermRun } from "./term-runs.ts";

/** What a node must never forget. Durable before any message that depends on it [Raft Figure 2]. */
export type HardState = {
  readonly term: Term;
  /** Whom this node voted for in `term`. */
  readonly vote: NodeId | undefined;
  /** Whether this node ever held a full log. False on a new node and on one that lost its disk; see election.ts. */
  readonly born: boolean;
};

/** Intervals on the monotonic clock, in milliseconds. `limits` has them all under the same names. */
export type Timing = {
  readonly heartbeatMs: number;
  readonly electionTimeoutMinMs: number;
  readonly electionTimeoutMaxMs: number;
  readonly leaseMs: number;
  readonly leaseOverMs: number;
};

/** Everything a node knows when it starts. */
export type RaftConfig = {
  readonly id: NodeId;
  readonly prng: Prng;
  readonly nowMs: number;
  /** Taken from limits.ts when absent. */
  readonly timing?: Timing | undefined;
  readonly hardState: HardState;
  /** Where the log starts. LSN 0 with the initial membership on a new cluster. */
  readonly base: SnapshotId;
  /** Terms of the entries after the base. */
  readonly termRuns: readonly TermRun[];
  /** The last entry; the base itself when the log is empty. */
  readonly last: EntryId;
  readonly lastChain: string;
  /** Membership entries after the base, ascending. */
  readonly memberships: readonly { readonly lsn: Lsn; readonly membership: Membership }[];
  /** Settings entries after the base, ascending. None when absent. */
  readonly settings?: readonly { readonly lsn: Lsn; readonly settings: Settings }[] | undefined;
  /** At least what was applied. */
  readonly committedLsn: Lsn;
};

/** Answer to a read index: everything up to `lsn` must be applied before the read. Undefined: refused, ask again. */
export type ReadGrant = { readonly id: number; readonly lsn: Lsn | undefined };

/** Work for the driver. Handed out by `ready()`, given back by `advance()` once it is done. */
export type Ready = {
  /** Changed term, vote or birth. */
  readonly hardState: HardState | undefined;
  /** Replace everything in the log from `entries[0].lsn` on. */
  readonly entries: readonly Entry[];
  /** May leave beside the fsync. To one node they are sent in order, and before `messages`. */
  readonly messagesNow: readonly Envelope[];
  /** Only after hard state and entries are durable. */
  readonly messages: readonly Envelope[];
  /** Apply up to here. Falls only by `yieldFrom`. */
  readonly committedLsn: Lsn;
  readonly reads: readonly ReadGrant[];
  /** On a leader: these followers need page sync, because the log no longer reaches back to them. */
  readonly snapshotsWanted: readonly NodeId[];
  /**
   * The leader has other entries from here on, and a weak commit rule may have committed ours: keep what they say, then
   * call `yieldFrom`. Asked again until it is done.
   */
  readonly keepFrom: Lsn | undefined;
};

/**
 * Why nothing was done. Refusals are values: nothing has happened, and the caller may do something else.
 *   not-leader          only a leader can do this
 *   no-leader           and nobody knows of one
 *   not-ready           the leader has not yet committed an entry of its own term
 *   too-many-in-flight  proposed and not committed: limits.uncommittedBytesMax
 *   transferring        leadership is being handed over
 *   not-manual          leaders are elected here, not promoted
 *   promotion-refused   this node is no voter, or its database is damaged
 *   transfer-refused    the target is no other voter
 *   membership-busy     the last change is not yet committed
 *   settings-busy       the last change is not yet committed
 *   membership-refused  the change makes no sense: unknown node, known node, last voter
 */
export type Refusal =
  | "not-leader"
  | "no-leader"
  | "not-ready"
  | "too-many-in-flight"
  | "transferring"
  | "not-manual"
  | "promotion-refused"
  | "transfer-refused"
  | "membership-busy"
  | "settings-busy"
  | "membership-refused";

export type Proposal =
  | { readonly accepted: true; readonly entry: Entry }
  | { readonly accepted: false; readonly why: Refusal };

/** The core at a glance, for status pages and for the driver's decisions. A copy. */
export type RaftStatus = {
  readonly id: NodeId;
  readonly role: Role;
  readonly term: Term;
  readonly born: boolean;
  readonly leader: NodeId | undefined;
  readonly committedLsn: Lsn;
  /** On a majority, as far as this node knows. By a weak commit rule it may be less than what is committed. */
  readonly safeLsn: Lsn;
  /** On a leader: copies are missing, and settings let a weaker commit rule do meanwhile. */
  readonly degraded: boolean;
  /** On a leader: an entry of its own term is committed, so that it knows everything that is. */
  readonly committedInTerm: boolean;
  readonly last: EntryId;
  readonly durableLsn: Lsn;
  readonly membership: Membership;
  /** Agreed on: those of the latest settings entry that is committed. */
  readonly settings: Settings;
  /** Where the latest settings stand, agreed on or not; the base's LSN while no entry has any. */
  readonly settingsLsn: Lsn;
  /** Whom leadership is being handed to. */
  readonly transferringTo: NodeId | undefined;
  /** On a leader: one for every other member. Otherwise empty. */
  readonly progress: readonly ProgressStatus[];
};

export type ProgressStatus = {
  readonly id: NodeId;
  readonly kind: MemberKind;
  readonly mode: "probe" | "stream" | "snapshot";
  readonly matchLsn: Lsn;
  readonly nextLsn: Lsn;
  readonly heardMs: number;
};

/** One step of a membership. `kind` turns a member into another kind of member, `priority` its rank as a leader,
 * `address` where it is. */
export type MembershipChange =
  | { readonly type: "add"; readonly member: Member }
  | { readonly type: "remove"; readonly id: NodeId }
  | { readonly type: "kind"; readonly id: NodeId; readonly kind: MemberKind }
  | { readonly type: "priority"; readonly id: NodeId; readonly priority: Priority }
  | { readonly type: "address"; readonly id: NodeId; readonly address: string };
