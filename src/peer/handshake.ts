/**
 * How two nodes make sure of each other at the start of a link. Pure: frames in, frames out, nonces given.
 *
 *   dialler                                          acceptor
 *   HELLO      version, lane, from, to,
 *              cluster, instance, nonce       ──▶
 *                                             ◀──    CHALLENGE  version, nonce
 *   PROOF      hmac(dialler role, HELLO, CHALLENGE) ──▶
 *                                             ◀──    WELCOME    cluster, instance, hmac(acceptor role, everything)
 *                                                    or REFUSED  reason
 *
 * Each proof is HMAC-SHA256 with the cluster's secret over the whole payloads exchanged so far, so it binds version,
 * lane, both node ids, cluster, instances and both nonces; a proof recorded elsewhere, or sent back to its maker,
 * proves nothing. The dialler proves itself first: a stranger who connects to a node gets nothing to guess the secret
 * from. Nothing but the version and the proof is judged before the proof holds, so a stranger learns nothing either.
 * A refusal is not authenticated: it says why in one of a few words and has no effect but that the link does not
 * come up.
 *
 * HELLO begins with the version and REFUSED never changes, so that any two versions can at least say why not.
 *
 * Not here: timeouts and sockets (greeting.ts), who is a member or a duplicate (the `judge` given by links.ts).
 */

import { createHmac, timingSafeEqual } from "node:crypto";
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { type NodeId, nodeId, nodeIdPattern } from "../vocabulary.ts";
import { type Frame, frameTypes } from "./frames.ts";
import {
  type Greeted,
  type LaneKind,
  lanes,
  type Refusal,
  refusals,
  type Self,
} from "./introduction.ts";

/** Version of everything between two nodes. History: 1, the first. */
export const protocolVersion = 1;

/** What to do after a frame. "done" and "refused" are the last steps; their frame, if any, is still to be sent. */
export type Step =
  | { readonly type: "send"; readonly reply: Frame }
  | { readonly type: "done"; readonly reply: Frame | undefined; readonly peer: Greeted }
  | { readonly type: "refused"; readonly reply: Frame | undefined; readonly why: Refusal };

export const nonceBytes = 32;
const proofBytes = 32;
const nameBytesMax = 64;

type Hello = Greeted & { readonly version: number; readonly to: NodeId };

/** The side that opened the connection. One use. */
export class Dialling {
  readonly #self: Self;
  readonly #to: NodeId;
  readonly #lane: LaneKind;
  /** Payloads sent and received so far, in order: what the proofs are made over. */
  readonly #transcript: Uint8Array[] = [];

  readonly hello: Frame;
  /** The challenge has been answered. */
  #proved = false;

  constructor(self: Self, to: { node: NodeId; lane: LaneKind }, nonce: Uint8Array) {
    this.#self = self;
    this.#to = to.node;
    this.#lane = to.lane;
    const hello = new ByteWriter().u16(protocolVersion).u8(lanes.indexOf(to.lane));
    hello
      .text(self.id)
      .text(to.node)
      .text(self.clusterId ?? "")
      .text(self.instance)
      .bytes(nonce);
    this.hello = { type: frameTypes.hello, payload: hello.finish() };
    this.#transcript.push(this.hello.payload);
  }

  /** Throws ProtocolError on a frame that has no business here. */
  step(frame: Frame): Step {
    if (frame.type === frameTypes.refused) {
      return { type: "refused", reply: undefined, why: decodeRefusal(frame.payload) };
    }
    if (frame.type === frameTypes.challenge && !this.#proved) {
      const reader = new ByteReader(frame.payload);
      if (reader.u16() !== protocolVersion) return refuse("version");
      reader.bytes(nonceBytes);
      expectEnd(reader);
      this.#proved = true;
      this.#transcript.push(frame.payload);
      const payload = proofOf(this.#self.secret, "dialler", this.#transcript);
      this.#transcript.push(payload);
      return { type: "send", reply: { type: frameTypes.proof, payload } };
    }
    if (frame.type === frameTypes.welcome && this.#proved) return this.#onWelcome(frame.payload);
    throw new ProtocolError(`frame of type ${frame.type} during the handshake`);
  }

  #onWelcome(payload: Uint8Array): Step {
    const reader = new ByteReader(payload);
    const clusterId = readName(reader) || undefined;
    const instance = readName(reader);
    this.#transcript.push(payload.subarray(0, reader.at));
    const proof = reader.bytes(proofBytes);
    expectEnd(reader);
    const wanted = proofOf(this.#self.secret, "acceptor", this.#transcript);
    if (!timingSafeEqual(proof, wanted)) return refuse("wrong-secret");
    if (isOtherCluster(clusterId, this.#self.clusterId)) return refuse("other-cluster");
    const peer = { id: this.#to, instance, clusterId, lane: this.#lane };
    return { type: "done", reply: undefined, peer };
  }
}

/** The side that was connected to. One use. */
export class Accepting {
  readonly #self: Self;
  readonly #nonce: Uint8Array;
  /** Last word on a peer that has proved who it is: a reason against it, or undefined. */
  readonly #judge: (peer: Greeted) => Refusal | undefined;
  readonly #transcript: Uint8Array[] = [];
  /** Set by the first frame. */
  #hello: Hello | undefined;

  constructor(self: Self, judge: (peer: Greeted) => Refusal | undefined, nonce: Uint8Array) {
    this.#self = self;
    this.#judge = judge;
    this.#nonce = nonce;
  }

  /** Whom the other side claims to be; proved or not. */
  get claimed(): NodeId | undefined {
    return this.#hello?.id;
  }

  /** Throws ProtocolError on a frame that has no business here. */
  step(frame: Frame): Step {
    if (frame.type === frameTypes.hello && this.#hello === undefined) {
      if (new ByteReader(frame.payload).u16() !== protocolVersion) return refuse("version", true);
      this.#hello = decodeHello(frame.payload);
      const payload = new ByteWriter().u16(protocolVersion).bytes(this.#nonce).finish();
      this.#transcript.push(frame.payload, payload);
      return { type: "send", reply: { type: frameTypes.challenge, payload } };
    }
    if (frame.type === frameTypes.proof && this.#hello !== undefined) {
      return this.#onProof(this.#hello, frame.payload);
    }
    throw new ProtocolError(`frame of type ${frame.type} during the handshake`);
  }

  #onProof(hello: Hello, proof: Uint8Array): Step {
    const { secret, clusterId, instance } = this.#self;
    const wanted = proofOf(secret, "dialler", this.#transcript);
    if (proof.byteLength !== proofBytes || !timingSafeEqual(proof, wanted)) {
      return refuse("wrong-secret", true);
    }
    const why = this.#whyNot(hello);
    if (why !== undefined) return refuse(why, true);
    const said = new ByteWriter()
      .text(clusterId ?? "")
      .text(instance)
      .finish();
    this.#transcript.push(proof, said);
    const own = proofOf(secret, "acceptor", this.#transcript);
    const payload = new ByteWriter().bytes(said).bytes(own).finish();
    const { version: _, to: __, ...peer } = hello;
    return { type: "done", reply: { type: frameTypes.welcome, payload }, peer };
  }

  #whyNot(hello: Hello): Refusal | undefined {
    if (hello.to !== this.#self.id) return "wrong-node";
    if (isOtherCluster(hello.clusterId, this.#self.clusterId)) return "other-cluster";
    if (hello.id === this.#self.id) return "duplicate-id";
    return this.#judge(hello);
  }
}

/** The frame that tells the other side why not. */
export function refusedFrame(why: Refusal): Frame {
  return { type: frameTypes.refused, payload: new Uint8Array([refusals.indexOf(why)]) };
}

function refuse(why: Refusal, tell = false): Step {
  return { type: "refused", reply: tell ? refusedFrame(why) : undefined, why };
}

function decodeHello(payload: Uint8Array): Hello {
  const reader = new ByteReader(payload);
  const version = reader.u16();
  const lane = lanes[reader.u8()];
  if (lane === undefined) throw new ProtocolError("no such lane");
  const id = readNodeId(reader);
  const to = readNodeId(reader);
  const clusterId = readName(reader) || undefined;
  const instance = readName(reader);
  reader.bytes(nonceBytes);
  expectEnd(reader);
  return { version, lane, id, to, clusterId, instance };
}

function decodeRefusal(payload: Uint8Array): Refusal {
  const why = payload.byteLength === 1 ? refusals[payload[0]!] : undefined;
  if (why === undefined) throw new ProtocolError("refused for a reason that this version lacks");
  return why;
}

/** Parts are preceded by their length, so that no two transcripts read alike. */
function proofOf(secret: string, role: string, transcript: readonly Uint8Array[]): Uint8Array {
  const hmac = createHmac("sha256", secret).update(`paceline peer ${role}\0`);
  for (const part of transcript) {
    hmac.update(new ByteWriter(4).u32(part.byteLength).finish()).update(part);
  }
  return hmac.digest();
}

/** Either side may not know its cluster yet. */
function isOtherCluster(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && a !== b;
}

function readNodeId(reader: ByteReader): NodeId {
  const text = readName(reader);
  if (!nodeIdPattern.test(text)) throw new ProtocolError("not a node id");
  return nodeId(text);
}

function readName(reader: ByteReader): string {
  const text = reader.text();
  if (text.length > nameBytesMax) throw new ProtocolError("name is too long");
  return text;
}

function expectEnd(reader: ByteReader): void {
  if (reader.left !== 0) throw new ProtocolError(`${reader.left} bytes too many`);
}
