/**
 * The operator of a cluster with a manual coordinator: looks now and then, and promotes the node that has the most when
 * nobody leads. Sometimes it is mistaken, and promotes a node although another one leads that this node cannot see.
 *
 * It accepts no loss, so that nothing that was acknowledged may ever be lost; but for one case. What has the most may
 * be unable to lead, or may not be let without that word: its database is damaged, it is no voter by its own log, it is
 * new. When all are up, nobody has led for a while, and those that have more than the best one that can lead are so few
 * that nothing of it can have been acknowledged, that one is promoted.
 */

import type { Prng } from "../../base/prng.ts";
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

export class Operator {
  readonly #world: World;
  readonly #prng: Prng;
  /** Since then nobody leads and those who have the most cannot. */
  #stuckSinceMs: number | undefined;
  /** Promotions that were ordered. */
  orders = 0;

  constructor(world: World, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
  }

  begin(): void {
    if (this.#world.parameters.isManual) this.#lookLater();
  }

  #lookLater(): void {
    this.#world.scheduler.after(this.#prng.integer(200, 1_500), () => {
      this.#look();
      this.#lookLater();
    });
  }

  #look(): void {
    const { nodes } = this.#world;
    const isMistaken = this.#prng.chance(0.1);
    const up = nodes.filter((node) => node.isUp && !node.isWitness);
    if (up.length === 0 || (!isMistaken && this.#isLed(up))) return;
    const byMost = up.toSorted((a, b) => positionOf(b) - positionOf(a));
    const fit = byMost.filter((node) => {
      const { database, node: core } = node.running!.parts;
      const { membership, settings } = core.status();
      const isVoter = membership.some((member) => member.id === node.id && member.kind === "voter");
      const isWhole = database.whole !== undefined && database.damage === undefined;
      return isWhole && isVoter && settings.coordinator === "manual" && !hasForgotten(node);
    });
    const isStuck = !this.#isLed(up) && up.length === nodes.length;
    const { nowMs } = this.#world.scheduler;
    if (!isStuck) this.#stuckSinceMs = undefined;
    else this.#stuckSinceMs ??= nowMs;
    // Not in a hurry: whoever is about to lead must not lose what it is about to acknowledge.
    const isSure = isStuck && !isMistaken && nowMs - this.#stuckSinceMs! > 10_000;
    if (isSure && fit.length > 0 && haveEnough(nodes, fit[0]!)) {
      return this.#promote(fit[0]!, true);
    }
    // What has the most may be damaged or new; then another one must do.
    const node = isMistaken || this.#prng.chance(0.3) ? this.#any(up) : byMost[0]!;
    this.#promote(node, false);
  }

  /** One that was removed while it was cut off leads a term that the others have left. */
  #isLed(up: readonly SimNode[]): boolean {
    const leader = this.#world.leader();
    const termOf = (node: SimNode) => node.running!.parts.node.status().term;
    return leader !== undefined && up.every((node) => termOf(node) <= termOf(leader));
  }

  #promote(node: SimNode, acceptLoss: boolean): void {
    this.orders++;
    this.#world.tell(
      "--",
      `the operator promotes ${node.id}${acceptLoss ? ", whatever it lacks" : ""}`,
    );
    node.running!.parts.promotion.promote(acceptLoss).then(
      () => this.#world.tell("--", `${node.id} was promoted`),
      (error: Error) => this.#world.tell("--", `${node.id} was not promoted: ${error.message}`),
    );
  }

  #any(nodes: readonly SimNode[]): SimNode {
    return nodes[this.#prng.integer(0, nodes.length)]!;
  }
}

/** Whatever was acknowledged must be on this one, too: those that have more, or forgot what they had, are too few. */
function haveEnough(nodes: readonly SimNode[], best: SimNode): boolean {
  const { membership } = best.running!.parts.node.status();
  const voters = membership.filter((member) => member.kind === "voter");
  const others = nodes.filter((node) => {
    const isVoter = voters.some((member) => member.id === node.id);
    return isVoter && (hasForgotten(node) || positionOf(node) > positionOf(best));
  });
  return 2 * others.length <= voters.length;
}

/** Its disk was lost, and it has not caught up since. A new node is not born either, and has nothing to forget. */
function hasForgotten({ hasLostDisk, running }: SimNode): boolean {
  return hasLostDisk && !running!.parts.log.hardState.born;
}

/** Later terms first, then longer logs. */
function positionOf({ running }: SimNode): number {
  const { last } = running!.parts.node.status();
  return last.term * 1e6 + last.lsn;
}
