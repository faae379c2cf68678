/**
 * One open connection to a proved peer: frames out, frames in, and a pulse that tells whether it still lives.
 *
 * The pulse. Each side sends a frame every `peerPulseMs` with the number of bytes it has received on this
 * connection. Two things end a lane that TCP believes to be fine:
 *   1. nothing was received for `peerSilentMs`: the other side, or the way from it, is dead;
 *   2. pulses worth `peerSilentMs` came without a greater number: the way to it is dead, or it does not read.
 * A slow network is neither: while a huge frame crawls along, bytes are received and the number grows, and the pulses
 * that queue behind it are late but not missing.
 *
 * A lane of kind "sync" may be paused by its owner, on either side; rule 2 does not hold there, and rule 1 only while
 * this side reads.
 *
 * Not here: who the peer is (greeting.ts), when to dial again (dialler.ts).
 */

import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import type { Cancel } from "../host/clock.ts";
import type { Wire } from "../host/sockets.ts";
import { encodeFrame, type Frame, type FrameDecoder, frameTypes } from "./frames.ts";
import type { LinkGround, Opened } from "./greeting.ts";
import type { Greeted } from "./introduction.ts";

/** What the owner of a lane is told. */
export type LaneListener = {
  /** A frame that is not a pulse. May throw ProtocolError: the lane then closes. */
  onFrame(frame: Frame): void;
  /** Bytes have left; `bufferedBytes` is smaller. */
  onProgress(): void;
  /** Called once, last, unless `close` was called by the owner. */
  onClose(why: string): void;
};

export class Lane {
  readonly peer: Greeted;
  readonly #wire: Wire;
  readonly #decoder: FrameDecoder;
  readonly #ground: LinkGround;
  #listener: LaneListener | undefined;
  #cancelPulse: Cancel = () => {};
  #paused = true;
  #closed = false;
  /** When the pulse last fired. */
  #pulseMs: number;
  /** When bytes last arrived. */
  #heardMs: number;
  /** Bytes received since the handshake. */
  #receivedBytes = 0;
  /** What the other side last said it has received. */
  #theirReceivedBytes = 0;
  /** Pulses since that number last grew. */
  #stalledPulses = 0;

  /** Nothing happens before `start`. */
  constructor(opened: Opened, ground: LinkGround) {
    this.peer = opened.peer;
    this.#wire = opened.wire;
    this.#decoder = opened.decoder;
    this.#ground = ground;
    this.#pulseMs = ground.clock.nowMs();
    this.#heardMs = this.#pulseMs;
  }

  /** Begins to read. May call the listener before it returns. */
  start(listener: LaneListener): void {
    if (this.#closed) {
      queueMicrotask(() => listener.onClose("closed"));
      return;
    }
    this.#listener = listener;
    this.#forgiveSilence();
    const { clock, limits } = this.#ground;
    this.#cancelPulse = clock.every(limits.peerPulseMs, () => this.#onPulseTime());
    this.#wire.listen({
      onBytes: (bytes) => this.#onBytes(bytes),
      onProgress: () => this.#listener?.onProgress(),
      onClose: (why) => this.abandon(why),
    });
    this.#sendPulse();
    this.resume();
  }

  get bufferedBytes(): number {
    return this.#wire.bufferedBytes;
  }

  /** When bytes last arrived, on the monotonic clock. */
  get heardMs(): number {
    return this.#heardMs;
  }

  get isClosed(): boolean {
    return this.#closed || this.#wire.isClosed;
  }

  /** False, and nothing sent, when the lane is closed or more waits to be sent than `peerBufferBytesMax`. */
  send(type: number, payload: readonly Uint8Array[]): boolean {
    if (this.isClosed) return false;
    if (this.#wire.bufferedBytes > this.#ground.limits.peerBufferBytesMax) return false;
    this.sendAlways(type, payload);
    return true;
  }

  /** Sends whatever waits already: for an owner that paces itself by `bufferedBytes`. Ignored once closed. */
  sendAlways(type: number, payload: readonly Uint8Array[]): void {
    if (this.isClosed) return;
    const parts = encodeFrame(type, payload);
    const { counters } = this.#ground;
    if (counters !== undefined) for (const part of parts) counters.sentBytes += part.byteLength;
    this.#wire.write(parts);
  }

  /** Stops giving out frames, and soon the other side's writes stop as well. */
  pause(): void {
    this.#paused = true;
    this.#wire.pause();
  }

  resume(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    this.#heardMs = this.#ground.clock.nowMs();
    this.#giveOut();
    if (!this.#paused) this.#wire.resume();
  }

  /** Closes without telling the listener. */
  close(): void {
    this.#listener = undefined;
    this.abandon("closed here");
  }

  /** Closes and tells the listener why. */
  abandon(why: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelPulse();
    this.#wire.close(why);
    this.#listener?.onClose(why);
  }

  #onBytes(bytes: Uint8Array): void {
    this.#heardMs = this.#ground.clock.nowMs();
    this.#receivedBytes += bytes.byteLength;
    this.#decoder.push(bytes);
    this.#giveOut();
  }

  #giveOut(): void {
    try {
      while (!this.#paused && !this.#closed) {
        const frame = this.#decoder.next();
        if (frame === undefined) return;
        if (frame.type === frameTypes.pulse) this.#onPulse(frame.payload);
        else this.#listener?.onFrame(frame);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.abandon(error.message);
    }
  }

  #onPulse(payload: Uint8Array): void {
    const received = new ByteReader(payload).u64();
    this.#stalledPulses = received > this.#theirReceivedBytes ? 0 : this.#stalledPulses + 1;
    this.#theirReceivedBytes = received;
    const { peerPulseMs, peerSilentMs } = this.#ground.limits;
    const readsAtWill = this.peer.lane === "sync";
    if (!readsAtWill && this.#stalledPulses * peerPulseMs > peerSilentMs) {
      throw new ProtocolError(`has not read for ${peerSilentMs} ms`);
    }
  }

  #onPulseTime(): void {
    const { clock, limits } = this.#ground;
    const nowMs = clock.nowMs();
    const lateMs = nowMs - this.#pulseMs;
    this.#pulseMs = nowMs;
    // This process stood still itself: what the peers said meanwhile lies unread in the kernel.
    if (lateMs > 2 * limits.peerPulseMs) this.#forgiveSilence();
    if (!this.#paused && nowMs - this.#heardMs > limits.peerSilentMs) {
      this.abandon(`silent for ${limits.peerSilentMs} ms`);
      return;
    }
    this.#sendPulse();
  }

  #sendPulse(): void {
    this.send(frameTypes.pulse, [new ByteWriter(8).u64(this.#receivedBytes).finish()]);
  }

  #forgiveSilence(): void {
    this.#heardMs = this.#ground.clock.nowMs();
    this.#stalledPulses = 0;
  }
}
