import assert from "node:assert/strict";
import { test } from "node:test";
import { type Membership, nodeId } from "../../vocabulary.ts";
import { type MovePorts, Moves } from "./moves.ts";

const [a, b] = [nodeId("a"), nodeId("b")];

function ground(given: Partial<MovePorts> = {}) {
  const done: string[] = [];
  const state = { nowMs: 0, up: false, leading: true };
  let membership: Membership = [];
  const list = (...addresses: string[]) => {
    membership = addresses.map((address, i) => ({ id: [a, b][i]!, kind: "voter", address }));
  };
  list("h:1", "h:2");
  const moves = new Moves({
    self: a,
    clock: { nowMs: () => state.nowMs } as never,
    own: { address: "h:1", isCertain: false },
    membership: () => membership,
    isLeading: () => state.leading,
    isUp: () => state.up,
    send: (to, note) => done.push(`${to} ${note["note"]} ${note["address"]}`),
    redial: () => done.push(`dial ${moves.addressOf(b) ?? "h:2"}`),
    change: (id, address) => done.push(`change ${id} ${address}`),
    onEvent: () => {},
    ...given,
  });
  const hear = (atMs: number, isCertain = false) => {
    state.nowMs = atMs;
    moves.onNote(b, { note: "address", address: "h:9", isCertain });
  };
  return { moves, done, state, hear, list };
}

test("a node that is reached where the log says is left there", () => {
  const { moves, done, state, hear } = ground();
  state.up = true;
  for (let ms = 0; ms < 60_000; ms += 1_000) hear(ms);
  assert.deepEqual(done, []);
  assert.equal(moves.addressOf(b), undefined);
});

test("one that is not is dialled where it says it is, and in turn where it was", () => {
  const { done, hear } = ground();
  for (let ms = 0; ms <= 25_000; ms += 1_000) hear(ms);
  assert.deepEqual(done, ["dial h:9", "dial h:2", "dial h:9"]);
});

test("the leader has the log say so only once it has reached the node there", () => {
  const { done, state, hear } = ground();
  hear(0);
  hear(4_000);
  assert.deepEqual(done, ["dial h:9"]);
  state.up = true;
  hear(5_000);
  assert.deepEqual(done.slice(1), ["b reached h:9", "change b h:9"]);
});

test("who does not lead changes nothing; the word of an operator needs no trial", () => {
  const { done, state, hear } = ground();
  state.leading = false;
  state.up = true;
  hear(0, true);
  assert.deepEqual(done, []);
  state.leading = true;
  hear(1_000, true);
  assert.deepEqual(done, ["change b h:9"]);
});

test("a node that moved tells the others; as leader it waits until somebody reached it", () => {
  const { moves, done } = ground({ own: { address: "h:7", isCertain: false } });
  moves.tick();
  assert.deepEqual(done, ["b address h:7"]);
  moves.onNote(b, { note: "reached", address: "h:8" });
  assert.equal(done.length, 1);
  moves.onNote(b, { note: "reached", address: "h:7" });
  assert.deepEqual(done.slice(1), ["change a h:7"]);
});

test("an address that nobody can connect to is not dialled", () => {
  const { moves, done, state } = ground();
  for (const address of ["0.0.0.0:1", "[::]:1", "nonsense"]) {
    for (state.nowMs = 0; state.nowMs < 8_000; state.nowMs += 1_000) {
      moves.onNote(b, { note: "address", address, isCertain: false });
    }
  }
  assert.deepEqual(done, []);
});

test("what was told is forgotten once the log says something else, or nothing", () => {
  const { moves, hear, list } = ground();
  hear(0);
  hear(4_000);
  assert.equal(moves.addressOf(b), "h:9");
  list("h:1", "h:9");
  list("h:1");
  list("h:1", "h:10");
  assert.equal(moves.addressOf(b), undefined);
  // Removed, and added again where it was before it moved.
  list("h:1");
  moves.tick();
  list("h:1", "h:2");
  assert.equal(moves.addressOf(b), undefined);
});
