/**
 * A lane for one page sync: whole messages both ways, in order, none dropped, and back-pressure in both directions.
 *
 * Not here: what the messages mean (sync/).
 */

import { messageOf, ProtocolError } from "../base/errors.ts";
import { frameTypes } from "./frames.ts";
import type { LinkGround } from "./greeting.ts";
import type { Lane } from "./lane.ts";

export type ChannelListener = {
  /** One at a time: while a returned promise is pending nothing is read. When it rejects, the channel closes. */
  onMessage(message: Uint8Array): void | Promise<void>;
  /** Once, last; not after an own `close`. */
  onClose(why: string): void;
};

export interface Channel {
  /** Begins to read; until then everything waits. Call it once. */
  listen(listener: ChannelListener): void;
  /** Queues a message; the bytes must not change afterwards. Ignored once closed. Await `drained` between many. */
  send(message: Uint8Array): void;
  /** Resolves when little is queued. Throws ProtocolError when the channel has closed or closes meanwhile. */
  drained(): Promise<void>;
  close(): void;
}

type Waiter = { resolve(): void; reject(error: Error): void };

export class LaneChannel implements Channel {
  readonly #lane: Lane;
  readonly #ground: LinkGround;
  readonly #onEnd: () => void;
  #waiters: Waiter[] = [];
  #closedWhy: string | undefined;

  /** `onEnd` is called once, however the channel ends. */
  constructor(lane: Lane, ground: LinkGround, onEnd: () => void) {
    this.#lane = lane;
    this.#ground = ground;
    this.#onEnd = onEnd;
  }

  listen(listener: ChannelListener): void {
    if (this.#closedWhy !== undefined) {
      listener.onClose(this.#closedWhy);
      return;
    }
    this.#lane.start({
      onFrame: (frame) => {
        if (frame.type !== frameTypes.sync) {
          throw new ProtocolError(`frame of type ${frame.type} on a sync lane`);
        }
        const pending = listener.onMessage(frame.payload);
        if (pending === undefined) return;
        this.#lane.pause();
        pending.then(
          () => this.#lane.resume(),
          (error: unknown) => {
            this.#lane.close();
            this.#end(messageOf(error));
            listener.onClose(messageOf(error));
          },
        );
      },
      onProgress: () => this.#wake(),
      onClose: (why) => {
        this.#end(why);
        listener.onClose(why);
      },
    });
  }

  send(message: Uint8Array): void {
    this.#lane.sendAlways(frameTypes.sync, [message]);
  }

  drained(): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#wake();
    });
  }

  close(): void {
    this.#lane.close();
    this.#end("closed here");
  }

  #wake(): void {
    const why = this.#lane.isClosed ? (this.#closedWhy ?? "closed") : undefined;
    const isDrained = this.#lane.bufferedBytes <= this.#ground.limits.peerSyncBufferBytes;
    if (why === undefined && !isDrained) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (why === undefined) waiter.resolve();
      else waiter.reject(new ProtocolError(`channel has closed: ${why}`));
    }
  }

  #end(why: string): void {
    if (this.#closedWhy !== undefined) return;
    this.#closedWhy = why;
    this.#wake();
    this.#onEnd();
  }
}
