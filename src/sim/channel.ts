/**
 * The simulated twin of peer/channel.ts: two ends of a stream of whole messages, in order, none lost while it is
 * open. A direction that is blocked holds them back; when it stays blocked, both ends find the channel broken.
 */

import { ProtocolError } from "../base/errors.ts";
import { limits } from "../limits.ts";
import type { Channel } from "../sync/ports.ts";
import type { Network, SimLinks } from "./links.ts";

type Listener = Parameters<Channel["listen"]>[0];

/** Messages sent and not yet taken, at most, before `drained` waits. */
const window = 4;
const retryMs = 100;
/** Between two messages of a full outbox. */
const streamMs = 0.2;

export function openChannel(
  network: Network,
  from: SimLinks,
  to: SimLinks,
): { readonly here: ChannelEnd; readonly there: ChannelEnd } {
  const here = new ChannelEnd(network, from);
  const there = new ChannelEnd(network, to);
  here.join(there);
  there.join(here);
  return { here, there };
}

export class ChannelEnd implements Channel {
  readonly #network: Network;
  readonly #owner: SimLinks;
  #other: ChannelEnd | undefined;
  #listener: Listener | undefined;
  /** Arrived, and not yet taken. */
  #inbox: Uint8Array[] = [];
  #taking = false;
  #closedWhy: string | undefined;
  /** Sent and not yet taken over there. */
  #queued = 0;
  /** On their way; a `why` is the end. */
  readonly #outbox: (Uint8Array | { readonly why: string })[] = [];
  #pumping = false;
  #waiters: { resolve(): void; reject(error: Error): void }[] = [];

  constructor(network: Network, owner: SimLinks) {
    this.#network = network;
    this.#owner = owner;
  }

  join(other: ChannelEnd): void {
    this.#other = other;
  }

  listen(listener: Listener): void {
    this.#listener = listener;
    if (this.#closedWhy !== undefined) listener.onClose(this.#closedWhy);
    else this.#take();
  }

  send(message: Uint8Array): void {
    if (this.#closedWhy !== undefined || !this.#owner.life.alive) return;
    this.#queued++;
    this.#outbox.push(new Uint8Array(message));
    this.#pump(this.#network.delayMs(), limits.peerSilentMs);
  }

  drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#wake();
    });
  }

  close(): void {
    if (this.#closedWhy !== undefined) return;
    this.#closedWhy = "closed here";
    this.#wake();
    this.#tellOther("closed by the other side");
  }

  /** Ends from outside. */
  break(why: string): void {
    if (this.#closedWhy !== undefined) return;
    this.#closeFor(why);
    this.#tellOther(why);
  }

  /** After what is under way already. */
  #tellOther(why: string): void {
    this.#outbox.push({ why });
    this.#pump(this.#network.delayMs(), limits.peerSilentMs);
  }

  #closeFor(why: string): void {
    if (this.#closedWhy !== undefined) return;
    this.#closedWhy = why;
    this.#wake();
    this.#listener?.onClose(why);
  }

  /** Brings the first of the outbox over, then the rest. */
  #pump(afterMs: number, patienceMs: number): void {
    if (this.#pumping || this.#outbox.length === 0) return;
    this.#pumping = true;
    const other = this.#other!;
    const network = this.#network;
    const arrive = () => {
      this.#pumping = false;
      if (other.#closedWhy !== undefined) return;
      if (network.isOpen(this.#owner.self, other.#owner.self)) {
        const first = this.#outbox.shift()!;
        if ("why" in first) return other.#closeFor(first.why);
        other.#inbox.push(first);
        other.#take();
        this.#pump(streamMs, limits.peerSilentMs);
      } else if (patienceMs > 0) {
        this.#pump(retryMs, patienceMs - retryMs);
      } else {
        other.#closeFor("nothing arrives any more");
        this.#closeFor("nothing is acknowledged any more");
      }
    };
    network.scheduler.after(afterMs, arrive, other.#owner.life);
  }

  #take(): void {
    if (this.#listener === undefined || this.#taking || this.#closedWhy !== undefined) return;
    const message = this.#inbox.shift();
    if (message === undefined) return;
    const pending = this.#listener.onMessage(message);
    this.#other!.#onTaken();
    if (pending === undefined) {
      this.#take();
      return;
    }
    this.#taking = true;
    pending.then(
      () => {
        this.#taking = false;
        this.#take();
      },
      () => this.break("the listener failed"),
    );
  }

  #onTaken(): void {
    this.#queued--;
    this.#wake();
  }

  #wake(): void {
    if (this.#closedWhy === undefined && this.#queued > window) return;
    for (const waiter of this.#waiters.splice(0)) {
      if (this.#closedWhy === undefined) waiter.resolve();
      else waiter.reject(new ProtocolError(`channel has closed: ${this.#closedWhy}`));
    }
  }
}
