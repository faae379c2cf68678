/**
 * One page sync's channel as messages that are asked for one after the other, with a count of all bytes moved.
 *
 * Not here: which message may follow which (sender.ts, receiver.ts).
 */

import { messageOf, ProtocolError } from "../base/errors.ts";
import type { Cancel, Clock } from "../host/clock.ts";
import { limits } from "../limits.ts";
import { decodeSync, encodeSync, type SyncMessage } from "./messages.ts";
import type { Channel } from "./ports.ts";

type TypeName = SyncMessage["type"];
type Waiter = { resolve(message: SyncMessage): void; reject(error: Error): void };
type Arrived = { readonly bytes: Uint8Array; taken(): void };

export class Conversation {
  readonly #channel: Channel;
  readonly #clock: Clock;
  /** Waits for a message. At most one, and then `#arrived` is empty. */
  #waiter: Waiter | undefined;
  /** A message that nobody has asked for yet; the channel reads no further meanwhile. */
  #arrived: Arrived | undefined;
  #closedWhy: string | undefined;
  /** What still arrives is of no interest. */
  #isLeft = false;
  #cancelLeave: Cancel = () => {};
  #bytesMoved = 0;

  constructor(channel: Channel, clock: Clock) {
    this.#channel = channel;
    this.#clock = clock;
    channel.listen({
      onMessage: (bytes) => this.#onMessage(bytes),
      onClose: (why) => this.#onClose(why),
    });
  }

  /** Of messages, both ways. */
  get bytesMoved(): number {
    return this.#bytesMoved;
  }

  send(message: SyncMessage): void {
    const bytes = encodeSync(message);
    this.#bytesMoved += bytes.byteLength;
    this.#channel.send(bytes);
  }

  /**
   * Waits until the other side keeps up. Throws ProtocolError when the channel has closed, and when the other side
   * has spoken out of turn, which it does to say that it failed.
   */
  async drained(): Promise<void> {
    if (this.#arrived !== undefined) await this.next();
    if (this.#closedWhy !== undefined) throw closedError(this.#closedWhy);
    await this.#channel.drained();
  }

  /** The next message, which must be of one of these types. Throws ProtocolError. */
  async next<T extends TypeName>(...types: T[]): Promise<Extract<SyncMessage, { type: T }>> {
    const message = await this.#take();
    if (message.type === "failed") {
      this.close("the other side failed");
      throw new ProtocolError(`the other side failed: ${message.why}`);
    }
    if (!types.includes(message.type as T)) {
      throw new ProtocolError(`"${message.type}" instead of ${types.join(" or ") || "nothing"}`);
    }
    return message as Extract<SyncMessage, { type: T }>;
  }

  /** Ends it: says why if the other side can still hear, and leaves it to that side to close. */
  fail(error: unknown): void {
    if (this.#closedWhy !== undefined) return;
    this.send({ type: "failed", why: messageOf(error) });
    this.leave();
  }

  /** Closes when the other side has not done so in good time; until then, what was sent last can arrive. */
  leave(): void {
    if (this.#closedWhy !== undefined) return;
    this.#isLeft = true;
    this.#arrived?.taken();
    this.#cancelLeave = this.#clock.after(limits.handshakeMs, () => this.close("ended"));
  }

  close(why: string): void {
    this.#channel.close();
    this.#onClose(why);
  }

  #onMessage(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#isLeft) return undefined;
    this.#bytesMoved += bytes.byteLength;
    const waiter = this.#waiter;
    if (waiter === undefined) {
      return new Promise<void>((taken) => {
        this.#arrived = { bytes, taken };
      });
    }
    this.#waiter = undefined;
    settle(waiter, bytes);
    return undefined;
  }

  #onClose(why: string): void {
    if (this.#closedWhy !== undefined) return;
    this.#closedWhy = why;
    this.#cancelLeave();
    this.#arrived?.taken();
    this.#waiter?.reject(closedError(why));
    this.#waiter = undefined;
  }

  #take(): Promise<SyncMessage> {
    return new Promise<SyncMessage>((resolve, reject) => {
      const arrived = this.#arrived;
      if (arrived !== undefined) {
        this.#arrived = undefined;
        settle({ resolve, reject }, arrived.bytes);
        arrived.taken();
      } else if (this.#closedWhy !== undefined) {
        reject(closedError(this.#closedWhy));
      } else {
        this.#waiter = { resolve, reject };
      }
    });
  }
}

function settle(waiter: Waiter, bytes: Uint8Array): void {
  try {
    waiter.resolve(decodeSync(bytes));
  } catch (error) {
    waiter.reject(error as Error);
  }
}

function closedError(why: string): ProtocolError {
  return new ProtocolError(`the channel of the page sync is closed: ${why}`);
}
