/**
 * Syncs that take seconds, as those of an entry of 200 MB do, on every node at once. The leader stays: heartbeats and
 * their answers do not wait for a disk that is merely busy.
 */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { Prng } from "../../base/prng.ts";
import { limits } from "../../limits.ts";
import { Clients } from "./clients.ts";
import { History } from "./history.ts";
import { drawParameters, shrinkLimits } from "./parameters.ts";
import { Watch } from "./watch.ts";
import { World } from "./world.ts";

before(shrinkLimits);

test("nobody is taken for dead whose syncs take two seconds together", async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const prng = new Prng(seed);
    const drawn = drawParameters(prng.child());
    const quiet = { faults: [], witnesses: 0, priorities: [], drift: 0, slowness: 0 };
    const network = { delayMinMs: 1, delayMeanMs: 2, loss: 0, duplicate: 0, detour: 0 };
    const rest = { voters: 3, syncMeanMs: 1, isManual: false, commitRule: "quorum" } as const;
    const world = new World(prng.child(), { ...drawn, ...quiet, ...rest, network });
    const watch = new Watch(world);
    world.observer = watch;
    const clients = new Clients(world, new History(), watch);
    for (const node of world.nodes) node.start();
    clients.begin(prng.child());
    const isBroken = () => world.violations.length > 0;
    await world.scheduler.run(5_000, isBroken);
    const leader = world.leader()!;
    const { term } = leader.running!.parts.node.status();
    const committedLsn = () => leader.running!.parts.node.status().committedLsn;
    const at = committedLsn();
    // Up to four to make a batch durable, where a segment begins. A disk that is silent for longer than this hangs, and
    // then the lead does move.
    const syncMs = 500;
    assert.ok(4 * syncMs < 2 * limits.electionTimeoutMaxMs);
    for (const node of world.nodes) node.syncExtraMs = syncMs;
    await world.scheduler.run(25_000, isBroken);
    assert.deepEqual(world.violations, []);
    assert.equal(world.leader()?.id, leader.id, world.story.slice(-20).join("\n"));
    assert.equal(leader.running!.parts.node.status().term, term, `seed ${seed}: another term`);
    assert.ok(committedLsn() > at, "nothing was written");
    clients.stop();
    for (const node of world.nodes) await node.store.dispose();
  }
});
