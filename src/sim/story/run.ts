/**
 * One seed, one story: a storm of faults over a cluster that is written to and read from, then calm. During the storm
 * nothing wrong may happen (safety); in the calm everything must end and become equal (liveness, I19).
 */

import { formatHash } from "../../base/hash.ts";
import { Prng } from "../../base/prng.ts";
import { limits } from "../../limits.ts";
import { DiscardedStore } from "../../node/discarded/discarded-store.ts";
import type { RunningNode } from "../../node/running-node.ts";
import type { NodeId } from "../../vocabulary.ts";
import { Clients } from "./clients.ts";
import { Faults } from "./faults.ts";
import { checkHistory, History } from "./history.ts";
import type { SimNode } from "./node.ts";
import { Operator } from "./operator.ts";
import { type DatabaseKind, drawParameters, type Parameters } from "./parameters.ts";
import { Watch } from "./watch.ts";
import { type Violation, World } from "./world.ts";

export type SeedReport = {
  readonly seed: number;
  readonly ok: boolean;
  readonly violations: readonly Violation[];
  readonly parameters: Parameters;
  readonly simulatedMs: number;
  readonly events: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly acked: number;
  readonly reads: number;
  readonly unknown: number;
  readonly refused: number;
  /** Acknowledged writes that are gone without a trace; and those that a node has kept in discarded/. */
  readonly lost: number;
  readonly discarded: number;
  readonly stale: number;
  readonly terms: number;
  /** From the end of the storm until all was well. */
  readonly calmMs: number;
  readonly story: readonly string[];
};

/** Within this time after the storm all must be well: requests under way may take most of it. */
const calmMaxMs = 60_000;

export type SeedOptions = {
  readonly database?: DatabaseKind;
  /** Instead of what the seed draws. */
  readonly changes?: Partial<Parameters>;
};

/** Tells the story of a seed. Call `shrinkLimits` once before the first. */
export async function runSeed(seed: number, options: SeedOptions = {}): Promise<SeedReport> {
  const prng = new Prng(seed);
  const drawn = drawParameters(prng.child(), options.database);
  const parameters = { ...drawn, ...options.changes };
  Object.assign(limits, { pageSize: parameters.pageSize });
  const world = new World(prng.child(), parameters);
  try {
    return await tell(world, prng, seed);
  } finally {
    for (const node of world.nodes) await node.store.dispose();
  }
}

async function tell(world: World, prng: Prng, seed: number): Promise<SeedReport> {
  const { parameters } = world;
  const watch = new Watch(world);
  world.observer = watch;
  const history = new History();
  const clients = new Clients(world, history, watch);
  const faults = new Faults(world, prng.child());
  const core = prng.child();
  new Operator(world, prng.child()).begin();
  const isOver = (life: { readonly name: string } | undefined) => {
    if (life !== undefined) {
      const node = world.nodes.find((other) => other.life === life);
      if (node !== undefined) watch.check(node);
    }
    return world.violations.length > 0;
  };
  for (const node of world.nodes) node.start();
  clients.begin(prng.child());
  faults.begin();
  await world.scheduler.run(parameters.faultMs, isOver);
  faults.end();
  // An operator keeps the log for who is away, until he removes him.
  // By rule all, everybody is waited for. By a weak rule somebody may have what the others lost.
  const maySpare = !parameters.isManual && parameters.commitRule === "quorum";
  if (core.chance(0.3) && maySpare) leaveSomeDown(world, faults, core);
  const stormMs = world.scheduler.nowMs;
  let wellAtMs: number | undefined;
  if (world.violations.length === 0) {
    world.scheduler.after(2_000, () => clients.stop());
    await world.scheduler.run(stormMs + calmMaxMs, (life) => {
      if (isOver(life)) return true;
      if (world.scheduler.nowMs < stormMs + 2_500 || !isWell(world, clients)) return false;
      if (watch.spaceOver(memberNodes(world)) !== undefined) return false;
      wellAtMs = world.scheduler.nowMs;
      return true;
    });
  }
  if (world.violations.length === 0 && wellAtMs === undefined) {
    const why = watch.spaceOver(memberNodes(world)) ?? whatIsWrong(world, clients);
    world.violated("I19", `after ${calmMaxMs} ms of calm: ${why}`);
  }
  let findings = { lost: 0, discarded: 0, stale: 0 };
  const well = world.nodes.find((node) => !node.isWitness && isCaughtUp(world, node));
  const final = well?.store.content();
  if (final !== undefined) {
    history.discarded = await discardedBy(world);
    findings = checkHistory(world, history, final, watch.contentByLsn);
    if (wellAtMs !== undefined) {
      const copies = memberNodes(world).filter((node) => !node.isWitness);
      await watch.checkEqual(copies);
      await watch.checkSound(copies);
    }
  }
  const count = (outcome: string) => history.appends.filter((a) => a.outcome === outcome).length;
  return {
    ...{ seed, ok: world.violations.length === 0, violations: world.violations, parameters },
    ...{ simulatedMs: world.scheduler.nowMs, events: world.scheduler.events },
    ...{ faults: { ...faults.counts }, acked: history.acked, reads: history.reads.length },
    ...{ unknown: count("unknown"), refused: count("refused"), ...findings },
    ...{ terms: watch.terms, calmMs: world.scheduler.nowMs - stormMs, story: world.story },
  };
}

/** Positions of the entries that nodes have kept because the cluster lost them. */
async function discardedBy(world: World): Promise<ReadonlySet<string>> {
  const positions = new Set<string>();
  for (const { disk } of world.nodes) {
    const store = await DiscardedStore.open(disk, "/node");
    for (const { pagesOnly } of store.list()) for (const at of pagesOnly) positions.add(at);
  }
  return positions;
}

/** Only a core is healed for good: a majority of the voters, with nobody who is not whole. */
function leaveSomeDown(world: World, faults: Faults, prng: Prng): void {
  const voters = faults.membership().filter((member) => member.kind === "voter");
  if (faults.changes > 0 || world.nodes.some((node) => node.impaired)) return;
  const spare = Math.floor((voters.length - 1) / 2);
  for (let i = 0; i < spare; i++) {
    const node = world.node(voters[prng.integer(0, voters.length)]!.id)!;
    if (world.keptDown.has(node) || !faults.mayHarm(node)) continue;
    // Those that never want to lead take no writes: somebody else must be left.
    const isLeft = (id: NodeId) => id !== node.id && !world.keptDown.has(world.node(id)!);
    if (!voters.some(({ id, priority }) => priority !== "never" && isLeft(id))) continue;
    world.keptDown.add(node);
    world.tell("--", `${node.id} stays down for good`);
    node.die("power");
  }
}

/** Members that are supposed to be up. */
function memberNodes(world: World): readonly SimNode[] {
  const membership = world.leader()?.running?.parts.node.status().membership ?? [];
  return world.nodes.filter(
    (node) => !world.keptDown.has(node) && membership.some((member) => member.id === node.id),
  );
}

function isCaughtUp(world: World, node: SimNode): boolean {
  const leader = world.leader();
  if (leader?.running === undefined || node.running === undefined || !node.isUp) return false;
  if (node.isWitness) return hasEverything(leader.running, node.running);
  const { node: loop } = leader.running.parts;
  const { database, applying } = node.running.parts;
  const { last, committedLsn } = loop.status();
  const wanted = leader.running.parts.database.whole;
  return (
    wanted !== undefined &&
    database.whole !== undefined &&
    committedLsn === last.lsn &&
    applying.applied.lsn === committedLsn &&
    formatHash(database.whole.checksum()) === formatHash(wanted.checksum())
  );
}

/** A witness is well when its log goes as far as the leader's. */
function hasEverything(leader: RunningNode, witness: RunningNode): boolean {
  const { last } = leader.parts.node.status();
  const { committedLsn, last: own } = witness.parts.node.status();
  return own.lsn === last.lsn && own.term === last.term && committedLsn === last.lsn;
}

function isWell(world: World, clients: Clients): boolean {
  const leader = world.leader();
  if (clients.busy > 0 || leader === undefined || !leader.running!.parts.writes.ready) return false;
  return memberNodes(world).every((node) => isCaughtUp(world, node));
}

function whatIsWrong(world: World, clients: Clients): string {
  const leader = world.leader();
  const wrong = [`leader ${leader?.id}`, `${clients.busy} requests open`];
  if (leader !== undefined && !leader.running!.parts.writes.ready) wrong.push("writer not ready");
  const nodes = leader === undefined ? world.nodes : memberNodes(world);
  for (const node of nodes) {
    if (isCaughtUp(world, node)) continue;
    const parts = node.running?.parts;
    const status = parts?.node.status();
    wrong.push(
      `${node.id} ${node.isUp ? "up" : "down"} role ${status?.role} term ${status?.term} ` +
        `born ${status?.born} last ${status?.last.lsn}@${status?.last.term} committed ${status?.committedLsn} ` +
        `applied ${parts?.applying.applied.lsn} damage ${parts?.database.damage}`,
    );
  }
  return wrong.join("; ");
}
