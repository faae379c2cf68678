/**
 * What a node and a cluster say of themselves: `GET /status`, `paceline status --json`, `paceline verify --json`.
 * Other tools read these; fields are added, never renamed or removed.
 *
 * Not here: where the numbers come from.
 */

import type {
  Lsn,
  MemberKind,
  NodeId,
  Pgno,
  Priority,
  Role,
  Settings,
  Term,
} from "../../vocabulary.ts";

/** One node. Undefined is written as JSON null: not known, or the node did not answer. */
export type NodeStatus = {
  readonly id: NodeId;
  readonly url: string;
  readonly role: Role | undefined;
  readonly kind: MemberKind;
  /** How gladly it leads; undefined for what never could. */
  readonly priority: Priority | undefined;
  readonly reachable: boolean;
  /** False while this node may have promised what it does not have: it is new, or lost its disk. */
  readonly born: boolean | undefined;
  /** Highest term that this node knows. */
  readonly term: Term | undefined;
  readonly durableLsn: Lsn | undefined;
  /** Term of the entry at durableLsn. */
  readonly durableTerm: Term | undefined;
  readonly committedLsn: Lsn | undefined;
  readonly appliedLsn: Lsn | undefined;
  /**
   * How long ago this node surely had everything; 0 on the leader. Of a node that does not answer, what it said last
   * and the time since.
   */
  readonly lagMs: number | undefined;
  /** Committed entries that this node lacks, as far as it or the node that was asked knows. */
  readonly lagEntries: number | undefined;
  /** About how many bytes of the log those are. */
  readonly lagBytes: number | undefined;
  /** Of the database at appliedLsn: 16 hex digits. */
  readonly checksum: string | undefined;
  /** It keeps the rows of these tables only; undefined: of all. */
  readonly tables?: readonly string[] | undefined;
  /** The node that it follows without being a member. */
  readonly upstream?: NodeId | undefined;
  /** Nodes that follow it without being members. */
  readonly downstream?: readonly { readonly id: NodeId; readonly address: string }[] | undefined;
  /** By word of the leader: it has everything but what is on its way. Not known while no leader answers. */
  readonly inSync?: boolean | undefined;
  /** Entries are applied here only so long after the leader committed them. */
  readonly applyDelayMs?: number | undefined;
  /** A delayed node that was rolled forward stays at this position; `reached`: it is there. */
  readonly held?: { readonly at: string; readonly reached: boolean } | undefined;
  /** Directories in discarded/: entries that the cluster lost and that this node has kept. */
  readonly discarded?: number | undefined;
  /** On the leader only. */
  readonly copies?: { readonly inSync: readonly NodeId[]; readonly degraded: boolean } | undefined;
};

export type ClusterStatus = {
  readonly clusterId: string | undefined;
  readonly term: Term;
  readonly leader: NodeId | undefined;
  readonly commitRule: string;
  /** What the cluster has agreed on, the commit rule included. */
  readonly settings: Settings;
  /** Copies are missing, and a weaker commit rule does meanwhile. Not known while no leader answers. */
  readonly degraded?: boolean | undefined;
  readonly nodes: readonly NodeStatus[];
};

/**
 * One node by itself, `GET /node`: what routers and clients look at several times a second. It asks nobody, so it is
 * quick, and old only by the time it travels.
 */
export type NodeView = NodeStatus & {
  readonly clusterId: string | undefined;
  readonly term: Term;
  /** Who leads, as far as this node knows. */
  readonly leader: NodeId | undefined;
  /** It leads, and takes writes now. */
  readonly takesWrites: boolean;
  /** It has a database that it may read from. */
  readonly ready: boolean;
  readonly members: readonly {
    readonly id: NodeId;
    readonly kind: MemberKind;
    readonly url: string;
  }[];
};

/** What one node is asked to do for a verification. Nothing of these: to read its pages, and its rows. */
export type VerifyWish = {
  /** Only the pages. */
  readonly pagesOnly?: boolean | undefined;
  /** Only the rows, as of this position. */
  readonly rowsAt?: Lsn | undefined;
  /** To copy what differs from the leader: its rows were found to be others, this is why. */
  readonly differs?: string | undefined;
};

/** What one node found when it read its whole database and compared it. */
export type NodeVerdict = {
  readonly id: NodeId;
  readonly reachable: boolean;
  /** Position at which the node read its database. */
  readonly lsn: Lsn | undefined;
  readonly checksum: string | undefined;
  /** Pages read. */
  readonly pages: number | undefined;
  /** Pages whose content is not what it should be. */
  readonly damaged: readonly Pgno[];
  /** It stays behind by intention: what it shows may be too old to be compared. */
  readonly delayed?: boolean;
  /**
   * Under a logical log kind: checksums of the rows of each table, and where the node was when it read them. Without
   * tables it was not where it was wanted.
   */
  readonly content?: { readonly lsn: Lsn; readonly tables?: Readonly<Record<string, string>> };
  /** Position at which it was compared with the copy that the report names; absent when it was not. */
  readonly comparedAt?: Lsn | undefined;
  /** What is wrong, for people. Undefined when nothing is. */
  readonly problem: string | undefined;
};

export type VerifyReport = {
  /**
   * Every member was read, no page is damaged, and all that were compared are equal. Not compared is only what stays
   * behind by intention.
   */
  readonly identical: boolean;
  /** The copy that the others were compared with. */
  readonly comparedWith?: NodeId | undefined;
  readonly nodes: readonly NodeVerdict[];
};
