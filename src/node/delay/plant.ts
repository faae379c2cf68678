/**
 * The wiring of a delayed node: the delay, and what rolls it forward. Nothing of it exists on other nodes.
 */

import { formatPosition } from "../../vocabulary.ts";
import type { Applying } from "../applying.ts";
import type { Node } from "../node.ts";
import type { Opened, OpenOptions } from "../open.ts";
import type { Lag } from "../report/lag.ts";
import type { Waiters } from "../waiters.ts";
import { Delay } from "./delay.ts";
import { removeHold, writeHold } from "./hold-record.ts";
import { RollForward } from "./roll-forward.ts";

/** What the delay must know of the rest of the node. */
export type DelayGround = {
  readonly applying: Applying;
  readonly applied: Waiters;
  readonly node: Node;
  readonly lag: Lag;
  /** This node cannot go on. */
  failed(error: Error): void;
};

/** Undefined on a node that applies everything at once. */
export function plantDelay(
  { clock, disk, dir, applyDelayMs, onEvent }: OpenOptions,
  { log, database, applied: begin, held }: Opened,
  { applying, applied, node, lag, failed }: DelayGround,
): { readonly delay: Delay; readonly roll: RollForward } | undefined {
  if (applyDelayMs === undefined) return undefined;
  const release = applying.applyTo.bind(applying);
  const delay = new Delay(
    { ...{ clock, log, release, failed }, delayMs: applyDelayMs },
    begin.lsn,
    held,
  );
  const roll = new RollForward({
    ...{ clock, log, delay, applied, onEvent },
    damage: () => (database.served === undefined ? "there is none yet" : database.damage),
    changedBy: () => database.served!.position(),
    readIndex: () => node.readIndex(),
    write: (hold) => writeHold(disk, dir, hold),
    remove: () => removeHold(disk, dir),
  });
  lag.delayedBy(() => delay.lagMs(applying.applied.lsn, database.committedAtMs));
  const still = held === undefined ? "" : `; held at ${formatPosition(held)} until told to resume`;
  onEvent(`this node stays ${applyDelayMs} ms behind the leader's commits${still}`);
  return { delay, roll };
}
