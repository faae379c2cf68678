/**
 * What the API needs of a node. `node/` implements it; the tests of the API have a small one of their own.
 *
 * Every method that can be refused throws ClientError. Anything else that is thrown is a bug of ours, and the API
 * says so.
 */

import type { Unit } from "../db/sql/request.ts";
import type { Feed } from "../node/changes/feed.ts";
import type { RollAnswer } from "../node/delay/roll-forward.ts";
import type { DiscardedManifest } from "../node/discarded/discarded-store.ts";
import type {
  ClusterStatus,
  NodeStatus,
  NodeVerdict,
  NodeView,
  VerifyReport,
  VerifyWish,
} from "../node/report/node-status.ts";
import type { RunAnswer, RunOptions } from "../node/route/run.ts";
import type { Follower } from "../node/tree/tree.ts";
import type { FollowAnswer } from "../node/tree/upstream.ts";
import type { Member, Membership, NodeId, Priority, Settings } from "../vocabulary.ts";

export interface Backend {
  /**
   * Runs a unit wherever it must run: here, or on the leader. With `session` it continues that transaction; when it
   * throws, that transaction is over and nothing of it is kept, unless the code is UNKNOWN_OUTCOME.
   */
  run(unit: Unit, options: RunOptions): Promise<RunAnswer>;
  /** Rolls back. An unknown session is fine: it is over already. */
  closeSession(session: string): void;
  /** As `run`, only if this node leads; otherwise ClientError NOT_LEADER. Never passes the unit on. */
  runAsLeader(unit: Unit, options: RunOptions): Promise<RunAnswer>;

  localStatus(): NodeStatus;
  /** This node by itself, quickly. */
  view(): NodeView;
  /** Asks the other nodes; those that do not answer soon are shown as unreachable. */
  status(): Promise<ClusterStatus>;
  isLeader(): boolean;
  /** Undefined when it cannot be told. */
  lagMs(): number | undefined;
  /** The node can answer reads itself. */
  ready(): boolean;
  /** It has no database and never will: it passes everything on to the leader. */
  isWitness(): boolean;

  members(): Membership;
  /** Reads the whole database of every node. */
  verify(): Promise<VerifyReport>;
  /** The part of this node. */
  verifyHere(wish: VerifyWish): Promise<NodeVerdict>;
  /** Resolves with the new leader when it leads. Without `to` the most advanced voter is taken. */
  switchover(to: NodeId | undefined): Promise<{ readonly leader: NodeId }>;
  /** Resolves when this node leads. Only under a manual coordinator. */
  promote(acceptLoss: boolean): Promise<{ readonly leader: NodeId }>;
  addMember(member: Member): Promise<void>;
  removeMember(id: NodeId): Promise<void>;
  setPriority(id: NodeId, priority: Priority): Promise<void>;
  /** What committed entries did. Throws ClientError NOT_READY on a witness. */
  changes(): Feed;
  /** A node outside the membership follows this one, or goes on doing so. */
  follow(follower: Follower): FollowAnswer;
  /** A delayed node goes to a moment and stays there; with undefined it goes back to its delay. */
  rollForward(to: string | undefined): Promise<RollAnswer>;
  /** It applies entries only a while after the others. */
  isDelayed(): boolean;
  /** What the cluster lost and this node has kept. */
  discarded(): readonly DiscardedManifest[];
  discardedContents(name: string): AsyncIterable<Uint8Array> | undefined;
  /** Changes some settings of the cluster; resolves with all of them once they are in force. */
  configure(wanted: Readonly<Record<string, unknown>>): Promise<Settings>;

  /** Gauges, and counters whose names end in `Total`, by camelCase name without prefix. */
  metrics(): Readonly<Record<string, number>>;
}
