// Where a write goes while the leader cannot be reached.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Unit } from "../../db/sql/request.ts";
import { RealClock } from "../../host/clock.ts";
import { nodeId, type Term } from "../../vocabulary.ts";
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
