/**
 * The faults, and the atlas that bounds them: what may be broken at the same time so that every run is supposed to
 * recover. Disks may be lost or rot on a minority of the voters at a time, and not again before those are whole.
 * Everything else may happen to anyone at any time, because it ends by itself.
 */

import type { Prng } from "../../base/prng.ts";
import type { Membership, NodeId } from "../../vocabulary.ts";
import type { FaultName } from "./fault-names.ts";
import { machinePlays, networkPlays } from "./more-faults.ts";
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

/** Plays one fault and says what it did. Undefined when the atlas forbids it now. */
export type Play = (play: Faults, node: SimNode, prng: Prng) => string | undefined;

/** Share of faults that are meant for the leader. */
const leaderShare = 0.5;

export class Faults {
  readonly world: World;
  readonly #prng: Prng;
  #over = false;
  /** How often each fault was played. */
  readonly counts: Partial<Record<FaultName, number>> = {};
  /** A membership change is under way. */
  #changing = false;
  /** Members that were asked to go, or were asked in. */
  changes = 0;

  constructor(world: World, prng: Prng) {
    this.world = world;
    this.#prng = prng;
  }

  begin(): void {
    for (const node of this.world.nodes) node.isFragile = true;
    this.#next();
  }

  /** Ends the storm: the network is whole again, disks are well, and everybody wakes up. */
  end(): void {
    this.#over = true;
    const { network, nodes, parameters, scheduler } = this.world;
    network.healAll();
    network.traits = { ...parameters.network, loss: 0, duplicate: 0, detour: 0 };
    for (const node of nodes) {
      node.full = false;
      node.armed = undefined;
      node.readsLeft = undefined;
      node.clock?.setRate(parameters.clockRate);
      node.isFragile = false;
      node.syncExtraMs = 0;
      node.downUntilMs = 0;
      if (node.life !== undefined) node.life.pausedUntilMs = 0;
      scheduler.after(0, () => this.world.restart(node));
    }
    this.world.tell("--", "all faults are over");
  }

  #next(): void {
    const { scheduler, parameters, nodes } = this.world;
    const ms = this.#prng.exponential(parameters.faultEveryMs);
    scheduler.after(ms, () => {
      if (this.#over) return;
      const { faults } = parameters;
      const name = faults[this.#prng.integer(0, faults.length)]!;
      const leader = this.world.leader();
      const any = nodes[this.#prng.integer(0, nodes.length)]!;
      const node = leader !== undefined && this.#prng.chance(leaderShare) ? leader : any;
      const told = plays[name](this, node, this.#prng.child());
      if (told !== undefined) {
        this.counts[name] = (this.counts[name] ?? 0) + 1;
        this.world.tell("**", `${name}: ${told}`);
      }
      this.#next();
    });
  }

  /** Later, unless the storm is over and everything was ended already. */
  after(ms: number, undo: () => void): void {
    this.world.scheduler.after(ms, () => {
      if (!this.#over) undo();
    });
  }

  /** Blocks these directions for a while. */
  block(pairs: readonly (readonly [SimNode, SimNode])[], ms: number): void {
    const { network } = this.world;
    for (const [from, to] of pairs) network.block(from.id, to.id);
    this.after(ms, () => {
      for (const [from, to] of pairs) network.unblock(from.id, to.id);
    });
  }

  others(node: SimNode): readonly SimNode[] {
    return this.world.nodes.filter((other) => other !== node);
  }

  membership(): Membership {
    const leader = this.world.leader() ?? this.world.nodes.find((node) => node.isUp);
    return leader?.running?.parts.node.status().membership ?? [];
  }

  /** Whether one more disk may be harmed: with it, those that are not whole must be a minority of the voters. */
  mayHarm(node: SimNode): boolean {
    const voters = this.membership().filter((member) => member.kind === "voter");
    if (this.changes > 0) return false;
    // The promises of a witness that forgets are kept by the data nodes, if all of them are whole.
    if (node.isWitness) return voters.every(({ id }) => this.#isSound(id));
    // Beside witnesses a data node may be the only one that has the pages which another one lacks.
    const isAlone = this.membership().some((member) => member.kind === "witness");
    if (voters.length < 3 || isAlone) return false;
    let harmed = 0;
    for (const { id } of voters) {
      const other = this.world.node(id);
      if (other === undefined) return false;
      if (other === node || !isWhole(other) || this.world.keptDown.has(other)) harmed++;
    }
    return 2 * harmed < voters.length;
  }

  #isSound(id: NodeId): boolean {
    const node = this.world.node(id);
    return node !== undefined && isWhole(node) && !this.world.keptDown.has(node);
  }

  change(work: () => Promise<unknown>): void {
    if (this.#changing) return;
    this.#changing = true;
    this.changes++;
    work()
      .catch(() => {})
      .finally(() => {
        this.#changing = false;
      });
  }

  get isChanging(): boolean {
    return this.#changing;
  }
}

/** Has a full log and a whole database, or surely will have them by itself. */
function isWhole(node: SimNode): boolean {
  const born = node.running?.parts.log.hardState.born ?? node.held?.hardState.born ?? false;
  const isFull = node.isWitness || node.running?.parts.database.whole !== undefined;
  if (node.isUp && born && isFull) node.impaired = false;
  return born && !node.impaired;
}

const plays: Record<FaultName, Play> = {
  kill: (_, node, prng) => {
    if (!node.isUp) return undefined;
    stayDown(node, prng);
    node.die("kill");
    return node.id;
  },
  "power-cut": (_, node, prng) => {
    stayDown(node, prng);
    node.die("power");
    return node.id;
  },
  "kill-all": ({ world }) => {
    for (const node of world.nodes) node.die("kill");
    return "everyone";
  },
  "power-cut-all": ({ world }) => {
    for (const node of world.nodes) node.die("power");
    return "everyone";
  },
  "crash-at-effect": (_, node, prng) => {
    const effects = prng.integer(0, 30);
    node.armed = { effects, fault: "power" };
    return `${node.id} at effect ${effects}`;
  },
  stop: (_, node) => {
    const { running, life } = node;
    if (running === undefined || !node.isUp) return undefined;
    running
      .stop(async () => {})
      .then(
        () => {
          if (node.life === life) node.die("kill");
        },
        () => {
          if (node.life === life) node.die("kill");
        },
      );
    return node.id;
  },
  pause: (_, node, prng) => {
    if (!node.isUp || node.isPaused) return undefined;
    const ms = prng.integer(20, prng.chance(0.5) ? 500 : 5_000);
    node.pause(ms);
    return `${node.id} for ${ms} ms`;
  },
  isolate: (play, node, prng) => {
    const pairs = play.others(node).flatMap((other) => both(node, other));
    const ms = prng.integer(100, 4_000);
    play.block(pairs, ms);
    return `${node.id} for ${ms} ms`;
  },
  split: (play, _node, prng) => {
    const { nodes } = play.world;
    const side = nodes.filter(() => prng.chance(0.5));
    const rest = nodes.filter((node) => !side.includes(node));
    const ms = prng.integer(100, 4_000);
    play.block(
      side.flatMap((a) => rest.flatMap((b) => both(a, b))),
      ms,
    );
    return `${side.map((node) => node.id).join(",")} from the rest for ${ms} ms`;
  },
  deaf: (play, node, prng) => {
    const ms = prng.integer(100, 5_000);
    play.block(
      play.others(node).map((other) => [other, node] as const),
      ms,
    );
    return `${node.id} hears nobody for ${ms} ms`;
  },
  mute: (play, node, prng) => {
    const ms = prng.integer(100, 5_000);
    play.block(
      play.others(node).map((other) => [node, other] as const),
      ms,
    );
    return `nobody hears ${node.id} for ${ms} ms`;
  },
  "one-way": (play, node, prng) => {
    const others = play.others(node);
    if (others.length === 0) return undefined;
    const other = others[prng.integer(0, others.length)]!;
    const ms = prng.integer(100, 6_000);
    play.block([[node, other]], ms);
    return `${node.id} does not reach ${other.id} for ${ms} ms`;
  },
  swizzle: (play, _node, prng) => {
    const order = play.world.nodes.toSorted((a, b) => a.address.localeCompare(b.address));
    let atMs = 0;
    for (const node of order) {
      atMs += prng.integer(50, 600);
      const untilMs = prng.integer(300, 4_000);
      play.after(atMs, () =>
        play.block(
          play.others(node).flatMap((other) => both(node, other)),
          untilMs,
        ),
      );
    }
    return "clogged one after the other";
  },
  weather: (play, _node, prng) => {
    const { network, parameters } = play.world;
    const ms = prng.integer(500, 4_000);
    network.traits = {
      delayMinMs: parameters.network.delayMinMs,
      delayMeanMs: prng.integer(1, 120),
      loss: prng.integer(0, 30) / 100,
      duplicate: prng.integer(0, 30) / 100,
      detour: prng.integer(0, 30) / 100,
    };
    play.after(ms, () => {
      network.traits = parameters.network;
    });
    return `mean delay ${network.traits.delayMeanMs} ms, loss ${network.traits.loss}, for ${ms} ms`;
  },
  "slow-disk": (play, node, prng) => {
    node.syncExtraMs = prng.integer(20, 600);
    play.after(prng.integer(500, 4_000), () => {
      node.syncExtraMs = 0;
    });
    return `${node.id} by ${node.syncExtraMs} ms`;
  },
  "hung-disk": (play, node, prng) => {
    node.syncExtraMs = prng.integer(3_000, 12_000);
    const told = `${node.id} for ${node.syncExtraMs} ms`;
    play.after(prng.integer(10, 1_000), () => {
      node.syncExtraMs = 0;
    });
    return told;
  },
  "sync-error": (_, node, prng) => {
    node.armed = { effects: prng.integer(0, 8), fault: "EIO" };
    return node.id;
  },
  "disk-full": (play, node, prng) => {
    node.full = true;
    const ms = prng.integer(200, 4_000);
    play.after(ms, () => {
      node.full = false;
    });
    return `${node.id} for ${ms} ms`;
  },
  "rot-at-rest": (play, node, prng) => {
    if (node.store.content() === undefined || !play.mayHarm(node)) return undefined;
    node.die("kill");
    const pgno = node.store.rot(prng, "anywhere");
    if (pgno === undefined) return undefined;
    node.impaired = true;
    return `page ${pgno} of ${node.id}`;
  },
  "rot-alive": (play, node, prng) => {
    const served = node.running?.parts.database.whole;
    if (served === undefined || !node.isUp || !play.mayHarm(node)) return undefined;
    // Not a page that readers are shown before the scrub has found it.
    const pgno = node.store.rot(prng, "unread");
    if (pgno === undefined) return undefined;
    node.impaired = true;
    lookForRot(play, node);
    return `page ${pgno} of ${node.id}, then looked for`;
  },
  "lose-disk": (play, node) => {
    if (!play.mayHarm(node)) return undefined;
    const contacts = play.membership();
    if (!contacts.some((member) => member.id === node.id)) return undefined;
    node.die("kill");
    node.loseDisk(contacts);
    return node.id;
  },
  switchover: (play, _node, prng) => {
    const leader = play.world.leader();
    if (leader === undefined) return undefined;
    leader.running!.switchover(undefined).catch(() => {});
    if (prng.chance(0.5)) return `away from ${leader.id}`;
    // The order leaves, and the leader does not hear what comes of it.
    const waitMs = prng.integer(0, 60);
    play.after(waitMs, () =>
      play.block(
        play.others(leader).map((other) => [other, leader] as const),
        prng.integer(100, 1_500),
      ),
    );
    return `away from ${leader.id}, which hears nothing after ${waitMs} ms`;
  },
  "add-member": (play, _node, prng) => {
    const { world } = play;
    const leader = world.leader();
    if (leader === undefined || play.isChanging || world.nodes.length >= 7) return undefined;
    if (world.nodes.some((node) => node.impaired)) return undefined;
    const joiner = world.addNode(play.membership());
    const promote = prng.chance(0.7);
    joiner.isFragile = true;
    const member = { id: joiner.id, kind: "learner" as const, address: joiner.address, promote };
    joiner.start();
    play.change(() => leader.running!.parts.members.add(member));
    return `${joiner.id} through ${leader.id}`;
  },
  "remove-member": (play, node) => {
    const { world } = play;
    const leader = world.leader();
    if (leader === undefined || play.isChanging) return undefined;
    if (play.membership().filter((member) => member.kind === "voter").length <= 2) return undefined;
    if (world.nodes.some((other) => other.impaired)) return undefined;
    play.change(() => leader.running!.parts.members.remove(node.id));
    return `${node.id} through ${leader.id}`;
  },
  "kill-writer": ({ world }) => {
    const leader = world.leader();
    if (leader === undefined) return undefined;
    leader.writerDies = true;
    return leader.id;
  },
  ...networkPlays,
  ...machinePlays,
};

function both(a: SimNode, b: SimNode): readonly (readonly [SimNode, SimNode])[] {
  return [
    [a, b],
    [b, a],
  ];
}

/** Somebody has the node read its whole database, and again if that was disturbed. */
function lookForRot(play: Faults, node: SimNode): void {
  node.running?.parts.report.verifyHere().catch(() => {
    play.world.scheduler.after(1_000, () => lookForRot(play, node));
  });
}

function stayDown(node: SimNode, prng: Prng): void {
  if (prng.chance(0.3)) node.stayDown(prng.integer(500, 4_000));
}
