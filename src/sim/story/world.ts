/**
 * A simulated world: machines, the network between them, virtual time, and the story of what happens, one line per
 * event. It knows no faults, no clients and no rules; those are given to it.
 */

import type { Prng } from "../../base/prng.ts";
import type { RunningNode } from "../../node/running-node.ts";
import type { Membership, NodeId, Priority } from "../../vocabulary.ts";
import { nodeId } from "../../vocabulary.ts";
import { Network } from "../links.ts";
import { type Life, Scheduler } from "../scheduler.ts";
import { SimNode } from "./node.ts";
import type { Parameters } from "./parameters.ts";

/** What someone who sees everything does with it. */
export type Observer = {
  started(node: SimNode, running: RunningNode): void;
  sends(node: SimNode, to: NodeId, envelope: unknown): void;
};

export type Violation = { readonly invariant: string; readonly text: string };

export class World {
  readonly scheduler = new Scheduler();
  readonly network: Network;
  readonly parameters: Parameters;
  readonly nodes: SimNode[] = [];
  readonly story: string[] = [];
  readonly violations: Violation[] = [];
  observer: Observer | undefined;
  /** Nodes that are not restarted by themselves. */
  readonly keptDown = new Set<SimNode>();
  readonly #prng: Prng;

  constructor(prng: Prng, parameters: Parameters) {
    this.#prng = prng;
    this.parameters = parameters;
    this.network = new Network(this.scheduler, prng.child(), parameters.network);
    const members: Membership = Array.from({ length: parameters.voters }, (_, i) => ({
      id: nodeId(`n${i + 1}`),
      kind: i < parameters.voters - parameters.witnesses ? "voter" : "witness",
      address: `n${i + 1}:7000`,
      ...rankOf(parameters.priorities[i]),
    }));
    for (const { id, kind } of members) {
      const node = new SimNode(id, this, prng, members);
      node.isWitness = kind === "witness";
      this.nodes.push(node);
    }
  }

  /** A machine that joins. */
  addNode(contacts: Membership): SimNode {
    const id = nodeId(`n${this.nodes.length + 1}`);
    const node = new SimNode(id, this, this.#prng, contacts);
    node.initial = [];
    this.nodes.push(node);
    return node;
  }

  node(id: NodeId): SimNode | undefined {
    return this.nodes.find((node) => node.id === id);
  }

  nodeOf(life: Life): SimNode | undefined {
    return this.nodes.find((node) => node.life === life);
  }

  answering(address: string): { id: NodeId; life: Life; node: RunningNode } | undefined {
    const node = this.nodes.find((other) => other.address === address);
    if (node?.running === undefined || !node.isUp) return undefined;
    return { id: node.id, life: node.life!, node: node.running };
  }

  /** The node that leads in the highest term. */
  leader(): SimNode | undefined {
    let best: SimNode | undefined;
    for (const node of this.nodes) {
      if (!node.isUp || !node.running!.parts.node.leadership.leading) continue;
      const { term } = node.running!.parts.node.leadership;
      if (best === undefined || best.running!.parts.node.leadership.term < term) best = node;
    }
    return best;
  }

  restart(node: SimNode): void {
    if (!this.keptDown.has(node) && node.downUntilMs <= this.scheduler.nowMs) node.start();
  }

  onStarted(node: SimNode, running: RunningNode): void {
    this.observer?.started(node, running);
  }

  onSend(node: SimNode, to: NodeId, envelope: unknown): void {
    this.observer?.sends(node, to, envelope);
  }

  tell(who: string, line: string): void {
    this.story.push(`${(this.scheduler.nowMs / 1000).toFixed(4).padStart(9)} ${who} ${line}`);
  }

  violated(invariant: string, text: string): void {
    if (this.violations.some((v) => v.invariant === invariant)) return;
    this.violations.push({ invariant, text });
    this.tell("!!", `${invariant} violated: ${text}`);
  }
}

function rankOf(priority: Priority | undefined): { priority?: Priority } {
  return priority === undefined || priority === 0 ? {} : { priority };
}
