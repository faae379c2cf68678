/**
 * Frames on a link between nodes.
 *
 *   offset  size  field
 *        0     4  length of the payload, big-endian
 *        4     4  crc32 of type and payload
 *        8     1  type
 *        9     …  payload
 *
 * The length is checked before memory is taken for it, and the checksum is computed as chunks arrive: a frame of any
 * size costs one copy and no long pause. The payload given out is a buffer of its own that nobody else holds, so
 * views of it may be kept.
 *
 * The checksum guards against broken networks and our own bugs. It does not guard against somebody on the path who
 * rewrites bytes: links are authenticated once, at their start (handshake.ts), and encrypted only under TLS.
 *
 * Not here: what payloads mean (handshake.ts, append-codec.ts, lane.ts).
 */

import { crc32 } from "node:zlib";
import { crc32With } from "../base/body-sums.ts";
import { ProtocolError } from "../base/errors.ts";
import { unzeroedBytes } from "../host/sockets.ts";

/** Types on the wire. A number is never given a second meaning. */
export const frameTypes = {
  hello: 1,
  challenge: 2,
  proof: 3,
  welcome: 4,
  refused: 5,
  message: 16,
  pulse: 17,
  sync: 18,
} as const;

export type Frame = { readonly type: number; readonly payload: Uint8Array };

const headBytes = 9;

/** The frame as parts to write; the payload's parts are not copied. */
export function encodeFrame(type: number, payload: readonly Uint8Array[]): readonly Uint8Array[] {
  const head = new Uint8Array(headBytes);
  const view = new DataView(head.buffer);
  head[8] = type;
  let length = 0;
  let crc = crc32(head.subarray(8));
  for (const part of payload) {
    length += part.byteLength;
    crc = crc32With(crc, part);
  }
  view.setUint32(0, length);
  view.setUint32(4, crc);
  return [head, ...payload];
}

/** Cuts a stream of bytes into frames. After it has thrown, it must not be used again. */
export class FrameDecoder {
  /** Largest payload accepted, in bytes. */
  #payloadBytesMax: number;
  /** Chunks not yet consumed, oldest first. */
  readonly #chunks: Uint8Array[] = [];
  /** Offset of the next byte in the first chunk. */
  #chunkAt = 0;
  readonly #head = new Uint8Array(headBytes);
  /** Bytes of `#head` that are filled. */
  #headAt = 0;
  /** Payload of the frame whose head is complete. */
  #payload: Uint8Array | undefined;
  #payloadAt = 0;
  /** Checksum over what arrived of type and payload. */
  #crc = 0;

  constructor(payloadBytesMax: number) {
    this.#payloadBytesMax = payloadBytesMax;
  }

  /** For frames whose head has not been read yet. */
  allow(payloadBytesMax: number): void {
    this.#payloadBytesMax = payloadBytesMax;
  }

  /** Keeps the chunk until `next` has consumed it. */
  push(chunk: Uint8Array): void {
    if (chunk.byteLength > 0) this.#chunks.push(chunk);
  }

  /** The next complete frame. Throws ProtocolError on a length over the bound or a wrong checksum. */
  next(): Frame | undefined {
    if (this.#payload === undefined) {
      this.#headAt += this.#fill(this.#head, this.#headAt);
      if (this.#headAt < headBytes) return undefined;
      this.#openPayload();
    }
    const payload = this.#payload!;
    while (this.#payloadAt < payload.byteLength) {
      const count = this.#fill(payload, this.#payloadAt);
      if (count === 0) return undefined;
      this.#crc = crc32(payload.subarray(this.#payloadAt, this.#payloadAt + count), this.#crc);
      this.#payloadAt += count;
    }
    if (this.#crc !== this.#headView().getUint32(4)) {
      throw new ProtocolError(`frame of type ${this.#head[8]} has a wrong checksum`);
    }
    this.#payload = undefined;
    this.#headAt = 0;
    return { type: this.#head[8]!, payload };
  }

  #openPayload(): void {
    const length = this.#headView().getUint32(0);
    if (length > this.#payloadBytesMax) {
      throw new ProtocolError(`frame of ${length} bytes, at most ${this.#payloadBytesMax}`);
    }
    this.#payload = length < 4096 ? new Uint8Array(length) : unzeroedBytes(length);
    this.#payloadAt = 0;
    this.#crc = crc32(this.#head.subarray(8));
  }

  #headView(): DataView {
    return new DataView(this.#head.buffer);
  }

  /** Moves bytes into `target` from offset `at`, all that one chunk or the head's chunks can give; says how many. */
  #fill(target: Uint8Array, at: number): number {
    let filled = 0;
    while (at + filled < target.byteLength && this.#chunks.length > 0) {
      const chunk = this.#chunks[0]!;
      const count = Math.min(target.byteLength - at - filled, chunk.byteLength - this.#chunkAt);
      target.set(chunk.subarray(this.#chunkAt, this.#chunkAt + count), at + filled);
      filled += count;
      this.#chunkAt += count;
      if (this.#chunkAt === chunk.byteLength) {
        this.#chunks.shift();
        this.#chunkAt = 0;
      }
    }
    return filled;
  }
}
