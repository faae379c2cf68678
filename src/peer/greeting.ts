/**
 * A connection from its first byte to a proved peer: the handshake run over a wire, within a time and a number of
 * bytes.
 *
 * A refusal is a value, because it is an answer; everything else that goes wrong is thrown: the system's error when
 * the connection fails, ProtocolError when the other side talks nonsense or too slowly.
 */

import { randomBytes } from "node:crypto";
import { ProtocolError } from "../base/errors.ts";
import type { Clock } from "../host/clock.ts";
import { dialUpgrade, type Wire } from "../host/sockets.ts";
import type { TlsIdentity } from "../host/tls.ts";
import type { limits } from "../limits.ts";
import type { NodeId } from "../vocabulary.ts";
import { encodeFrame, FrameDecoder } from "./frames.ts";
import { type Accepting, Dialling, nonceBytes, refusedFrame } from "./handshake.ts";
import type { Greeted, LaneKind, Refusal, Self } from "./introduction.ts";

/** Value of the `Upgrade` header of a link between nodes. */
export const upgradeProtocol = "paceline-peer";

type LimitName =
  | "peerPulseMs"
  | "peerSilentMs"
  | "peerBufferBytesMax"
  | "peerFrameBytesMax"
  | "peerSyncBufferBytes"
  | "peerHandshakeBytesMax"
  | "peerPendingMax"
  | "handshakeMs"
  | "redialMinMs"
  | "redialMaxMs";

/** The bounds that links keep to; the values of `limits.ts` unless a test wants others. */
export type LinkLimits = { readonly [Name in LimitName & keyof typeof limits]: number };

/** What every part of a link needs. */
export type LinkGround = {
  readonly clock: Clock;
  readonly limits: LinkLimits;
  /** Counted by all lanes together. */
  readonly counters?: { sentBytes: number } | undefined;
  /** Links are dialled under TLS. */
  readonly tls?: TlsIdentity | undefined;
};

/** A connection whose other side is proved. The wire is paused; the decoder may hold bytes already. */
export type Opened = {
  readonly type: "opened";
  readonly peer: Greeted;
  readonly wire: Wire;
  readonly decoder: FrameDecoder;
};

export type Greeting = Opened | { readonly type: "refused"; readonly why: Refusal };

/** Connects to a node and proves each side to the other. */
export async function dialNode(
  self: Self,
  to: { readonly node: NodeId; readonly address: string; readonly lane: LaneKind },
  ground: LinkGround,
  signal: AbortSignal,
): Promise<Greeting> {
  const late = new AbortController();
  const cancel = ground.clock.after(ground.limits.handshakeMs, () =>
    late.abort(new ProtocolError(`${to.address} does not answer`)),
  );
  try {
    const either = AbortSignal.any([signal, late.signal]);
    const wire = await dialUpgrade(to.address, upgradeProtocol, either, ground.tls);
    const dialling = new Dialling(self, to, randomBytes(nonceBytes));
    const onAbort = (): void => wire.close("given up");
    either.addEventListener("abort", onAbort, { once: true });
    wire.write(encodeFrame(dialling.hello.type, [dialling.hello.payload]));
    try {
      return await greet(wire, dialling, ground);
    } finally {
      either.removeEventListener("abort", onAbort);
    }
  } finally {
    cancel();
  }
}

/** Runs one side of the handshake. When it refuses or fails, the wire is closed once the reason is sent. */
export function greet(
  wire: Wire,
  side: Dialling | Accepting,
  ground: LinkGround,
): Promise<Greeting> {
  return new Promise<Greeting>((resolve, reject) => {
    const decoder = new FrameDecoder(ground.limits.peerHandshakeBytesMax);
    const cancel = ground.clock.after(ground.limits.handshakeMs, () => wire.close("too slow"));
    const settle = (greeting: Greeting): void => {
      cancel();
      wire.pause();
      // First, for closing rejects what has not been resolved.
      resolve(greeting);
      if (greeting.type === "refused") wire.closeAfterWrite();
      else decoder.allow(ground.limits.peerFrameBytesMax);
    };
    const onBytes = (bytes: Uint8Array): void => {
      decoder.push(bytes);
      for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
        const step = side.step(frame);
        if (step.reply !== undefined) {
          wire.write(encodeFrame(step.reply.type, [step.reply.payload]));
        }
        if (step.type === "send") continue;
        const { type } = step;
        settle(type === "refused" ? step : { type: "opened", peer: step.peer, wire, decoder });
        return;
      }
    };
    wire.listen({
      onBytes: (bytes) => {
        try {
          onBytes(bytes);
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error;
          const refused = refusedFrame("protocol");
          reject(error);
          wire.pause();
          wire.write(encodeFrame(refused.type, [refused.payload]));
          wire.closeAfterWrite();
        }
      },
      onProgress: () => {},
      onClose: (why) => {
        cancel();
        reject(new ProtocolError(`closed during the handshake: ${why}`));
      },
    });
    wire.resume();
  });
}
