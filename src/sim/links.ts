/**
 * The simulated twin of peer/links.ts, and the network under it.
 *
 * Between two nodes that know each other there is a connection, made after a while when both directions are open,
 * and gone when a process ends or nothing was heard for `peerSilentMs`; each side notices by itself, so one may
 * believe in a connection that the other has given up. Messages are bound to their connection. While it lasts they
 * may be lost, doubled, delayed and overtaken; what arrives was made from bytes, nothing is shared.
 */

import { ProtocolError } from "../base/errors.ts";
import type { Prng } from "../base/prng.ts";
import { limits } from "../limits.ts";
import type { LinkEvents, Links } from "../node/driver.ts";
import type { Channel } from "../sync/ports.ts";
import type { Entry, Membership, NodeId } from "../vocabulary.ts";
import { openChannel } from "./channel.ts";
import type { Life, Scheduler } from "./scheduler.ts";

export type NetworkTraits = {
  readonly delayMinMs: number;
  readonly delayMeanMs: number;
  readonly loss: number;
  readonly duplicate: number;
  /** Share of messages that take a detour and are overtaken. */
  readonly detour: number;
};

/** Messages under way on one connection, at most. */
const capacity = 200;
const watchMs = 400;
/** Messages that may be played again: some seconds of a busy cluster. */
const pastMax = 2_000;

type Connection = {
  readonly a: SimLinks;
  readonly b: SimLinks;
  /** Sides that still believe in it. */
  readonly open: Set<SimLinks>;
  /** When each side last heard the other. */
  readonly heardMs: Map<SimLinks, number>;
  /** When the last message to each side arrives; the next one queues behind it. */
  readonly lastMs: Map<SimLinks, number>;
  /** Each side knows the other's address; otherwise messages go from `a` to `b` only. */
  readonly isMutual: boolean;
  underWay: number;
};

type Message = {
  readonly connection: Connection;
  readonly from: NodeId;
  readonly to: SimLinks;
  readonly text: string;
  readonly entries: readonly Entry[];
};

export class Network {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  traits: NetworkTraits;
  /** Directions that swallow everything, as `from>to`. */
  readonly #blocked = new Set<string>();
  readonly #linksById = new Map<NodeId, SimLinks>();
  /** The last messages, delivered or not, oldest first. */
  readonly #past: Message[] = [];
  /** Messages, counted. */
  readonly counts = { sent: 0, lost: 0, doubled: 0, blocked: 0, overflow: 0 };

  constructor(scheduler: Scheduler, prng: Prng, traits: NetworkTraits) {
    this.scheduler = scheduler;
    this.prng = prng;
    this.traits = traits;
  }

  block(from: NodeId, to: NodeId): void {
    this.#blocked.add(`${from}>${to}`);
  }

  unblock(from: NodeId, to: NodeId): void {
    this.#blocked.delete(`${from}>${to}`);
  }

  healAll(): void {
    this.#blocked.clear();
  }

  isOpen(from: NodeId, to: NodeId): boolean {
    return !this.#blocked.has(`${from}>${to}`);
  }

  /** How long a message takes now. */
  delayMs(): number {
    const { delayMinMs, delayMeanMs } = this.traits;
    return delayMinMs + this.prng.exponential(delayMeanMs);
  }

  attach(links: SimLinks): void {
    this.#linksById.set(links.self, links);
  }

  of(id: NodeId): SimLinks | undefined {
    return this.#linksById.get(id);
  }

  remember(message: Message): void {
    this.#past.push(message);
    if (this.#past.length > pastMax) this.#past.shift();
  }

  /**
   * Old messages arrive once more, whatever has happened to either side since: terms have changed, processes have
   * been started anew. Says how many.
   */
  replay(count: number, prng: Prng): number {
    let played = 0;
    for (let n = 0; n < count && this.#past.length > 0; n++) {
      const message = this.#past[prng.integer(0, this.#past.length)]!;
      const now = this.of(message.to.self);
      if (now === undefined) continue;
      this.scheduler.after(prng.integer(0, 300), () => now.hear(message), now.life);
      played++;
    }
    return played;
  }

  /** The process behind these links is gone. `silently`: with its machine, so that nobody is told. */
  dead(links: SimLinks, silently: boolean): void {
    if (this.#linksById.get(links.self) === links) this.#linksById.delete(links.self);
    links.die(silently);
  }
}

export class SimLinks implements Links {
  readonly self: NodeId;
  readonly life: Life;
  readonly #network: Network;
  readonly #events: LinkEvents;
  readonly #connectionById = new Map<NodeId, Connection>();
  readonly #peers = new Set<NodeId>();
  readonly #dialing = new Set<NodeId>();
  readonly #channels = new Set<{ break(why: string): void }>();
  #closed = false;
  /** Told of every message that leaves, before it may be lost. */
  onSend: (to: NodeId, envelope: unknown) => void = () => {};

  constructor(self: NodeId, life: Life, network: Network, events: LinkEvents) {
    this.self = self;
    this.life = life;
    this.#network = network;
    this.#events = events;
    network.attach(this);
  }

  setPeers(members: Membership): void {
    if (this.#closed) return;
    const wanted = new Set(members.map((m) => m.id).filter((id) => id !== this.self));
    for (const id of [...this.#peers]) {
      if (wanted.has(id)) continue;
      this.#peers.delete(id);
      const connection = this.#connectionById.get(id);
      if (connection !== undefined) this.#end(connection, false);
    }
    for (const id of wanted) {
      if (this.#peers.has(id)) continue;
      this.#peers.add(id);
      this.#dial(id, limits.redialMinMs);
    }
  }

  knows(id: NodeId): boolean {
    return this.#peers.has(id) && !this.#closed;
  }

  isUp(id: NodeId): boolean {
    return this.#connectionById.get(id)?.isMutual === true;
  }

  send(to: NodeId, envelope: unknown, entries: readonly Entry[]): boolean {
    const connection = this.#connectionById.get(to);
    if (connection === undefined || !this.life.alive) return false;
    const network = this.#network;
    const { counts, prng, traits } = network;
    if (connection.underWay >= capacity) {
      counts.overflow++;
      return false;
    }
    counts.sent++;
    this.onSend(to, envelope);
    const text = JSON.stringify(envelope);
    const copies = entries.map((entry) => ({ ...entry, body: new Uint8Array(entry.body) }));
    const other = connection.a === this ? connection.b : connection.a;
    if (prng.chance(traits.loss)) {
      counts.lost++;
      return true;
    }
    const detour = prng.chance(traits.detour);
    let atMs = network.scheduler.nowMs + network.delayMs() + (detour ? prng.integer(1, 100) : 0);
    if (!detour) {
      atMs = Math.max(atMs, connection.lastMs.get(other) ?? 0);
      connection.lastMs.set(other, atMs);
    }
    const message = { connection, from: this.self, to: other, text, entries: copies };
    network.remember(message);
    this.#deliverAt(atMs, message);
    if (prng.chance(traits.duplicate)) {
      counts.doubled++;
      this.#deliverAt(atMs + prng.integer(0, 400), message);
    }
    return true;
  }

  /** The connection to `id` breaks, and this side notices; the other one does if it can be told. */
  breakTo(id: NodeId): void {
    const connection = this.#connectionById.get(id);
    if (connection !== undefined) this.#end(connection, false);
  }

  get sentBytes(): number {
    return 0;
  }

  openSync(to: NodeId): Promise<Channel> {
    const network = this.#network;
    const { scheduler } = network;
    const { promise, resolve, reject } = Promise.withResolvers<Channel>();
    const roundTripMs = network.delayMs() + network.delayMs();
    const isReachable = () => network.isOpen(this.self, to) && network.isOpen(to, this.self);
    const waitMs = isReachable() ? roundTripMs : limits.handshakeMs;
    scheduler.after(
      waitMs,
      () => {
        const other = network.of(to);
        if (other === undefined || !isReachable() || !other.admits(this.self)) {
          reject(new ProtocolError(`${to} cannot be reached`));
          return;
        }
        const { here, there } = openChannel(network, this, other);
        this.#channels.add(here);
        other.#channels.add(there);
        scheduler.after(0, () => other.#events.onSyncRequest(this.self, there), other.life);
        resolve(here);
      },
      this.life,
    );
    return promise;
  }

  admits(id: NodeId): boolean {
    return !this.#closed && this.#events.admits(id);
  }

  close(): void {
    this.#closed = true;
    for (const connection of [...this.#connectionById.values()]) this.#end(connection, false);
    this.#connectionById.clear();
    for (const channel of this.#channels) channel.break("this node is stopping");
  }

  /** The process ended: the kernel of a living machine resets its connections. */
  die(silently: boolean): void {
    this.#closed = true;
    for (const connection of [...this.#connectionById.values()]) this.#end(connection, silently);
    for (const channel of this.#channels) channel.break("the process ended");
  }

  #deliverAt(atMs: number, { connection, to, text, entries }: Message): void {
    const network = this.#network;
    connection.underWay++;
    const deliver = () => {
      connection.underWay--;
      if (!connection.open.has(to)) return;
      if (!network.isOpen(this.self, to.self)) {
        network.counts.blocked++;
        return;
      }
      connection.heardMs.set(to, network.scheduler.nowMs);
      to.#take(this.self, { connection, text, entries });
    };
    const { nowMs } = network.scheduler;
    network.scheduler.after(atMs - nowMs, deliver, to.life);
  }

  /** A message of before, to this process or to an earlier one on this machine. */
  hear({ from, text, entries }: Message): void {
    const connection = this.#connectionById.get(from);
    if (connection !== undefined) this.#take(from, { connection, text, entries });
  }

  #take(
    from: NodeId,
    { connection, text, entries }: Pick<Message, "connection" | "text" | "entries">,
  ): void {
    try {
      this.#events.onMessage(from, JSON.parse(text), entries);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#end(connection, false);
    }
  }

  /** Tries again and again while the node is a peer and there is no connection. */
  #dial(id: NodeId, pauseMs: number): void {
    if (this.#dialing.has(id)) return;
    this.#dialing.add(id);
    const network = this.#network;
    const waitMs = pauseMs * (0.5 + network.prng.u32() / 0x1_0000_0000) + 2 * network.delayMs();
    network.scheduler.after(
      waitMs,
      () => {
        this.#dialing.delete(id);
        if (!this.knows(id) || this.isUp(id)) return;
        const other = network.of(id);
        if (other === undefined || !this.#accepts(other)) {
          this.#dial(id, Math.min(2 * pauseMs, limits.redialMaxMs));
        } else {
          this.#connect(other);
        }
      },
      this.life,
    );
  }

  #accepts(other: SimLinks): boolean {
    const network = this.#network;
    const ours = this.#events.clusterId();
    const theirs = other.#events.clusterId();
    return (
      network.isOpen(this.self, other.self) &&
      network.isOpen(other.self, this.self) &&
      other.life.pausedUntilMs <= network.scheduler.nowMs &&
      other.admits(this.self) &&
      this.admits(other.self) &&
      (ours === undefined || theirs === undefined || ours === theirs)
    );
  }

  #connect(other: SimLinks): void {
    // A half-open one of before is replaced.
    for (const [side, peer] of [
      [this, other.self],
      [other, this.self],
    ] as const) {
      const old = side.#connectionById.get(peer);
      if (old !== undefined) side.#end(old, true);
    }
    const { nowMs } = this.#network.scheduler;
    const connection: Connection = {
      a: this,
      b: other,
      open: new Set([this, other]),
      heardMs: new Map([
        [this, nowMs],
        [other, nowMs],
      ]),
      lastMs: new Map(),
      isMutual: other.knows(this.self),
      underWay: 0,
    };
    this.#connectionById.set(other.self, connection);
    if (connection.isMutual) other.#connectionById.set(this.self, connection);
    this.#watch(connection);
    other.#watch(connection);
  }

  /** Pulses, in short: a side that has heard nothing for too long gives the connection up. */
  #watch(connection: Connection): void {
    const network = this.#network;
    const other = connection.a === this ? connection.b : connection.a;
    network.scheduler.after(
      watchMs,
      () => {
        if (!connection.open.has(this)) return;
        const { nowMs } = network.scheduler;
        const speaks =
          connection.open.has(other) &&
          other.life.alive &&
          other.life.pausedUntilMs <= nowMs &&
          network.isOpen(other.self, this.self);
        if (speaks) connection.heardMs.set(this, nowMs);
        const heardMs = connection.heardMs.get(this)!;
        if (nowMs - heardMs > limits.peerSilentMs) this.#end(connection, false);
        else this.#watch(connection);
      },
      this.life,
    );
  }

  /** This side is done with the connection, and the other one will hear of it if it can. */
  #end(connection: Connection, silently: boolean): void {
    if (!connection.open.delete(this)) return;
    const network = this.#network;
    const other = connection.a === this ? connection.b : connection.a;
    if (this.#connectionById.get(other.self) === connection) {
      this.#connectionById.delete(other.self);
      if (this.life.alive && !this.#closed) {
        const tell = () => {
          this.#events.onLinkLost(other.self);
          this.#events.onEntriesLost(other.self);
        };
        network.scheduler.after(0, tell, this.life);
        if (this.#peers.has(other.self)) this.#dial(other.self, limits.redialMinMs);
      }
    }
    if (silently) return;
    network.scheduler.after(
      network.delayMs(),
      () => {
        if (network.isOpen(this.self, other.self)) other.#end(connection, true);
      },
      other.life,
    );
  }
}
