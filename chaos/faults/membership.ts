/**
 * Changes of who belongs to the cluster and who leads it, made with the commands that operators use, while all else
 * goes on: a member removed and replaced by an empty machine, a further node that joins and leaves, the lead handed
 * over.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { paceline } from "../../test/process/command.ts";
import type { ChaosNode } from "../nodes/chaos-node.ts";
import { type Fault, ofAll, ofFollower, ofLeader, type World } from "./fault.ts";

/** A change that was begun is through by then, whatever else happens. */
const changesWithinMs = 120_000;
/** And an empty node has copied the database. */
const joinsWithinMs = 300_000;

const damages = { damages: true } as const;
const planned = { isFailover: true, isPlanned: true } as const;

export const membershipFaults: Record<string, Fault> = {
  "replace-follower": ofFollower(replace, damages),
  "replace-leader": ofLeader(replace, { ...damages, isPlanned: true }),
  "fourth-node-joins": ofFollower((world) => visit(world, async () => {}), damages),
  "fourth-node-joins-killed": ofFollower((world) => visit(world, killMeanwhile), damages),
  "leader-killed-during-join": ofLeader((world, leader) => visit(world, killOf(leader)), damages),
  switchover: ofAll(switchOver, planned),
  "switchover-to-stopped": ofAll(switchToStopped),
};

/** Its machine burned down, or is only taken away; an empty one takes its place, under its name or a new one. */
async function replace(world: World, node: ChaosNode): Promise<void> {
  const { cluster, prng } = world;
  node.mayExit = true;
  if (prng.chance(0.5)) await node.kill(true);
  await leave(world, node);
  await node.kill(true);
  // Its last processes may still write.
  await sleep(700);
  node.disk.wipe();
  if (prng.chance(0.7)) node.rename();
  node.mayExit = false;
  await enter(world, node);
  await cluster.membership(node, "voter", joinsWithinMs);
}

/** The spare machine joins, `meanwhile` something happens, it becomes a voter, and leaves again. */
async function visit(
  world: World,
  meanwhile: (world: World, node: ChaosNode) => Promise<void>,
): Promise<void> {
  const { cluster, spare, prng } = world;
  await enter(world, spare);
  await sleep(prng.integer(0, 1_500));
  await meanwhile(world, spare);
  await cluster.membership(spare, "voter", joinsWithinMs);
  world.tell(`${spare.memberId} is the fourth voter`);
  await sleep(prng.integer(200, 1_500));
  spare.mayExit = true;
  await leave(world, spare);
  await spare.kill(true);
  await sleep(700);
  spare.disk.wipe();
  spare.rename();
  spare.mayExit = false;
}

async function killMeanwhile({ prng, cluster }: World, node: ChaosNode): Promise<void> {
  for (let n = prng.integer(1, 4); n > 0; n--) {
    await node.kill(prng.chance(0.5));
    await sleep(prng.integer(0, 500));
    await join(cluster, node);
    await sleep(prng.integer(200, 2_000));
  }
}

function killOf(leader: ChaosNode) {
  return async ({ prng, cluster }: World): Promise<void> => {
    await leader.kill(prng.chance(0.5));
    await sleep(prng.integer(0, 2_000));
    await cluster.start(leader);
  };
}

async function switchOver(world: World, leader: ChaosNode): Promise<void> {
  const { cluster, prng, ground } = world;
  const followers = cluster.nodes.filter((node) => node !== leader);
  const target = followers[prng.integer(0, followers.length)]!;
  const to = prng.chance(0.5) ? ["--to", target.memberId] : [];
  const { code, stdout, stderr } = await paceline("switchover", "--url", target.url, ...to);
  if (code === 0) return world.tell(stdout.trim());
  world.tell(`switchover: ${stderr.trim()}`);
  // A target that is behind is refused; that the lead is in order afterwards is checked for every fault.
  if (!/SWITCHOVER|NOT_READY|NOT_LEADER|UNKNOWN|not |no /i.test(stderr)) {
    ground.recorder.violate("stuck", `switchover ended with ${code}: ${stderr}`);
  }
}

/** The node that shall lead does not move: the leader must go on leading. */
async function switchToStopped(world: World, leader: ChaosNode): Promise<void> {
  const target = world.cluster.nodes.find((node) => node !== leader)!;
  target.freeze();
  const ran = paceline("switchover", "--url", leader.url, "--to", target.memberId);
  await sleep(world.prng.integer(500, 4_000));
  target.thaw();
  const { code, stdout, stderr } = await ran;
  world.tell(`switchover ended with ${code}: ${(stdout + stderr).trim().slice(0, 160)}`);
}

/** No member any more when it resolves; asks again as long as something is in the way. */
async function leave(world: World, node: ChaosNode): Promise<void> {
  const { cluster } = world;
  const others = cluster.nodes.filter((other) => other !== node);
  cluster.nodes = others;
  await insist(world, `remove ${node.memberId}`, async () => {
    const url = others[world.prng.integer(0, others.length)]!.url;
    const { code, stderr } = await paceline("remove", node.memberId, "--url", url);
    return code === 0 || /there is no member/.test(stderr) ? undefined : stderr;
  });
  await cluster.membership(node, "none", changesWithinMs);
}

/** A member and running when it resolves; catches up then. */
async function enter(world: World, node: ChaosNode): Promise<void> {
  const { cluster } = world;
  await insist(world, `add ${node.memberId}`, async () => {
    const url = cluster.nodes[world.prng.integer(0, cluster.nodes.length)]!.url;
    const { code, stderr } = await paceline("add", node.memberId, node.address, "--url", url);
    return code === 0 ? undefined : stderr;
  });
  await join(cluster, node);
  cluster.nodes = [...cluster.nodes, node];
}

/** Serves when it resolves. A node cannot join by a leader that is away, so it may take more than one. */
async function join(cluster: World["cluster"], node: ChaosNode): Promise<void> {
  const until = performance.now() + changesWithinMs;
  node.mayExit = true;
  while (!(await node.serves())) {
    if (performance.now() > until) throw new Error(`${node.memberId} does not start to join`);
    const leader = await cluster.leader();
    await node.start(["--join", leader.url]);
    await sleep(100);
  }
  node.mayExit = false;
}

/** Until `attempt` gives no reason against it. */
async function insist(
  { tell }: World,
  what: string,
  attempt: () => Promise<string | undefined>,
): Promise<void> {
  const until = performance.now() + changesWithinMs;
  for (;;) {
    const why = await attempt();
    if (why === undefined) return;
    tell(`${what}: ${why.trim().slice(0, 200)}`);
    if (performance.now() > until) throw new Error(`${what} did not succeed: ${why}`);
    await sleep(500);
  }
}
