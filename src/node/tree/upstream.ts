/**
 * The node that this one follows, outside the membership: the upper part of a tree. It plays the leader for the rest
 * of this node, under one name whoever it is, so that changing over to another one looks like nothing at all.
 *
 *   candidates   what the operator named, then whoever the present upstream follows itself, then the members
 *   attached     registered there over HTTP and linked; the registration is renewed every second
 *   lost         the link broke, the renewal failed for `silentMs`, or nothing was heard for as long: the next one
 *
 * A node must not follow itself, over however many others: every answer names the way from the top, and a way that
 * has this node on it is refused, by both sides.
 *
 * Not here: what is sent down (tree/relay.ts).
 */

import { type ClientError, messageOf } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { type Member, type NodeId, nodeId } from "../../vocabulary.ts";

/** The name under which consensus knows the upstream. No node may have it. */
export const upstreamId: NodeId = nodeId("upstream");

/** A node on the way from the top of the tree. */
export type Step = { readonly id: NodeId; readonly address: string };

/** What a node answers to one that wants to follow it. */
export type FollowAnswer = {
  readonly clusterId: string | undefined;
  /** From a member of the cluster down to the node that answers. */
  readonly way: readonly Step[];
};

export type UpstreamPorts = {
  readonly self: NodeId;
  readonly clock: Clock;
  /** `host:port`, best first. */
  readonly named: readonly string[];
  clusterId(): string | undefined;
  members(): readonly Member[];
  /** Registers this node at `address`. Throws ClientError. */
  register(address: string): Promise<FollowAnswer>;
  /** Another upstream: links must change. `left` is the old one. */
  changed(left: Step | undefined): void;
  onEvent(line: string): void;
};

const renewMs = 1_000;
/** An upstream that neither answers nor sends for so long is given up. */
const silentMs = 3_000;

export class Upstream {
  readonly #ports: UpstreamPorts;
  #current: Step | undefined;
  #way: readonly Step[] = [];
  /** When it last answered or sent. */
  #heardMs = 0;
  #isAsking = false;
  #askedMs = Number.NEGATIVE_INFINITY;
  /** Index of the candidate that is tried next. */
  #next = 0;
  /** Last line told of each candidate, by its address. */
  readonly #toldByAddress = new Map<string, string>();

  constructor(ports: UpstreamPorts) {
    this.#ports = ports;
  }

  get current(): Step | undefined {
    return this.#current;
  }

  /** From a member of the cluster down to the upstream. Empty while there is none. */
  get way(): readonly Step[] {
    return this.#current === undefined ? [] : this.#way;
  }

  is(id: NodeId): boolean {
    return this.#current?.id === id;
  }

  /** It sent something of use. */
  heard(): void {
    this.#heardMs = this.#ports.clock.nowMs();
  }

  linkLost(): void {
    this.#leave("its link broke");
  }

  /** Renews the registration, or looks for an upstream. Call it every `renewMs` or so. */
  tick(): void {
    const { clock } = this.#ports;
    if (this.#current !== undefined && clock.nowMs() - this.#heardMs > silentMs) {
      this.#leave(`nothing was heard of it for ${silentMs} ms`);
    }
    const isDue = this.#current === undefined || clock.nowMs() - this.#askedMs >= renewMs;
    if (this.#isAsking || !isDue) return;
    this.#isAsking = true;
    this.#askedMs = clock.nowMs();
    const address = this.#current?.address ?? this.#candidate();
    void this.#ask(address).finally(() => {
      this.#isAsking = false;
    });
  }

  #candidate(): string {
    const { named, self } = this.#ports;
    const above = this.#way.toReversed().map((step) => step.address);
    const members = this.#ports.members().filter((member) => member.id !== self);
    const all = [...new Set([...named, ...above, ...members.map((member) => member.address)])];
    const address = all[this.#next % all.length]!;
    this.#next += 1;
    return address;
  }

  async #ask(address: string): Promise<void> {
    const { self, onEvent } = this.#ports;
    let answer: FollowAnswer;
    try {
      answer = await this.#ports.register(address);
    } catch (error) {
      this.#tell(address, `cannot follow ${address}: ${messageOf(error as ClientError)}`);
      return;
    }
    const top = answer.way.at(-1);
    const known = this.#ports.clusterId();
    if (top === undefined) return;
    if (answer.way.some((step) => step.id === self)) {
      this.#tell(address, `cannot follow ${address}: it follows this node itself`);
      if (this.is(top.id)) this.#leave("it follows this node itself");
      return;
    }
    if (known !== undefined && answer.clusterId !== undefined && known !== answer.clusterId) {
      this.#tell(
        address,
        `cannot follow ${address}: it is of cluster ${answer.clusterId}, not ${known}`,
      );
      return;
    }
    this.#way = answer.way;
    // A renewal is no proof that entries come: `heard` is for those. A new upstream gets its time.
    if (this.is(top.id)) return;
    const left = this.#current;
    this.#current = { id: top.id, address };
    this.#next = 0;
    this.#toldByAddress.clear();
    this.heard();
    onEvent(`follows ${top.id} at ${address}, ${answer.way.map((step) => step.id).join(" → ")}`);
    this.#ports.changed(left);
  }

  #leave(why: string): void {
    const left = this.#current;
    if (left === undefined) return;
    this.#current = undefined;
    this.#ports.onEvent(`no longer follows ${left.id}: ${why}`);
    this.#ports.changed(left);
  }

  /** Once for the same line of a candidate. */
  #tell(address: string, line: string): void {
    if (this.#toldByAddress.get(address) !== line) this.#ports.onEvent(line);
    this.#toldByAddress.set(address, line);
  }
}

/** Milliseconds between two calls of `tick`. */
export const upstreamTickMs: number = renewMs / 4;
