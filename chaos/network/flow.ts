/**
 * One direction of one connection through the proxy, and what is done to it: bytes are held back, delayed, slowed.
 *
 * TCP loses nothing as long as a connection lives: what a network drops is sent again. So a direction that is cut here
 * keeps its bytes, and its end, and delivers them when the cut is over. That is what a real link does after a short
 * outage, and it is harder on a program than a loss: old messages arrive late.
 */

import type { Socket } from "node:net";

/** What happens to the bytes that go from one node to another, whoever opened the connection. */
export type Rule = {
  /** Nothing arrives until this is lifted. */
  readonly held: boolean;
  readonly delayMs: number;
  /** 0: as fast as it goes. */
  readonly bytesPerSecond: number;
};

export const openRule: Rule = { held: false, delayMs: 0, bytesPerSecond: 0 };

/** Bytes kept for a direction before its sender feels it, as with the buffers of a kernel. */
const queueBytesMax = 4 * 1024 * 1024;

/** `undefined` is the end of the stream. */
type Piece = { readonly bytes: Buffer | undefined; readonly dueMs: number };

export class Flow {
  readonly #source: Socket;
  readonly #target: Socket;
  readonly #rule: () => Rule;
  #queue: Piece[] = [];
  #queued = 0;
  /** When the slow line is free again, on the monotonic clock. */
  #freeMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(source: Socket, target: Socket, rule: () => Rule) {
    this.#source = source;
    this.#target = target;
    this.#rule = rule;
    source.on("data", (bytes: Buffer) => this.#push(bytes));
    source.on("error", () => {});
    source.on("close", () => this.#push(undefined));
  }

  /** Delivers what may be delivered now. To be called again when the rule has changed. */
  pump(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const rule = this.#rule();
    if (rule.held) return;
    for (let piece = this.#queue[0]; piece !== undefined; piece = this.#queue[0]) {
      const waitMs = Math.max(piece.dueMs, this.#freeMs) - performance.now();
      if (waitMs > 0.5) {
        this.#timer = setTimeout(() => this.pump(), waitMs);
        return;
      }
      this.#queue.shift();
      if (piece.bytes === undefined) {
        this.#target.destroy();
        return;
      }
      this.#queued -= piece.bytes.byteLength;
      this.#target.write(piece.bytes);
      if (rule.bytesPerSecond > 0) {
        const tookMs = (piece.bytes.byteLength / rule.bytesPerSecond) * 1000;
        this.#freeMs = performance.now() + tookMs;
      }
    }
    if (this.#queued < queueBytesMax) this.#source.resume();
  }

  #push(bytes: Buffer | undefined): void {
    this.#queue.push({ bytes, dueMs: performance.now() + this.#rule().delayMs });
    this.#queued += bytes?.byteLength ?? 0;
    if (this.#queued >= queueBytesMax) this.#source.pause();
    this.pump();
  }
}
