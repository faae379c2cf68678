import { strict as assert } from "node:assert";
import { test } from "node:test";
import { ProtocolError } from "../base/errors.ts";
import { nodeId } from "../vocabulary.ts";
import { type Frame, frameTypes } from "./frames.ts";
import { Accepting, Dialling, type Step } from "./handshake.ts";
import type { Refusal, Self } from "./introduction.ts";

const selfA: Self = { id: nodeId("a"), instance: "ia", clusterId: "c1", secret: "sesame" };
const selfB: Self = { id: nodeId("b"), instance: "ib", clusterId: "c1", secret: "sesame" };
const nonceA = new Uint8Array(32).fill(1);
const nonceB = new Uint8Array(32).fill(2);

type Setup = {
  a?: Partial<Self>;
  b?: Partial<Self>;
  to?: string;
  judge?: () => Refusal | undefined;
  /** Changes a frame on its way. */
  onWay?: (frame: Frame) => Frame;
};

/** Runs the handshake to its end. */
function shake(setup: Setup): { dialler: Step; acceptor: Step; frames: Frame[] } {
  const { onWay = (frame) => frame } = setup;
  const wanted = { node: nodeId(setup.to ?? "b"), lane: "data" as const };
  const dialling = new Dialling({ ...selfA, ...setup.a }, wanted, nonceA);
  const judge = setup.judge ?? (() => undefined);
  const accepting = new Accepting({ ...selfB, ...setup.b }, judge, nonceB);
  const frames: Frame[] = [];
  const carry = (frame: Frame): Frame => {
    frames.push(onWay(frame));
    return frames.at(-1)!;
  };
  let acceptor = accepting.step(carry(dialling.hello));
  for (;;) {
    const dialler = dialling.step(carry(replyOf(acceptor)));
    if (dialler.type !== "send") return { dialler, acceptor, frames };
    acceptor = accepting.step(carry(dialler.reply));
  }
}

function replyOf(step: Step): Frame {
  assert.ok(step.reply !== undefined, `${step.type} has nothing to send`);
  return step.reply;
}

function flip(frame: Frame, at: number): Frame {
  const payload = frame.payload.slice();
  payload[at]! ^= 1;
  return { ...frame, payload };
}

test("both sides learn who the other is", () => {
  const { dialler, acceptor } = shake({});
  assert.ok(dialler.type === "done" && acceptor.type === "done");
  assert.deepEqual(dialler.peer, { id: "b", instance: "ib", clusterId: "c1", lane: "data" });
  assert.deepEqual(acceptor.peer, { id: "a", instance: "ia", clusterId: "c1", lane: "data" });
});

test("each reason is found by the acceptor and told to the dialler", () => {
  const table: readonly [Setup, Refusal | "done"][] = [
    [{ a: { secret: "open" } }, "wrong-secret"],
    [{ b: { secret: "open" } }, "wrong-secret"],
    [{ a: { clusterId: "c2" } }, "other-cluster"],
    [{ a: { clusterId: undefined } }, "done"],
    [{ b: { clusterId: undefined } }, "done"],
    [{ to: "c" }, "wrong-node"],
    [{ a: { id: nodeId("b") } }, "duplicate-id"],
    [{ judge: () => "not-a-member" }, "not-a-member"],
    [{ judge: () => "duplicate-id" }, "duplicate-id"],
    // The dialler speaks another version, then the acceptor does.
    [{ onWay: (frame) => (frame.type === frameTypes.hello ? flip(frame, 1) : frame) }, "version"],
  ];
  for (const [setup, wanted] of table) {
    const { dialler, acceptor } = shake(setup);
    for (const step of [dialler, acceptor]) {
      assert.equal(step.type === "refused" ? step.why : step.type, wanted);
    }
  }
});

test("a challenge of another version is turned down by the dialler", () => {
  const onWay = (frame: Frame) => (frame.type === frameTypes.challenge ? flip(frame, 1) : frame);
  const { dialler } = shake({ onWay });
  assert.ok(dialler.type === "refused" && dialler.why === "version");
});

test("one changed bit of any frame ends it", () => {
  const { frames } = shake({});
  assert.equal(frames.length, 4);
  for (const { type, payload } of frames) {
    for (let at = 0; at < payload.length; at++) {
      let ended: string;
      try {
        const { dialler } = shake({
          onWay: (frame) => (frame.type === type ? flip(frame, at) : frame),
        });
        ended = dialler.type;
      } catch (error) {
        assert.ok(error instanceof ProtocolError);
        ended = "refused";
      }
      assert.equal(ended, "refused", `byte ${at} of frame ${type}`);
    }
  }
});

test("a recorded proof is worth nothing against another nonce, a reflected one nothing at all", () => {
  const { frames } = shake({});
  const [hello, , proof, welcome] = frames;
  const fresh = new Accepting(selfB, () => undefined, new Uint8Array(32).fill(9));
  fresh.step(hello!);
  const step = fresh.step(proof!);
  assert.ok(step.type === "refused" && step.why === "wrong-secret");

  // A recorded welcome, replayed to a dialler with another nonce.
  const again = new Dialling(selfA, { node: nodeId("b"), lane: "data" }, nonceB);
  again.step(frames[1]!);
  const answer = again.step(welcome!);
  assert.ok(answer.type === "refused" && answer.why === "wrong-secret");

  // The dialler's own proof, sent back to it as the acceptor's.
  const mirror = new Dialling(selfA, { node: nodeId("b"), lane: "data" }, nonceA);
  const own = replyOf(mirror.step(frames[1]!));
  const said = welcome!.payload.slice(0, welcome!.payload.length - 32);
  const payload = new Uint8Array([...said, ...own.payload]);
  const back = mirror.step({ type: frameTypes.welcome, payload });
  assert.ok(back.type === "refused" && back.why === "wrong-secret");
});

test("a stranger without the secret learns neither cluster nor members nor anything to guess from", () => {
  let judged = false;
  const judge = (): Refusal => {
    judged = true;
    return "not-a-member";
  };
  const { acceptor, frames } = shake({ a: { secret: "guess", clusterId: "c9" }, judge, to: "x" });
  assert.ok(acceptor.type === "refused" && acceptor.why === "wrong-secret");
  assert.equal(judged, false);
  const fromAcceptor = [frames[1], frames[3]].map((frame) => frame!.payload.byteLength);
  assert.deepEqual(fromAcceptor, [2 + 32, 1]);
});

test("frames out of turn are ProtocolErrors", () => {
  const { frames } = shake({});
  const [hello, challenge, proof, welcome] = frames as [Frame, Frame, Frame, Frame];
  const refusedForNoReason = { type: frameTypes.refused, payload: Uint8Array.of(200) };
  const accept = (...all: Frame[]) => {
    const side = new Accepting(selfB, () => undefined, nonceB);
    for (const frame of all) side.step(frame);
  };
  const dial = (...all: Frame[]) => {
    const side = new Dialling(selfA, { node: nodeId("b"), lane: "data" }, nonceA);
    for (const frame of all) side.step(frame);
  };
  assert.throws(() => accept(proof), ProtocolError);
  assert.throws(() => accept(hello, hello), ProtocolError);
  assert.throws(() => accept({ type: frameTypes.message, payload: hello.payload }), ProtocolError);
  assert.throws(() => dial(welcome), ProtocolError);
  assert.throws(() => dial(challenge, challenge), ProtocolError);
  assert.throws(() => dial(refusedForNoReason), ProtocolError);
});
