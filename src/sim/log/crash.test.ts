/**
 * The log against power cuts, kills and failing syncs at every effect, on the simulated disk.
 *
 * A fixed story of operations runs; at one effect it is ended. What the log shows afterwards must be the state before
 * the operation that was cut or the state after it, whole. And what it has shown once it must show for ever.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { StorageError } from "../../base/errors.ts";
import { Prng } from "../../base/prng.ts";
import { LogStore } from "../../log/log-store.ts";
import { chained, endOf, initial, membershipDraft, stateOf } from "../../log/test-log.ts";
import { lsn, nodeId, term } from "../../vocabulary.ts";
import { type Fault, SimDisk } from "../disk.ts";

type Draft = Parameters<typeof chained>[1][number];
type LogState = Awaited<ReturnType<typeof stateOf>>;

const dir = "/n/log";
const options = { segmentBytesMax: 2_000, cacheBytesMax: 0 };
const open = (disk: SimDisk) => LogStore.open(disk, dir, initial, options);

const big = (t: number): Draft => ({ term: t, body: new Uint8Array(1_500).fill(t) });
const append = (drafts: readonly Draft[]) => async (log: LogStore) => {
  await log.persist({ hardState: undefined, entries: chained(endOf(log), drafts) });
};
const replace = (from: number, drafts: readonly Draft[]) => async (log: LogStore) => {
  const before = lsn(from - 1);
  const entries = chained({ lsn: before, chain: (await log.chainAt(before))! }, drafts);
  await log.persist({ hardState: undefined, entries });
};
const vote = (t: number, node: string) => async (log: LogStore) => {
  await log.persist({ hardState: { term: term(t), vote: nodeId(node), born: t > 1 }, entries: [] });
};

/** Every kind of operation, in the neighbourhoods that matter: segment ends, old suffixes, restarts. */
const story: readonly ((log: LogStore) => Promise<void>)[] = [
  append([{ term: 1, kind: "noop" }]),
  vote(1, "a"),
  append([{ term: 1 }, big(1), membershipDraft(1, "a", "b")]),
  append([big(1), { term: 1 }]),
  append([{ term: 1 }, { term: 1 }]),
  vote(2, "b"),
  replace(7, [{ term: 2, body: new Uint8Array(700).fill(9) }]),
  append([{ term: 2 }, membershipDraft(2, "a")]),
  replace(5, [{ term: 3 }, big(3)]),
  append([big(3)]),
  // Entries of a term above the one on record would be a vote forgotten, were they to outlive it.
  async (log) => {
    const hardState = { term: term(3), vote: undefined, born: true };
    await log.persist({ hardState, entries: chained(endOf(log), [{ term: 3 }]) });
  },
  async (log) => void (await log.dropBefore(lsn(7))),
  append([big(3), big(3)]),
  replace(10, [{ term: 4 }]),
  async (log) => log.reset({ ...initial, lsn: lsn(9), term: term(4), chain: "aa00aa00aa00aa00" }),
  append([{ term: 5 }, big(5)]),
  replace(10, [{ term: 6 }]),
  append([{ term: 6 }]),
];

type End = {
  readonly disk: SimDisk;
  /** States the log may be in; the first is the one before the operation that was cut. */
  readonly allowed: readonly LogState[];
};

/** Runs the story until effect `at` (from 0, after opening), where `fault` happens. Undefined: it got through. */
async function runUntil(at: number, fault: Fault): Promise<End | undefined> {
  const disk = new SimDisk();
  let log = await open(disk);
  const first = disk.effects;
  let before = await stateOf(log);
  for (const [i, operation] of story.entries()) {
    disk.faultOf = (_, index) => (index - first === at ? fault : undefined);
    try {
      await operation(log);
    } catch (error) {
      assert.ok(error instanceof StorageError, String(error));
      await assert.rejects(append([{ term: 9 }])(log), StorageError);
      return { disk, allowed: [before, await stateAfter(i)] };
    }
    before = await stateOf(log);
    assert.deepEqual(before, await stateAfter(i));
    // Restarts are part of the story: every third operation starts from what recovery leaves.
    if (i % 3 === 2) {
      disk.faultOf = () => undefined;
      disk.kill();
      const skipped = disk.effects;
      log = await open(disk);
      disk.effects = skipped;
    }
  }
  return undefined;
}

const statesAfter: LogState[] = [];

/** State after operation `i` when nothing goes wrong. */
async function stateAfter(i: number): Promise<LogState> {
  if (statesAfter.length === 0) {
    const log = await open(new SimDisk());
    for (const operation of story) {
      await operation(log);
      statesAfter.push(await stateOf(log));
    }
  }
  return statesAfter[i]!;
}

/** Opens, compares, and closes by death of the process. Hard state may be ahead of the entries, never behind. */
async function shows(disk: SimDisk, allowed: readonly LogState[]): Promise<LogState> {
  const state = await stateOf(await open(disk));
  const shown = JSON.stringify(state);
  const [before, after = before] = allowed as [LogState, LogState?];
  const mixed = { ...before, hard: after.hard };
  const isAllowed = [before, after, mixed].some((one) => JSON.stringify(one) === shown);
  assert.ok(isAllowed, `log shows ${shown}, allowed ${JSON.stringify(allowed)}`);
  disk.kill();
  return state;
}

/** Another power cut, in the middle of a short batch behind whatever the last one left. The state it may lead to. */
async function cutAgain(disk: SimDisk, prng: Prng): Promise<LogState> {
  const next = append([{ term: 7 }]);
  const through = await open(disk.fork());
  await next(through);
  const log = await open(disk);
  const kind = prng.chance(0.5) ? "write" : "sync";
  disk.faultOf = (effect) => (effect.kind === kind ? "power" : undefined);
  await assert.rejects(next(log), StorageError);
  disk.crash(prng);
  return stateOf(through);
}

/** Calls `work` for every effect of the story. */
async function atEveryEffect(
  fault: Fault,
  work: (end: () => Promise<End>, at: number) => Promise<void>,
): Promise<number> {
  for (let at = 0; ; at++) {
    const end = await runUntil(at, fault);
    if (end === undefined) return at;
    let fresh: End | undefined = end;
    await work(async () => {
      const given = fresh ?? (await runUntil(at, fault))!;
      fresh = undefined;
      return given;
    }, at);
  }
}

describe("log after a crash", () => {
  test("a power cut at every effect leaves the state before or after, and it stays so", async () => {
    const count = await atEveryEffect("power", async (end, at) => {
      for (let seed = 0; seed < 5; seed++) {
        const prng = new Prng(at * 1_000 + seed);
        const { disk, allowed } = await end();
        disk.crash(prng);
        const shown = await shows(disk, allowed);
        disk.crash(prng);
        await shows(disk, [shown]);
        await shows(disk, [shown, await cutAgain(disk, prng)]);
        const log = await open(disk);
        await append([{ term: 8 }, { term: 8 }])(log);
        const grown = await stateOf(log);
        disk.crash(prng);
        assert.deepEqual(await shows(disk, [grown]), grown);
      }
    });
    assert.ok(count > 60, `${count} effects`);
  });

  test("a kill without a power cut, and a power cut right after the restart", async () => {
    await atEveryEffect("power", async (end, at) => {
      const { disk, allowed } = await end();
      disk.kill();
      const shown = await shows(disk, allowed);
      for (let seed = 0; seed < 4; seed++) {
        const twin = disk.fork();
        twin.crash(new Prng(at * 1_000 + seed));
        await shows(twin, [shown]);
      }
    });
  });

  test("a failed write or sync, a restart on what the kernel still shows, then a power cut", async () => {
    for (const fault of ["EIO", "ENOSPC"] as const) {
      await atEveryEffect(fault, async (end, at) => {
        const { disk, allowed } = await end();
        disk.kill();
        const shown = await shows(disk, allowed);
        for (let seed = 0; seed < 4; seed++) {
          const twin = disk.fork();
          twin.crash(new Prng(at * 1_000 + seed));
          await shows(twin, [shown]);
        }
      });
    }
  });

  test("a power cut at every effect of the recovery", async () => {
    // From a power cut; from a kill, with writes still in the kernel; from a failed write or sync and a restart.
    for (const [fault, how] of [
      ["power", "crash"],
      ["power", "kill"],
      ["EIO", "kill"],
    ] as const) {
      await atEveryEffect(fault, async (end, at) => {
        const { disk, allowed } = await end();
        if (how === "crash") disk.crash(new Prng(at));
        else disk.kill();
        for (let cut = 0; ; cut++) {
          const halfway = disk.fork();
          halfway.faultOf = (_, index) => (index === cut ? "power" : undefined);
          const opened = await open(halfway).catch((error: unknown) => {
            assert.ok(error instanceof StorageError, String(error));
          });
          if (opened !== undefined) break;
          for (const seed of [1, 2]) {
            const twin = halfway.fork();
            twin.crash(new Prng(at * 1_000 + cut * 10 + seed));
            await shows(twin, allowed);
          }
        }
      });
    }
  });

  test("hard state torn in its writing, and again in its repair", async () => {
    const votes = { old: vote(3, "abcdefgh"), next: vote(0x1234567, "zyxwvuts") };
    for (let at = 0; at < 4; at++) {
      for (const how of ["crash", "kill"] as const) {
        const disk = new SimDisk();
        const log = await open(disk);
        await votes.old(log);
        const before = await stateOf(log);
        const through = await open(disk.fork());
        await votes.next(through);
        const allowed = [before, await stateOf(through)];
        const first = disk.effects;
        disk.faultOf = (_, index) => (index - first === at ? "power" : undefined);
        await assert.rejects(votes.next(log), StorageError);
        for (let seed = 0; seed < 300; seed++) {
          const halfway = disk.fork();
          if (how === "crash") halfway.crash(new Prng(seed));
          const cut = seed % 6;
          halfway.faultOf = (_, index) => (index === cut ? "power" : undefined);
          await open(halfway).catch((error: unknown) => assert.ok(error instanceof StorageError));
          halfway.crash(new Prng(seed * 10 + at));
          await shows(halfway, allowed);
        }
      }
    }
  });

  test("a power cut at every effect of making a log", async () => {
    for (let cut = 0; ; cut++) {
      let made = false;
      for (let seed = 0; seed < 20; seed++) {
        const disk = new SimDisk();
        disk.faultOf = (_, index) => (index === cut ? "power" : undefined);
        made = await open(disk).then(
          () => true,
          () => false,
        );
        disk.crash(new Prng(seed));
        const log = await open(disk);
        assert.deepEqual(log.last, { lsn: 0, term: 0 });
        await append([{ term: 1 }])(log);
      }
      if (made) break;
    }
  });
});
