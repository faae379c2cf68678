/**
 * Messages between a node and its SQL processes, over a socket that the child finds as descriptor 3.
 *
 *   offset  size  field
 *        0     4  length of the head, big-endian
 *        4     4  length of the body, 0 when there is none
 *        8     …  head: any value, by node:v8 serialize
 *        …     …  body: raw bytes
 *
 * Both ends are the same program of the same version, so there is no version number, and a frame that cannot be read
 * is our own fault. The body travels beside the head so that pages are copied once, into a buffer of their own that
 * the receiver may keep.
 */

import type { Duplex } from "node:stream";
import { deserialize, serialize } from "node:v8";
import { largeBodyBytes } from "../../base/body-sums.ts";

const prefixBytes = 8;

/** The most that one "data" event brings: a body of this size was joined from several. */
const socketChunkBytes = 64 * 1024;

type LargeFrame = { readonly head: unknown; readonly body: Uint8Array; filled: number };

export class Channel {
  readonly #socket: Duplex;
  readonly #onMessage: (head: unknown, body: Uint8Array) => void;
  /** Bytes of a frame that is not complete, in order of arrival. */
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  /** How much of the frame that `#chunks` begins with must be there to go on. */
  #wanted = prefixBytes;
  /** A frame of which only the rest of a large body is to come; then `#chunks` is empty. */
  #large: LargeFrame | undefined;

  /** Calls `onMessage` for each frame, in order, from the socket's "data" event. */
  constructor(socket: Duplex, onMessage: (head: unknown, body: Uint8Array) => void) {
    this.#socket = socket;
    this.#onMessage = onMessage;
    socket.on("data", (chunk: Uint8Array) => this.#receive(chunk));
  }

  /** The body is not copied: it must not change before it has left. */
  send(head: unknown, body?: Uint8Array): void {
    const headBytes = serialize(head);
    const prefix = Buffer.allocUnsafe(prefixBytes);
    prefix.writeUInt32BE(headBytes.byteLength, 0);
    prefix.writeUInt32BE(body?.byteLength ?? 0, 4);
    const socket = this.#socket;
    socket.cork();
    socket.write(prefix);
    socket.write(headBytes);
    if (body !== undefined && body.byteLength > 0) socket.write(body);
    socket.uncork();
  }

  #receive(arrived: Uint8Array): void {
    const chunk = this.#large === undefined ? arrived : this.#fill(this.#large, arrived);
    if (chunk.byteLength === 0) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    while (this.#bytes >= this.#wanted) {
      const bytes = this.#joined();
      const frame = frameLengths(bytes);
      const bodyFrom = prefixBytes + frame.head;
      const isLarge = frame.total - bodyFrom >= largeBodyBytes;
      this.#wanted = isLarge ? bodyFrom : frame.total;
      if (bytes.byteLength < this.#wanted) return;
      const head: unknown = deserialize(bytes.subarray(prefixBytes, bodyFrom));
      if (isLarge && bytes.byteLength < frame.total) {
        this.#begin(head, frame.total - bodyFrom, bytes.subarray(bodyFrom));
        return;
      }
      const body = ownBody(bytes.subarray(bodyFrom, frame.total));
      this.#restart(bytes.subarray(frame.total));
      this.#onMessage(head, body);
    }
  }

  /** A large body is copied as it arrives: joined at its end, it would hold up this process. */
  #begin(head: unknown, bodyBytes: number, first: Uint8Array): void {
    const body = new Uint8Array(Buffer.allocUnsafeSlow(bodyBytes).buffer);
    body.set(first);
    this.#large = { head, body, filled: first.byteLength };
    this.#restart(new Uint8Array(0));
  }

  /** Returns what belongs to the next frame. */
  #fill(large: LargeFrame, chunk: Uint8Array): Uint8Array {
    const own = chunk.subarray(0, large.body.byteLength - large.filled);
    large.body.set(own, large.filled);
    large.filled += own.byteLength;
    if (large.filled === large.body.byteLength) {
      this.#large = undefined;
      this.#onMessage(large.head, large.body);
    }
    return chunk.subarray(own.byteLength);
  }

  #restart(rest: Uint8Array): void {
    this.#chunks = rest.byteLength === 0 ? [] : [rest];
    this.#bytes = rest.byteLength;
    this.#wanted = prefixBytes;
  }

  #joined(): Uint8Array {
    const [only] = this.#chunks;
    if (only !== undefined && this.#chunks.length === 1) return only;
    const joined = Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks = [joined];
    return joined;
  }
}

/** Small bodies are copied out: each would keep a whole chunk of the socket alive. Large ones were joined already. */
function ownBody(view: Uint8Array): Uint8Array {
  return view.byteLength >= socketChunkBytes ? view : new Uint8Array(view);
}

function frameLengths(bytes: Uint8Array): { head: number; total: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, prefixBytes);
  const head = view.getUint32(0);
  return { head, total: prefixBytes + head + view.getUint32(4) };
}
