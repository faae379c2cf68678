/**
 * For tests: nodes on real loopback sockets, each with a plain HTTP server that hands over upgrades, as the API does.
 */

import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net";
import { RealClock } from "../host/clock.ts";
import { TlsDoor } from "../host/tls-door.ts";
import { limits } from "../limits.ts";
import { type Entry, lsn, type NodeId, nodeId, term } from "../vocabulary.ts";
import type { Channel } from "./channel.ts";
import type { LinkLimits } from "./greeting.ts";
import { PeerLinks, type PeerLinksOptions } from "./links.ts";

export type Received = {
  readonly from: NodeId;
  readonly envelope: unknown;
  readonly entries: readonly Entry[];
  readonly atMs: number;
};

/** Fast enough for tests; everything else as in `limits.ts`. */
export const testLimits: LinkLimits = { ...limits, peerPulseMs: 20, peerSilentMs: 250 };

export class TestNode {
  readonly id: NodeId;
  readonly links: PeerLinks;
  readonly received: Received[] = [];
  /** "up b", "lost b", in order. */
  readonly story: string[] = [];
  readonly lines: string[] = [];
  readonly channels: Channel[] = [];
  /** Sockets that were accepted, to be broken by tests. */
  readonly sockets: Socket[] = [];
  readonly door: TlsDoor | undefined;
  readonly #server: Server;

  private constructor(id: string, options: Partial<PeerLinksOptions>) {
    this.id = nodeId(id);
    this.links = new PeerLinks({
      self: this.id,
      instance: `instance-of-${id}`,
      secret: "sesame",
      clusterId: () => "cluster-1",
      clock: new RealClock(),
      limits: testLimits,
      admits: () => true,
      onMessage: (from, envelope, entries) =>
        void this.received.push({ from, envelope, entries, atMs: performance.now() }),
      onLinkUp: (node) => void this.story.push(`up ${node}`),
      onLinkLost: (node) => void this.story.push(`lost ${node}`),
      onEntriesLost: () => {},
      onSyncRequest: (_from, channel) => void this.channels.push(channel),
      onEvent: (line) => void this.lines.push(line),
      ...options,
    });
    this.#server = createServer();
    const { tls: identity } = options;
    const onEvent = (line: string) => void this.lines.push(line);
    if (identity !== undefined) {
      this.door = new TlsDoor({ identity, clock: new RealClock(), onEvent });
      this.door.guard(this.#server);
    }
    this.#server.on("upgrade", (_request, socket, head) => {
      this.sockets.push(socket as Socket);
      if (this.door?.refusal(socket) !== undefined) this.door.turnAway(socket);
      else this.links.accept(socket, head);
    });
    this.#server.on("request", (_request, response) => response.end("hello"));
  }

  static async start(id: string, options: Partial<PeerLinksOptions> = {}, port = 0) {
    const node = new TestNode(id, options);
    await new Promise<void>((resolve) => node.#server.listen(port, "127.0.0.1", resolve));
    return node;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Dies as a killed process does: all sockets end, the port refuses. */
  stop(): void {
    this.links.close();
    for (const socket of this.sockets) socket.destroy();
    this.door?.close();
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** Makes the nodes members of one cluster. */
export function join(...nodes: readonly TestNode[]): void {
  const members = nodes.map(({ id, address }) => ({ id, kind: "voter" as const, address }));
  for (const node of nodes) node.links.setPeers(members);
}

/** Waits for `isTrue`, at most `withinMs`; throws with `what` when it does not come true. */
export async function eventually(what: string, isTrue: () => boolean, withinMs = 2000) {
  const endMs = performance.now() + withinMs;
  while (!isTrue()) {
    if (performance.now() > endMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await pause(2);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export function entryOf(bodyBytes: number, at = 1): Entry {
  const body = new Uint8Array(bodyBytes).fill(at);
  return { lsn: lsn(at), term: term(1), kind: "payload", chain: "00ff00ff12345678", body };
}

/** A TCP forwarder whose connections can be stalled without an end: what a pulled cable looks like. */
export class StallProxy {
  readonly #server = createTcpServer();
  readonly #sockets = new Set<Socket>();

  static async start(toPort: number): Promise<StallProxy> {
    const proxy = new StallProxy();
    proxy.#server.on("connection", (inner) => {
      const outer = connect(toPort, "127.0.0.1");
      for (const [socket, other] of [
        [inner, outer],
        [outer, inner],
      ] as const) {
        proxy.#sockets.add(socket);
        socket.on("data", (bytes) => other.write(bytes));
        socket.on("error", () => {});
        socket.on("close", () => {
          proxy.#sockets.delete(socket);
          other.destroy();
        });
      }
    });
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Nothing is read any more, in either direction. */
  stall(): void {
    for (const socket of this.#sockets) socket.pause();
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
