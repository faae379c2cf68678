/** A page sync that a power cut interrupts between the database and the log, and what may happen before the next start. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { formatHash } from "../../base/hash.ts";
import { Prng } from "../../base/prng.ts";
import { writeInstallRecord } from "../../node/page-sync/install-record.ts";
import { defaultSettings, type Lsn } from "../../vocabulary.ts";
import { Clients } from "./clients.ts";
import { History } from "./history.ts";
import { drawParameters, shrinkLimits } from "./parameters.ts";
import { Watch } from "./watch.ts";
import { World } from "./world.ts";

before(shrinkLimits);

test("an image that was in place stays so when a page of it rots before the start", async () => {
  const prng = new Prng(1);
  const drawn = drawParameters(prng.child());
  const quiet = { faults: [], witnesses: 0, priorities: [], drift: 0, slowness: 0, syncMeanMs: 1 };
  const network = { delayMinMs: 1, delayMeanMs: 1, loss: 0, duplicate: 0, detour: 0 };
  const sizes = { voters: 3, logRetentionBytes: 1024 * 1024, thinkMs: 30 };
  const world = new World(prng.child(), { ...drawn, ...quiet, ...sizes, network });
  const clients = new Clients(world, new History(), new Watch(world));
  for (const node of world.nodes) node.start();
  clients.begin(prng.child());
  await world.scheduler.run(4_000, () => false);
  const leader = world.leader()!;
  const node = world.nodes.find((other) => other !== leader)!;
  await world.scheduler.run(8_000, () => node.disk.isAtRest);
  const disk = node.disk.fork();
  const end = node.running!.parts.log.last.lsn;
  await world.scheduler.run(12_000, () => node.store.content()!.lsn > end + 5);
  node.die("kill");

  // As a page sync leaves it: the plan is written, the database is the image, the log is as it was before.
  node.disk = disk;
  node.held = undefined;
  const { log, node: loop } = leader.running!.parts;
  const lsn = node.store.content()!.lsn;
  const [entry] = log.cached(lsn, (lsn + 1) as Lsn, 1)!;
  const position = { lsn, term: entry!.term };
  const { membership } = loop.status();
  await writeInstallRecord(disk, "/node", {
    clusterId: "",
    snapshot: { ...position, chain: entry!.chain, membership, settings: defaultSettings },
    position,
    checksum: formatHash((await node.store.checksum())!),
  });
  assert.notEqual(node.store.rot(prng, "anywhere"), undefined);
  clients.stop();
  const isRepaired = () => world.story.some((line) => /n\d page sync from .* done at/.test(line));
  const isWell = () => isRepaired() && node.running?.parts.database.whole !== undefined;
  await world.scheduler.run(40_000, () => world.violations.length > 0 || isWell());
  assert.deepEqual(world.violations, []);
  assert.ok(isWell(), world.story.slice(-20).join("\n"));
  assert.ok(world.story.some((line) => line.includes("finished the page sync")));
});
