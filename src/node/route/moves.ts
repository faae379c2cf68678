/**
 * Nodes that come back at another address than the log says, with their data.
 *
 *   the one that moved   can reach the others, and they cannot reach it. Once a second it tells them where it is, until
 *                        the log says so
 *   the others           who cannot reach it where the log says dials it there; a link needs the secret, and its id
 *   the leader           writes the new address into the log once it has reached the node there, as a change of members
 *                        like any other; by the word of an operator (`--advertise`) without having tried
 *   a leader that moved  does so when another node says that it was reached
 *
 * A node behind a proxy, or known by another name, is reached where the log says: then nothing happens.
 *
 * Not here: a cluster whose members have all moved. Nobody can be reached, so an operator must say (`--moved`).
 */

import { isUnspecified, readAddress } from "../../base/address.ts";
import type { Clock } from "../../host/clock.ts";
import type { Membership, NodeId } from "../../vocabulary.ts";
import type { Note } from "../notes.ts";

export type OwnAddress = {
  readonly address: string;
  /** An operator said it. Otherwise it is only where this node listens. */
  readonly isCertain: boolean;
};

export type MovePorts = {
  readonly self: NodeId;
  readonly clock: Clock;
  /** Undefined: this node does not know better than the log. */
  readonly own: OwnAddress | undefined;
  membership(): Membership;
  isLeading(): boolean;
  isUp(node: NodeId): boolean;
  send(to: NodeId, note: Record<string, unknown>): void;
  /** Where to dial may have changed. */
  redial(): void;
  /** On the leader: has the log say so. */
  change(id: NodeId, address: string): void;
  onEvent(line: string): void;
};

type MoveNote = Extract<Note, { note: "address" | "reached" }>;
type Told = {
  readonly address: string;
  /** What the log said then. Once it says something else, or nothing, this is of the past. */
  readonly listed: string;
  readonly sinceMs: number;
  readonly isDialled: boolean;
};

/** A node that has just started is dialled where the log says for so long before it is looked for elsewhere. */
const patienceMs = 3_000;
/** The old and the new address are tried in turn, each for so long. */
const turnMs = 10_000;
/** After this the operator is told what else there is. */
const aloneMs = 15_000;

export class Moves {
  readonly #ports: MovePorts;
  readonly #toldById = new Map<NodeId, Told>();
  readonly #sinceMs: number;
  #isSaid = false;
  #isAloneSaid = false;

  constructor(ports: MovePorts) {
    this.#ports = ports;
    this.#sinceMs = ports.clock.nowMs();
  }

  /** Where to dial a member, if not where the log says. */
  addressOf(id: NodeId): string | undefined {
    const told = this.#told(id);
    return told?.isDialled === true ? told.address : undefined;
  }

  #told(id: NodeId): Told | undefined {
    const told = this.#toldById.get(id);
    return told !== undefined && told.listed === this.#listed(id) ? told : undefined;
  }

  #listed(id: NodeId): string | undefined {
    return this.#ports.membership().find((member) => member.id === id)?.address;
  }

  /** Once a second. */
  tick(): void {
    const { self, own, send, change, isLeading } = this.#ports;
    for (const id of this.#toldById.keys()) {
      if (this.#told(id) === undefined) this.#toldById.delete(id);
    }
    const membership = this.#ports.membership();
    const listed = this.#listed(self);
    if (own === undefined || listed === undefined || listed === own.address) return;
    this.#say(listed, own.address);
    if (isLeading() && (own.isCertain || membership.length === 1)) change(self, own.address);
    for (const { id } of membership) {
      if (id !== self) send(id, { note: "address", ...own });
    }
    this.#sayIfAlone(membership, own.address);
  }

  /** `from` has proved that it is this node. */
  onNote(from: NodeId, note: MoveNote): void {
    const { self, own, change, isLeading } = this.#ports;
    const listed = this.#listed(from);
    if (listed === undefined) return;
    if (note.note === "reached") {
      if (isLeading() && note.address === own?.address) change(self, note.address);
    } else if (listed === note.address) {
      this.#toldById.delete(from);
    } else {
      const place = readAddress(note.address);
      if (place !== undefined && !isUnspecified(place.host)) this.#onTold(from, listed, note);
    }
  }

  #onTold(from: NodeId, listed: string, note: Extract<MoveNote, { note: "address" }>): void {
    const { address, isCertain } = note;
    const { clock, isUp, isLeading, change, send, redial } = this.#ports;
    const known = this.#told(from);
    if (isUp(from)) {
      const isReached = known?.isDialled === true && known.address === address;
      if (isReached) send(from, { note: "reached", address });
      if (isLeading() && (isReached || isCertain)) change(from, address);
      if (known?.isDialled === false) this.#toldById.delete(from);
      return;
    }
    const nowMs = clock.nowMs();
    const sinceMs = known?.address === address ? known.sinceMs : nowMs;
    const turn = Math.floor((nowMs - sinceMs - patienceMs) / turnMs);
    const isDialled = turn >= 0 && turn % 2 === 0;
    const before = this.addressOf(from);
    this.#toldById.set(from, { address, listed, sinceMs, isDialled });
    if (this.addressOf(from) !== before) redial();
  }

  #say(listed: string, own: string): void {
    if (this.#isSaid) return;
    this.#isSaid = true;
    this.#ports.onEvent(
      `this node is at ${own}, the cluster looks for it at ${listed}; it tells the others, and they take ` +
        "the new address if the old one does not lead here",
    );
  }

  #sayIfAlone(membership: Membership, own: string): void {
    const { self, clock, isUp, onEvent } = this.#ports;
    const others = membership.filter((member) => member.id !== self);
    if (this.#isAloneSaid || clock.nowMs() - this.#sinceMs < aloneMs) return;
    if (others.length === 0 || others.some(({ id }) => isUp(id))) return;
    this.#isAloneSaid = true;
    const list = [`${self}=${own}`, ...others.map(({ id }) => `${id}=HOST:PORT`)].join(",");
    onEvent(
      `no other member is where it was: ${others.map((m) => `${m.id} at ${m.address}`).join(", ")}; ` +
        `if all of them have moved, start each node with --moved ${list}`,
    );
  }
}
