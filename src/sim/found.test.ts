/** What the simulator has found, cut down to one test each: the bugs that must not come back. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ClientError, StorageError } from "../base/errors.ts";
import { chainHash, formatHash, zeroChain } from "../base/hash.ts";
import { Prng } from "../base/prng.ts";
import { RealClock } from "../host/clock.ts";
import { LogStore } from "../log/log-store.ts";
import { chained, endOf, initial } from "../log/test-log.ts";
import { Keeping, type KeepingPorts } from "../node/discarded/keeping.ts";
import type { ServedDatabase } from "../node/driver.ts";
import { Identity } from "../node/identity.ts";
import { HandOver, type HandOverPorts } from "../node/lead/hand-over.ts";
import { readKnownChecksum, writeKnownChecksum } from "../node/page-sync/known-checksum.ts";
import { Neighbours } from "../node/route/neighbours.ts";
import { RunningNode } from "../node/running-node.ts";
import { Upkeep } from "../node/upkeep.ts";
import { encodeGenesis, imageChecksum } from "../payload/genesis.ts";
import { LogView } from "../raft/log-view.ts";
import { decodeMembership } from "../raft/membership.ts";
import { Raft } from "../raft/raft.ts";
import type { RaftConfig } from "../raft/ready.ts";
import {
  defaultSettings,
  type Entry,
  lsn,
  type Membership,
  type NodeId,
  nodeId,
  type Settings,
  type SnapshotId,
  term,
} from "../vocabulary.ts";
import { SimDisk } from "./disk.ts";
import { birth } from "./model/lists.ts";
import { checksumOf } from "./model/pages.ts";

const [a, b, c] = [nodeId("a"), nodeId("b"), nodeId("c")];
const voters: Membership = [a, b, c].map((id) => ({ id, kind: "voter", address: `${id}:1` }));

function raftOf(membership: Membership, known: Partial<RaftConfig> = {}): Raft {
  const origin = { lsn: lsn(0), term: term(0), chain: zeroChain };
  return new Raft({
    id: a,
    prng: new Prng(1),
    nowMs: 0,
    hardState: { term: term(0), vote: undefined, born: false },
    base: { ...origin, membership, settings: defaultSettings },
    termRuns: [],
    last: origin,
    lastChain: zeroChain,
    memberships: [],
    committedLsn: lsn(0),
    ...known,
  });
}

describe("found by the simulator", () => {
  test("a round's entries are those of the round, whatever arrives while it is made durable", () => {
    const raft = raftOf(voters);
    const stamp = { round: 1, sentMs: 0 };
    const draft = { lsn: lsn(1), term: term(1), kind: "noop", body: new Uint8Array() } as const;
    const entry: Entry = { ...draft, chain: chainHash(zeroChain, draft) };
    const append = {
      type: "append",
      prev: { lsn: lsn(0), term: term(0) },
      committedLsn: lsn(0),
      stamp,
    } as const;
    const envelope = { from: b, to: a, term: term(1) };
    const heartbeat = { ...append, range: { from: lsn(1), to: lsn(1) } };
    raft.step({ ...envelope, message: heartbeat }, [], 1);
    const ready = raft.ready();
    assert.deepEqual(ready?.entries, []);
    const range = { from: lsn(1), to: lsn(2) };
    raft.step({ ...envelope, message: { ...append, range } }, [entry], 2);
    assert.deepEqual(ready?.entries, []);
    raft.advance(ready!);
    assert.deepEqual(raft.ready()?.entries, [entry]);
  });

  test("the first entry of a cluster says who its members are, for disks that come later", () => {
    const alone = voters.slice(0, 1);
    const raft = raftOf(alone);
    const entries: Entry[] = [];
    for (let nowMs = 0; entries.length === 0; nowMs += 50) {
      raft.tick(nowMs);
      const ready = raft.ready();
      entries.push(...(ready?.entries ?? []));
      if (ready !== undefined) raft.advance(ready);
    }
    const first = entries[0];
    assert.equal(first?.kind, "membership");
    assert.deepEqual(decodeMembership(first.body), alone);
  });

  test("a seal that was read may not be on the disk: it is written again", async () => {
    const disk = new SimDisk();
    const log = await LogStore.open(disk, "/log", initial);
    // So that the seal, 32 bytes, lies across the border of two sectors.
    const body = new Uint8Array(512 - 48 - 49 - 1 - 12);
    await log.persist({ hardState: undefined, entries: chained(endOf(log), [{ term: 1, body }]) });
    let syncs = 0;
    disk.crash(new Prng(1));
    disk.faultOf = ({ kind, path }) =>
      kind === "sync" && path.endsWith(".segment") && ++syncs === 2 ? "EIO" : undefined;
    await assert.rejects(LogStore.open(disk, "/log", initial), StorageError);
    disk.kill();
    const again = await LogStore.open(disk, "/log", initial);
    const more = chained(endOf(again), [{ term: 1 }]);
    await again.persist({ hardState: undefined, entries: more });
    for (let seed = 0; seed < 50; seed++) {
      const after = disk.fork();
      after.crash(new Prng(seed));
      const recovered = await LogStore.open(after, "/log", initial);
      assert.equal(recovered.last.lsn, 2);
    }
  });

  test("an identity that was read may not be on the disk: its name is made durable first", async () => {
    const disk = new SimDisk();
    const random = (bytes: number) => "ab".repeat(bytes);
    const identity = await Identity.open(disk, "/n", { id: a, witness: undefined }, random);
    disk.faultOf = ({ kind }) => (kind === "sync-directory" ? "EIO" : undefined);
    await assert.rejects(identity.adopt("cluster"), StorageError);
    disk.kill();
    assert.equal(
      (await Identity.open(disk, "/n", { id: a, witness: undefined }, random)).clusterId,
      "cluster",
    );
    for (let seed = 0; seed < 20; seed++) {
      const after = disk.fork();
      after.crash(new Prng(seed));
      assert.equal(
        (await Identity.open(after, "/n", { id: a, witness: undefined }, random)).clusterId,
        "cluster",
      );
    }
  });

  test("a newborn database has a checksum to be compared with", () => {
    const image = birth(3);
    const { pageSize } = { pageSize: image[0]!.byteLength };
    const pages = new Uint8Array(Buffer.concat(image));
    assert.equal(formatHash(imageChecksum({ pageSize, pages })), formatHash(checksumOf(image)));
  });

  test("a node whose log is old lets in and answers a leader that it does not know", () => {
    let hasLeader = false;
    let peers: Membership = [];
    let membership: Membership = voters.slice(0, 2);
    const neighbours = new Neighbours({
      ...{ self: a, contacts: [], membership: () => membership, hasLeader: () => hasLeader },
      setPeers: (members) => {
        peers = members;
      },
    });
    neighbours.update();
    assert.ok(neighbours.admits(c));
    hasLeader = true;
    assert.ok(!neighbours.admits(c));
    neighbours.learn(voters);
    assert.ok(neighbours.admits(c));
    assert.deepEqual(
      peers.map((member) => member.id),
      [a, b, c],
    );
    // The log has caught up; later it says that c is gone.
    membership = voters;
    neighbours.update();
    membership = voters.slice(0, 2);
    neighbours.update();
    assert.ok(!neighbours.admits(c));
  });

  test("contacts are kept while the log does not name this node", () => {
    let peers: Membership = [];
    new Neighbours({
      self: nodeId("d"),
      contacts: voters,
      membership: () => voters.slice(0, 1),
      hasLeader: () => false,
      setPeers: (members) => {
        peers = members;
      },
    }).update();
    assert.equal(peers.length, 3);
  });

  test("a node knows its cluster before it has a database: a repair may take the genesis entry away", async () => {
    const disk = new SimDisk();
    const identity = await Identity.open(disk, "/node", { id: a, witness: false }, () => "00");
    const crash = new StorageError("the node died");
    const node = new RunningNode({
      identity,
      database: { change: () => Promise.reject(crash) },
    } as unknown as ConstructorParameters<typeof RunningNode>[0]);
    const image = { pageSize: 512, pages: new Uint8Array(512) };
    const body = encodeGenesis({ clusterId: "c1", image });
    const entry: Entry = { lsn: lsn(2), term: term(1), kind: "genesis", chain: zeroChain, body };
    await assert.rejects(node.onChange(entry), crash);
    assert.equal(identity.clusterId, "c1");
  });

  test("what a database should be is known also when the log no longer says it", async () => {
    const disk = new SimDisk();
    await disk.makeDirectory("/node");
    const position = { lsn: lsn(9), term: term(5) };
    const checksum = { high: 1, low: 2 };
    assert.equal(await readKnownChecksum(disk, "/node", position), undefined);
    const order: string[] = [];
    const served = {
      ...{ walFrames: 0, position: () => position, checksum: () => checksum },
      ...{ durablePosition: () => position },
    };
    const upkeep = new Upkeep({
      ...{ logRetentionBytes: 1, witness: false, onEvent: () => {} },
      log: {
        ...{ bytes: 2 ** 40, firstLsn: lsn(1), lsnAtBytesFromEnd: () => lsn(9) },
        dropBefore: async () => order.push("drop"),
      } as unknown as LogStore,
      served: () => served as unknown as ServedDatabase,
      committedLsn: () => lsn(9),
      neededFrom: () => lsn(9),
      keepChecksum: async (at, sum) => {
        order.push("keep");
        await writeKnownChecksum(disk, "/node", at, sum);
      },
      logStartsAt: () => {},
      pauseViews: () => {},
      failed: (error) => {
        throw error;
      },
    });
    await upkeep.round();
    assert.deepEqual(order, ["keep", "drop"]);
    assert.deepEqual(await readKnownChecksum(disk, "/node", position), checksum);
    const other = { lsn: lsn(10), term: term(5) };
    assert.equal(await readKnownChecksum(disk, "/node", other), undefined);
  });

  test("a weak rule commits nothing behind the birth of a cluster before that is safe", () => {
    const origin = { lsn: lsn(0), term: term(0), chain: zeroChain };
    const settings = { ...defaultSettings, commitRule: "leader" as const };
    const log = new LogView({
      ...{ id: a, prng: new Prng(1), nowMs: 0, termRuns: [], last: origin, lastChain: zeroChain },
      hardState: { term: term(1), vote: undefined, born: false },
      ...{ base: { ...origin, membership: voters, settings }, memberships: [] },
      committedLsn: lsn(0),
    });
    let chain = zeroChain;
    for (const [i, kind] of (["noop", "genesis", "payload"] as const).entries()) {
      const draft = { lsn: lsn(i + 1), term: term(1), kind, body: new Uint8Array() };
      chain = chainHash(chain, draft);
      log.append({ ...draft, chain });
    }
    log.safeTo(lsn(1));
    assert.equal(log.firstUnsafeChange(), 2);
    log.safeTo(lsn(2));
    assert.equal(log.firstUnsafeChange(), Number.POSITIVE_INFINITY);
  });

  test("by a weak rule, what an old leader committed is kept although it knows of no commit after a restart", () => {
    const weak: Settings = { ...defaultSettings, commitRule: "leader" };
    const raft = raftOf(voters, {
      ...{
        hardState: { term: term(1), vote: a, born: true },
        last: { lsn: lsn(5), term: term(1) },
      },
      ...{
        termRuns: [{ from: lsn(1), term: term(1) }],
        settings: [{ lsn: lsn(3), settings: weak }],
      },
    });
    const pages = { lsn: lsn(66), term: term(7), chain: zeroChain };
    const lost = raft.losesFrom({ ...pages, membership: voters, settings: weak });
    assert.equal(lost, 3, "the log begins with entries that only a majority could commit");
  });

  test("a leader that stops while it gives the lead to a better one ends in good order", async () => {
    const clock = new RealClock();
    const progress = [
      { id: b, kind: "voter", mode: "stream", matchLsn: 1, nextLsn: 2, heardMs: 0 },
    ];
    const membership = voters.map((member) => ({ ...member, priority: member.id === b ? 9 : 0 }));
    let isStopping = false;
    const handOver: HandOver = new HandOver({
      ...{ self: a, clock, onEvent: () => {} },
      node: {
        leadership: { leading: true, leader: a },
        status: () => ({ role: "leader", last: { lsn: 1 }, membership, progress }),
        transferTo: () => {
          assert.ok(isStopping);
          throw new ClientError("NOT_READY", "this node is stopping; ask another");
        },
      },
      links: { isUp: () => true, send: () => handOver.prepared(b) },
      writes: {
        hold: async () => {
          isStopping = true;
        },
        release: () => {},
      },
    } as unknown as HandOverPorts);
    await handOver.prefer();
    assert.ok(isStopping);
  });

  test("what gives way is kept once, although pages are about to be copied over it, too", async () => {
    const steps: string[] = [];
    let isKept = false;
    const from = lsn(1);
    const keeping = new Keeping({
      ...{ self: a, dir: "/n", clock: new RealClock(), onEvent: () => {}, rewound: () => {} },
      ...{ identity: {}, log: { base: { lsn: 0 }, last: { lsn: 1 } } },
      ...{ database: {}, applying: { pause: async () => true, rewindTo: () => {} } },
      node: {
        losesFrom: () => (isKept ? undefined : from),
        yieldFrom: () => {
          isKept = true;
        },
      },
      discarded: {
        keep: async () => {
          steps.push("begin");
          await new Promise(setImmediate);
          steps.push("end");
        },
      },
      failed: (error: Error) => {
        throw error;
      },
    } as unknown as KeepingPorts);
    keeping.keep(from);
    await keeping.beforeInstall({} as SnapshotId);
    assert.deepEqual(steps, ["begin", "end"]);
  });

  test("a damaged leader asks those who never lead, too, when those who may are damaged as well", () => {
    const membership = voters.map((member) =>
      member.id === c ? { ...member, priority: "never" as const } : member,
    );
    const followers = membership.filter((member) => member.id !== a);
    const progress = followers.map(({ id }) => ({ id, mode: "stream", matchLsn: 1 }));
    const asked: NodeId[] = [];
    const handOver = new HandOver({
      ...{ self: a, clock: new RealClock(), onEvent: () => {} },
      database: { damage: "one page" },
      links: { isUp: () => true },
      node: {
        status: () => ({ role: "leader", last: { lsn: 1 }, membership, progress }),
        transferTo: (id: NodeId) => void asked.push(id),
      },
    } as unknown as HandOverPorts);
    handOver.offer();
    handOver.offer();
    assert.deepEqual(asked, [b, c]);
  });
});
