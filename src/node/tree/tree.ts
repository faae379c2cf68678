/**
 * This node's place in a tree: whom it follows outside the membership, if anyone, and who follows it. Stands between
 * the links and the rest of the node, so that nothing else has to know that there is a tree.
 *
 *   out   messages to the upstream go to whoever that is now; peers are members, or the upstream, and the children
 *   in    a child's messages go to the relay; the upstream's come from `upstreamId`, whoever it is
 */

import { ClientError } from "../../base/errors.ts";
import type { Channel } from "../../sync/ports.ts";
import type { LogKind, Member, Membership, NodeId } from "../../vocabulary.ts";
import { canSelectTables } from "../database.ts";
import type { Links } from "../driver.ts";
import type { Relay } from "./relay.ts";
import { type FollowAnswer, type Step, type Upstream, upstreamId } from "./upstream.ts";

export type TreePorts = {
  readonly self: Step;
  readonly links: Links;
  readonly relay: Relay;
  /** Whether this node has a database, so that it can bring others up from nothing. */
  readonly hasPages: boolean;
  /** This node keeps the rows of some tables only. */
  readonly isPartial: boolean;
  logKind(): LogKind;
  /** Undefined on a member. */
  readonly upstream: Upstream | undefined;
  clusterId(): string | undefined;
  membership(): Membership;
  onEvent(line: string): void;
};

/** A node that asks to follow this one. */
export type Follower = Step & {
  /** It keeps the rows of some tables only. */
  readonly isPartial: boolean;
};

/** Where a message comes from, for this node. */
export type Origin =
  | { readonly type: "member" | "upstream"; readonly id: NodeId }
  | { readonly type: "child" };

export class Tree {
  readonly relay: Relay;
  readonly upstream: Upstream | undefined;
  readonly #ports: TreePorts;
  /** Whom consensus wants to talk to. */
  #peers: Membership = [];

  constructor(ports: TreePorts) {
    this.#ports = ports;
    this.relay = ports.relay;
    this.upstream = ports.upstream;
  }

  /** The links, as the rest of the node sees them. */
  get links(): Links {
    const { links } = this.#ports;
    const real = (id: NodeId) => (id === upstreamId ? this.upstream?.current?.id : id);
    return {
      setPeers: (peers) => this.setPeers(peers),
      send: (to, envelope, entries) => {
        const id = real(to);
        return id !== undefined && links.send(id, envelope, entries);
      },
      openSync: (to): Promise<Channel> => {
        const id = real(to);
        return id === undefined ? Promise.reject(nobody()) : links.openSync(id);
      },
      isUp: (id) => {
        const node = real(id);
        return node !== undefined && links.isUp(node);
      },
      get sentBytes() {
        return links.sentBytes;
      },
      close: () => links.close(),
    };
  }

  setPeers(peers: Membership): void {
    this.#peers = peers;
    this.relink();
  }

  /** The upstream or the children have changed. */
  relink(): void {
    const above = this.upstream === undefined ? this.#peers : asMembers(this.upstream.current);
    const below = this.relay.members().filter(({ id }) => above.every((peer) => peer.id !== id));
    this.#ports.links.setPeers([...above, ...below]);
  }

  /** Undefined when it is for consensus to say. */
  admits(id: NodeId): boolean | undefined {
    if (this.relay.has(id)) return true;
    return this.upstream === undefined ? undefined : this.upstream.is(id);
  }

  originOf(from: NodeId): Origin {
    if (this.relay.has(from)) return { type: "child" };
    if (this.upstream?.is(from) === true) return { type: "upstream", id: upstreamId };
    return { type: "member", id: from };
  }

  /**
   * Another node wants to follow this one, or goes on doing so. Throws ClientError MEMBERSHIP_REFUSED, and
   * SETTINGS_REFUSED when it cannot take in what the cluster's log kind gives it.
   */
  register({ id, address, isPartial }: Follower): FollowAnswer {
    const { self, clusterId, onEvent, logKind } = this.#ports;
    if (this.#ports.isPartial) {
      throw refused(`${self.id} has the rows of some tables only; follow another node`);
    }
    if (isPartial && !canSelectTables(logKind())) {
      throw new ClientError(
        "SETTINGS_REFUSED",
        `a node with --tables cannot follow a cluster of log kind ${logKind()}: choose another kind ` +
          "(paceline configure logKind=rows, or triggers), or start it without --tables",
      );
    }
    if (!this.#ports.hasPages) {
      throw refused(`${self.id} is a witness, without a database; follow another node`);
    }
    const way = [...(this.upstream?.way ?? []), self];
    if (this.upstream !== undefined && this.upstream.current === undefined) {
      throw new ClientError("NOT_READY", `${self.id} has nobody to follow itself now`);
    }
    if (this.#ports.membership().some((member) => member.id === id)) {
      throw refused(`"${id}" is a member of the cluster; give the follower another id`);
    }
    if (way.some((step) => step.id === id)) {
      throw refused(`${id} cannot follow ${self.id}: that node follows it itself`);
    }
    const known = this.relay.member(id);
    if (known !== undefined && known.address !== address && this.#ports.links.isUp(id)) {
      throw refused(`another node "${id}" follows ${self.id} already, from ${known.address}`);
    }
    if (this.relay.register(id, address)) {
      onEvent(`${id} at ${address} follows this node`);
      this.relink();
    }
    return { clusterId: clusterId(), way };
  }

  tick(): void {
    const gone = this.relay.tick();
    for (const id of gone) this.#ports.onEvent(`${id} no longer follows this node`);
    if (gone.length > 0) this.relink();
  }
}

function asMembers(step: Step | undefined): readonly Member[] {
  return step === undefined ? [] : [{ ...step, kind: "voter" }];
}

function nobody(): ClientError {
  return new ClientError("NO_LEADER", "this node has nobody to follow now; try again shortly");
}

function refused(message: string): ClientError {
  return new ClientError("MEMBERSHIP_REFUSED", message);
}
