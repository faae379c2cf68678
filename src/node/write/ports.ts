/**
 * What writing needs from the rest of the node, as an interface: assemble.ts fills it in, tests have their own.
 */

import type { Recording } from "../../db/record/recording.ts";
import type { Clock } from "../../host/clock.ts";
import type { Proposal } from "../../raft/raft.ts";
import type { CommitRule, EntryId, NodeId, Term } from "../../vocabulary.ts";
import type { WriterProcess } from "../driver.ts";
import type { Ack, AckLevel } from "../rule/ack.ts";
import type { AppliedHashes } from "./head-table.ts";

/** What writing needs from the rest of the node. */
export type WritePorts = {
  readonly self: NodeId;
  readonly clock: Clock;
  /** So many random bytes, as hex digits. */
  randomHex(bytes: number): string;
  propose(body: Uint8Array): Proposal;
  last(): EntryId;
  /** Resolves once everything in the log is applied here. */
  drained(): Promise<void>;
  makeScratch(): Promise<{ path: string }>;
  hashes(): AppliedHashes;
  spawnWriter(): WriterProcess;
  /** What the writer is to record besides pages; undefined is nothing. */
  recording(): Recording | undefined;
  /** Resolves if this node leads `term`, as of some moment after the call; throws ClientError if not. */
  confirmLead(term: Term): Promise<void>;
  /** How long a write waits for its commit before its outcome is unknown. */
  patienceMs(): number;
  /** The commit rule that is being followed. */
  rule(): CommitRule;
  /** Resolves with the copies of a committed write once they are as many as `ack` asks for. Throws ClientError. */
  reached(id: EntryId, ack: Ack, sinceMs: number): Promise<AckLevel>;
  onEvent(line: string): void;
  /** The scratch cannot be written. Another node should lead. */
  diskFailed(): void;
  failed(error: Error): void;
};
