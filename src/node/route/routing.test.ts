// Where a write goes while the leader cannot be reached, and a read that a delayed node cannot answer.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Unit } from "../../db/sql/request.ts";
import { RealClock } from "../../host/clock.ts";
import { defaultSettings, lsn, nodeId, type Term } from "../../vocabulary.ts";
import { Waiters } from "../waiters.ts";
import { type ReadPorts, Reads } from "./reads.ts";
import { type RoutePorts, Routing } from "./routing.ts";
import type { RunOptions } from "./run.ts";

const [self, old, successor] = [nodeId("a"), nodeId("b"), nodeId("c")];

test("nothing is sent to a leader whose link is down; it goes to the successor", async () => {
  const state = { leader: old, up: [successor] };
  const { routing, sentTo } = routingOver(state);
  const answer = routing.run(write, options);
  await pause(30);
  assert.deepEqual(sentTo, []);
  state.leader = successor;
  await answer;
  assert.deepEqual(sentTo, ["c:1"]);
});

test("a leader that is linked again gets what has waited for it", async () => {
  const state = { leader: old, up: [] as (typeof old)[] };
  const { routing, sentTo } = routingOver(state);
  const answer = routing.run(write, options);
  await pause(30);
  state.up.push(old);
  await answer;
  assert.deepEqual(sentTo, ["b:1"]);
});

test("a delayed node sends on what it lacks, and answers what it has itself", async () => {
  const { routing, sentTo } = delayedRouting({ applied: 10, session: 8 });
  const ask = async (consistency: object, minPosition?: object) => {
    sentTo.length = 0;
    await routing.run(read, { ...options, consistency, minPosition } as unknown as RunOptions);
    return sentTo.join();
  };
  const here = "here";
  assert.equal(await ask({ type: "stale" }), here);
  assert.equal(await ask({ type: "session" }), here);
  assert.equal(await ask({ type: "session" }, { lsn: lsn(10) }), here);
  const elsewhere = `c:1 ${JSON.stringify({ type: "linearizable" })}`;
  assert.equal(await ask({ type: "session" }, { lsn: lsn(11) }), elsewhere);
  assert.equal(await ask({ type: "linearizable" }), elsewhere);
  assert.equal(await ask({ type: "stale" }, { lsn: lsn(11) }), 'c:1 {"type":"stale"}');
  const bounded = { type: "bounded", maxLagMs: 5 };
  assert.equal(await ask(bounded), `c:1 ${JSON.stringify(bounded)}`);
  const later = delayedRouting({ applied: 10, session: 11 });
  await later.routing.run(read, options);
  assert.deepEqual(later.sentTo, [elsewhere]);
});

function delayedRouting({ applied, session }: { applied: number; session: number }) {
  const sentTo: string[] = [];
  const clock = new RealClock();
  const pool = {
    run: async () => {
      sentTo.push("here");
      return { results: [], lsn: lsn(applied), term: 1 as Term };
    },
  };
  const reads = new Reads({
    ...{ clock, applied: new Waiters(clock, lsn(applied)), pool: () => pool },
    appliedId: () => ({ lsn: lsn(applied), term: 1 as Term }),
    hasLease: () => false,
  } as unknown as ReadPorts);
  reads.saw({ lsn: lsn(session), term: 1 as Term });
  const routing = new Routing({
    ...{ witness: false, delayed: true, self, clock, reads },
    forwarder: {
      run: async (address: string, _unit: Unit, { consistency }: RunOptions) => {
        sentTo.push(`${address} ${JSON.stringify(consistency)}`);
        return { position: { lsn: lsn(0), term: 1 as Term } };
      },
    },
    settings: () => defaultSettings,
    leadership: () => ({ term: 1 as Term, leader: successor, leading: false }),
    addressOf: (id: string) => `${id}:1`,
    isUp: () => true,
  } as unknown as RoutePorts);
  return { routing, sentTo };
}

const read: Unit = {
  requests: [
    { type: "execute", stmt: { sql: "SELECT 1", args: [], namedArgs: [], wantRows: true } },
  ],
} as unknown as Unit;
const write: Unit = {
  requests: [
    { type: "execute", stmt: { sql: "DELETE FROM t", args: [], namedArgs: [], wantRows: true } },
  ],
} as unknown as Unit;
const options = {
  consistency: { type: "session" },
  session: undefined,
  signal: new AbortController().signal,
} as unknown as RunOptions;

function routingOver(state: { leader: typeof old; up: readonly (typeof old)[] }) {
  const sentTo: string[] = [];
  const routing = new Routing({
    witness: false,
    self,
    clock: new RealClock(),
    reads: { saw: () => {} },
    writes: undefined,
    settings: () => defaultSettings,
    forwarder: {
      run: async (address: string) => {
        sentTo.push(address);
        return {};
      },
    },
    leadership: () => ({ term: 1 as Term, leader: state.leader, leading: false }),
    addressOf: (id: string) => `${id}:1`,
    isUp: (id: typeof old) => state.up.includes(id),
  } as unknown as RoutePorts);
  return { routing, sentTo };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
