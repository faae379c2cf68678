/**
 * What two nodes say of themselves and of each other when a link begins, as values. How they prove it is in
 * handshake.ts.
 */

import type { NodeId } from "../vocabulary.ts";

/** Lanes by their number on the wire. */
export const lanes = ["control", "data", "sync"] as const;
export type LaneKind = (typeof lanes)[number];

/** Why a link does not come up, by number on the wire. A reason is never given another number. */
export const refusals = [
  "protocol",
  "version",
  "wrong-secret",
  "wrong-node",
  "other-cluster",
  "not-a-member",
  "duplicate-id",
] as const;
export type Refusal = (typeof refusals)[number];

/** What a node says about itself and is asked to prove. */
export type Self = {
  readonly id: NodeId;
  readonly instance: string;
  readonly clusterId: string | undefined;
  readonly secret: string;
};

/** The other side of a link, proved. */
export type Greeted = {
  readonly id: NodeId;
  readonly instance: string;
  readonly clusterId: string | undefined;
  readonly lane: LaneKind;
};
