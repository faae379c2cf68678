/**
 * The links of this node to all others: authenticated, always there when they can be, over the API's port.
 *
 *   control, data   dialled by every node to every other and kept open (peer.ts)
 *   sync            dialled when a page sync is wanted
 *
 * Messages may be lost at any time and "control" may overtake "data"; within a lane they stay in order and whole. The
 * core is made for that.
 *
 * What a stranger can do: open `peerPendingMax` connections, send 1 KiB on each for `handshakeMs`, and cause one line
 * in the log per reason. Without TLS links are not encrypted; who can rewrite packets between the nodes can rewrite
 * messages. With it, whoever connects has shown a certificate before `accept` is called [host/tls-door.ts].
 *
 * Not here: what messages say, and whether `from` inside an envelope is the peer that sent it (node/).
 */

import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { assert } from "../base/assert.ts";
import { messageOf, ProtocolError } from "../base/errors.ts";
import type { Clock } from "../host/clock.ts";
import { acceptUpgrade, type Wire } from "../host/sockets.ts";
import type { TlsIdentity } from "../host/tls.ts";
import { limits } from "../limits.ts";
import type { Entry, Membership, NodeId } from "../vocabulary.ts";
import { type Channel, LaneChannel } from "./channel.ts";
import {
  dialNode,
  greet,
  type LinkGround,
  type LinkLimits,
  type Opened,
  upgradeProtocol,
} from "./greeting.ts";
import { Accepting, nonceBytes } from "./handshake.ts";
import type { Greeted, Refusal, Self } from "./introduction.ts";
import { Lane } from "./lane.ts";
import { Peer, type PeerEvents } from "./peer.ts";

export type PeerLinksOptions = {
  readonly self: NodeId;
  /** Random, made with the data directory. */
  readonly instance: string;
  /** Shared by all nodes of the cluster. Not empty. */
  readonly secret: string;
  /** Undefined as long as this node does not know. */
  clusterId(): string | undefined;
  readonly clock: Clock;
  readonly limits?: LinkLimits | undefined;
  /** Links are dialled under TLS; those that come in are the HTTP server's to check. */
  readonly tls?: TlsIdentity | undefined;
  /** Whether a node that knows the secret may open links to this one. */
  admits(node: NodeId): boolean;
  onMessage(from: NodeId, envelope: unknown, entries: readonly Entry[]): void;
  /** Both directions are open. */
  onLinkUp(node: NodeId): void;
  /** A direction that was open has broken: at once on a reset or an end, within `peerSilentMs` on silence. */
  onLinkLost(node: NodeId): void;
  /** The lane for entries to a node has broken; what was on it may not have arrived. */
  onEntriesLost(node: NodeId): void;
  /** The owner listens to the channel, or closes it. */
  onSyncRequest(from: NodeId, channel: Channel): void;
  /** A line for the operator, once per change. */
  onEvent(line: string): void;
};

/** Keys of told lines that are kept; more are only possible with as many node ids that know the secret. */
const toldKeysMax = 1024;

export class PeerLinks {
  readonly #options: PeerLinksOptions;
  readonly #ground: LinkGround;
  readonly #counters = { sentBytes: 0 };
  readonly #peersById = new Map<NodeId, Peer>();
  /** Connections whose other side is not proved yet. */
  readonly #pending = new Set<Wire>();
  /** Last line told, by what it is about. */
  readonly #toldByKey = new Map<string, string>();
  /** Aborted by `close`: ends dials of page syncs. */
  readonly #closing = new AbortController();

  constructor(options: PeerLinksOptions) {
    assert(options.secret !== "", "links between nodes need a secret");
    this.#options = options;
    const { clock, tls } = options;
    this.#ground = { clock, limits: options.limits ?? limits, counters: this.#counters, tls };
  }

  /** Dials all of them but this node, hangs up on those that are gone, redials those that have moved. */
  setPeers(members: Membership): void {
    if (this.#closing.signal.aborted) return;
    const addressById = new Map(members.map((member) => [member.id, member.address]));
    addressById.delete(this.#options.self);
    for (const [id, peer] of this.#peersById) {
      if (addressById.has(id)) continue;
      peer.close();
      this.#peersById.delete(id);
    }
    for (const [id, address] of addressById) this.#peer(id).dial(address);
  }

  /**
   * Takes the connection of a request with `Upgrade: paceline-peer`, before anything was answered. Any other checks
   * of the request are the HTTP server's.
   */
  accept(socket: Duplex, head: Uint8Array): void {
    if (this.#closing.signal.aborted || this.#pending.size >= this.#ground.limits.peerPendingMax) {
      // Without a listener an error of this socket would end the process.
      socket.on("error", () => {});
      socket.destroy();
      return;
    }
    const wire = acceptUpgrade(socket, head, upgradeProtocol);
    const accepting = new Accepting(
      this.#self(),
      (peer) => this.#judge(peer),
      randomBytes(nonceBytes),
    );
    this.#pending.add(wire);
    greet(wire, accepting, this.#ground)
      .finally(() => this.#pending.delete(wire))
      .then(
        (greeting) => {
          if (greeting.type === "opened") this.#onOpened(greeting);
          else this.#onTurnedDown(greeting.why, accepting.claimed);
        },
        (error: unknown) => this.#tell("stranger", `a connection failed: ${messageOf(error)}`),
      );
  }

  /** Never blocks. False when dropped: the link is down, or more than `peerBufferBytesMax` waits on its lane. */
  send(to: NodeId, envelope: unknown, entries: readonly Entry[]): boolean {
    return this.#peersById.get(to)?.send(envelope, entries) ?? false;
  }

  /**
   * A new connection for one page sync. Throws ProtocolError when the node is not known or turns us down, and the
   * system's error when it cannot be reached.
   */
  async openSync(to: NodeId): Promise<Channel> {
    const address = this.#peersById.get(to)?.address;
    if (address === undefined) throw new ProtocolError(`no address of ${to} is known`);
    const wanted = { node: to, address, lane: "sync" as const };
    const greeting = await dialNode(this.#self(), wanted, this.#ground, this.#closing.signal);
    if (greeting.type === "refused") {
      throw new ProtocolError(`${to} refuses a page sync: ${greeting.why}`);
    }
    const peer = this.#peersById.get(to);
    const refusal = peer === undefined ? "not-a-member" : peer.judge(greeting.peer.instance);
    if (refusal !== undefined) {
      greeting.wire.close("given up");
      throw new ProtocolError(`page sync with ${to} is off: ${refusal}`);
    }
    return this.#channel(greeting);
  }

  /** Bytes of frames given to the network, pulses and page syncs included. */
  get sentBytes(): number {
    return this.#counters.sentBytes;
  }

  /** Both directions of the link are open. */
  isUp(node: NodeId): boolean {
    return this.#peersById.get(node)?.isUp ?? false;
  }

  /** When bytes of this node last arrived, on the monotonic clock; undefined when none ever did. */
  heardMs(node: NodeId): number | undefined {
    return this.#peersById.get(node)?.heardMs;
  }

  /** Why the node turned us down when last dialled; undefined when it did not. */
  refusal(node: NodeId): Refusal | undefined {
    return this.#peersById.get(node)?.refusal;
  }

  /** Closes everything, for good, without events for the links. Channels report to their listeners. */
  close(): void {
    this.#closing.abort(new ProtocolError("this node is stopping"));
    for (const wire of this.#pending) wire.close("this node is stopping");
    for (const peer of this.#peersById.values()) peer.close();
    this.#peersById.clear();
  }

  #self(): Self {
    const { self: id, instance, secret } = this.#options;
    return { id, instance, secret, clusterId: this.#options.clusterId() };
  }

  #judge(greeted: Greeted): Refusal | undefined {
    if (!this.#options.admits(greeted.id)) return "not-a-member";
    return this.#peersById.get(greeted.id)?.judge(greeted.instance);
  }

  #onOpened(opened: Opened): void {
    const { id, lane } = opened.peer;
    // The handshake's last step and this call are two turns; another connection may have come in between.
    const refusal = this.#closing.signal.aborted ? "protocol" : this.#judge(opened.peer);
    if (refusal !== undefined) opened.wire.close("given up");
    else if (lane === "sync") this.#options.onSyncRequest(id, this.#channel(opened));
    else this.#peer(id).takeIncoming(lane, new Lane(opened, this.#ground));
  }

  /** A claimed name counts only when a member bears it, else strangers could fill the log with names. */
  #onTurnedDown(why: Refusal, claimed: NodeId | undefined): void {
    const isKnown = claimed !== undefined && this.#peersById.has(claimed);
    const who = isKnown ? claimed : "a stranger";
    this.#tell(`refused ${who} ${why}`, `refused a connection of ${who}: ${why}`);
  }

  #channel(opened: Opened): Channel {
    const lane = new Lane(opened, this.#ground);
    const peer = this.#peer(opened.peer.id);
    peer.takeSync(lane);
    return new LaneChannel(lane, this.#ground, () => {
      peer.dropSync(lane);
      if (peer.isIdle && this.#peersById.get(peer.id) === peer) this.#peersById.delete(peer.id);
    });
  }

  #peer(id: NodeId): Peer {
    const known = this.#peersById.get(id);
    if (known !== undefined) return known;
    const events: PeerEvents = {
      onMessage: this.#options.onMessage,
      onLinkUp: this.#options.onLinkUp,
      onLinkLost: this.#options.onLinkLost,
      onEntriesLost: this.#options.onEntriesLost,
      onChange: (key, line) => this.#tell(key, line),
    };
    const peer = new Peer(id, () => this.#self(), this.#ground, events);
    this.#peersById.set(id, peer);
    return peer;
  }

  #tell(key: string, line: string): void {
    if (this.#toldByKey.get(key) === line) return;
    if (this.#toldByKey.size >= toldKeysMax) this.#toldByKey.clear();
    this.#toldByKey.set(key, line);
    this.#options.onEvent(line);
  }
}
