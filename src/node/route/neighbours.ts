/**
 * Whom this node talks to: the members that its log names, and those it has heard of otherwise, because its log may be
 * old. A node that was away, or that joins with an empty log, does not know members that came later; one of them may
 * be the leader, and then nobody else brings its log up to date.
 *
 *   in      whoever knows the secret is let in while no leader is heard; a member that was removed only disturbs
 *           those, and pre-votes keep even that harmless
 *   out     the leader tells its members to whoever does not answer it (note "members"), so that they can
 *
 * Raft itself asks no one whether it knows them [thesis §4.1]; this is about connections only.
 */

import type { Membership, NodeId } from "../../vocabulary.ts";

export type NeighbourPorts = {
  readonly self: NodeId;
  /** Members to talk to while the log does not name this node. */
  readonly contacts: Membership;
  membership(): Membership;
  /** Where to dial a member that is not where the log says. */
  movedTo?(id: NodeId): string | undefined;
  /** Whether this node hears a leader, or is one. */
  hasLeader(): boolean;
  setPeers(peers: Membership): void;
};

export class Neighbours {
  readonly #ports: NeighbourPorts;
  /** Members as a leader named them, until the log says the same. */
  #told: Membership = [];

  constructor(ports: NeighbourPorts) {
    this.#ports = ports;
  }

  /** The membership in the log may have changed. */
  update(): void {
    const membership = this.#ports.membership();
    if (this.#told.every((member) => has(membership, member.id))) this.#told = [];
    this.#ports.setPeers(this.all());
  }

  /** A leader that we could not answer says who the members are. */
  learn(members: Membership): void {
    this.#told = members;
    this.update();
  }

  admits(id: NodeId): boolean {
    return has(this.all(), id) || !this.#ports.hasLeader();
  }

  /** Everyone known. The log's word counts most, then the leader's. */
  all(): Membership {
    const { self, contacts } = this.#ports;
    const membership = this.#ports.membership();
    const all = [...membership];
    const others = has(membership, self) ? this.#told : [...this.#told, ...contacts];
    for (const other of others) if (!has(all, other.id)) all.push(other);
    return all.map((member) => {
      const address = this.#ports.movedTo?.(member.id);
      return address === undefined ? member : { ...member, address };
    });
  }
}

function has(members: Membership, id: NodeId): boolean {
  return members.some((member) => member.id === id);
}
