/**
 * One other node: the lanes we dialled to it, the lanes it dialled to us, and whether the two of us are connected.
 *
 * Each side dials two lanes and sends only on those it dialled: "control" for what is small and must not wait, "data"
 * for appends with entries. So a heartbeat never stands behind a megabyte.
 *
 *   up      both control lanes are open
 *   lost    a control lane that was open has broken. Told at once, and once: not again before a lane has opened again.
 *
 * A peer is one data directory: while any lane to or from one instance is open, another instance that claims the same
 * name is turned down.
 */

import { ProtocolError } from "../base/errors.ts";
import type { Entry, NodeId } from "../vocabulary.ts";
import { decodeMessage, encodeMessage } from "./append-codec.ts";
import { Dialler } from "./dialler.ts";
import { frameTypes } from "./frames.ts";
import { dialNode, type LinkGround } from "./greeting.ts";
import type { LaneKind, Refusal, Self } from "./introduction.ts";
import type { Lane } from "./lane.ts";

export type PeerEvents = {
  onMessage(from: NodeId, envelope: unknown, entries: readonly Entry[]): void;
  onLinkUp(node: NodeId): void;
  onLinkLost(node: NodeId): void;
  /** Our data lane has broken: what was sent on it may not have arrived. */
  onEntriesLost(node: NodeId): void;
  /** Something to tell the operator. The same line is never told twice in a row for one key. */
  onChange(key: string, line: string): void;
};

type Kind = "control" | "data";

export class Peer {
  readonly id: NodeId;
  readonly #ground: LinkGround;
  readonly #self: () => Self;
  readonly #events: PeerEvents;
  #address: string | undefined;
  readonly #diallers = new Map<Kind, Dialler>();
  /** Lanes that the peer dialled. At most one of each kind. */
  readonly #incoming = new Map<Kind, Lane>();
  /** Lanes of page syncs, either direction. */
  readonly #syncs = new Set<Lane>();
  /** Instance that the open lanes belong to; of no meaning while none is open. */
  #instance = "";
  #isUp = false;
  /** The loss of the link was told, and no control lane has opened since. */
  #isLossTold = false;
  /** When bytes of this peer last arrived on a lane that is closed now. */
  #heardMs: number | undefined;
  #refusal: Refusal | undefined;

  constructor(id: NodeId, self: () => Self, ground: LinkGround, events: PeerEvents) {
    this.id = id;
    this.#self = self;
    this.#ground = ground;
    this.#events = events;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** When bytes of this peer last arrived; undefined when none ever did. */
  get heardMs(): number | undefined {
    const times = this.#openLanes().map((lane) => lane.heardMs);
    return times.length === 0 ? this.#heardMs : Math.max(...times);
  }

  /** Why the peer turned us down when last dialled. */
  get refusal(): Refusal | undefined {
    return this.#refusal;
  }

  get address(): string | undefined {
    return this.#address;
  }

  /** Nothing is open and nothing is dialled. */
  get isIdle(): boolean {
    return this.#diallers.size === 0 && this.#openLanes().length === 0;
  }

  /** Dials there from now on; lanes to another address are closed. */
  dial(address: string): void {
    if (this.#address === address) return;
    this.#hangUp();
    this.#address = address;
    for (const kind of ["control", "data"] as const) this.#diallers.set(kind, this.#dialler(kind));
  }

  /** False when dropped: no lane, or too much waits on it. */
  send(envelope: unknown, entries: readonly Entry[]): boolean {
    const lane = this.#diallers.get(entries.length > 0 ? "data" : "control")?.lane;
    if (lane === undefined) return false;
    return lane.send(frameTypes.message, encodeMessage({ envelope, entries }));
  }

  /** Whether a lane of this instance may open now. */
  judge(instance: string): Refusal | undefined {
    const isTaken = this.#openLanes().length > 0 && this.#instance !== instance;
    return isTaken ? "duplicate-id" : undefined;
  }

  /** Takes a lane that the peer dialled. It replaces an older one of its kind, which must be dead. */
  takeIncoming(kind: Kind, lane: Lane): void {
    this.#instance = lane.peer.instance;
    this.#incoming.get(kind)?.close();
    this.#incoming.set(kind, lane);
    for (const dialler of this.#diallers.values()) dialler.nudge();
    this.#onOpen(kind, `from ${this.id}`);
    lane.start({
      onFrame: (frame) => {
        if (frame.type !== frameTypes.message) {
          throw new ProtocolError(`frame of type ${frame.type} on a ${kind} lane`);
        }
        const { envelope, entries } = decodeMessage(frame.payload);
        this.#events.onMessage(this.id, envelope, entries);
      },
      onProgress: () => {},
      onClose: (why) => {
        this.#heardMs = lane.heardMs;
        if (this.#incoming.get(kind) === lane) this.#incoming.delete(kind);
        this.#onBreak(kind, `from ${this.id}`, why);
      },
    });
  }

  /** Counts a page sync's lane as a sign of life until `dropSync`. */
  takeSync(lane: Lane): void {
    this.#instance = lane.peer.instance;
    this.#syncs.add(lane);
  }

  dropSync(lane: Lane): void {
    this.#syncs.delete(lane);
  }

  /** Closes everything. No event for the link; page syncs are told. */
  close(): void {
    this.#hangUp();
    for (const lane of this.#incoming.values()) lane.close();
    this.#incoming.clear();
    for (const lane of [...this.#syncs]) lane.abandon("this node hangs up");
    this.#syncs.clear();
    this.#isUp = false;
  }

  #hangUp(): void {
    for (const dialler of this.#diallers.values()) dialler.close();
    this.#diallers.clear();
    this.#address = undefined;
    this.#isUp = false;
  }

  #dialler(kind: Kind): Dialler {
    const address = this.#address!;
    const key = `to ${this.id}`;
    const dialler: Dialler = new Dialler(this.#ground, {
      open: (signal) =>
        dialNode(this.#self(), { node: this.id, address, lane: kind }, this.#ground, signal),
      judge: (peer) => this.judge(peer.instance),
      onUp: (lane) => this.#startOutgoing(kind, lane, dialler),
      onRefused: (why) => this.#onRefused(why),
      onFailed: (why) => this.#tell(kind, key, `cannot reach ${this.id} at ${address}: ${why}`),
    });
    return dialler;
  }

  #startOutgoing(kind: Kind, lane: Lane, dialler: Dialler): void {
    this.#instance = lane.peer.instance;
    this.#refusal = undefined;
    const key = `to ${this.id}`;
    this.#onOpen(kind, key);
    lane.start({
      onFrame: (frame) => {
        throw new ProtocolError(`frame of type ${frame.type} against the lane's direction`);
      },
      onProgress: () => {},
      onClose: (why) => {
        this.#heardMs = lane.heardMs;
        dialler.redial();
        this.#onBreak(kind, key, why);
        if (kind === "data") this.#events.onEntriesLost(this.id);
      },
    });
  }

  #onOpen(kind: LaneKind, key: string): void {
    this.#tell(kind, key, `link ${key} is up`);
    if (kind !== "control") return;
    this.#isLossTold = false;
    const isUp = this.#incoming.has("control") && this.#diallers.get("control")?.lane !== undefined;
    if (isUp && !this.#isUp) {
      this.#isUp = true;
      this.#events.onLinkUp(this.id);
    }
  }

  #onBreak(kind: LaneKind, key: string, why: string): void {
    this.#tell(kind, key, `link ${key} is lost: ${why}`);
    if (kind !== "control") return;
    this.#isUp = false;
    if (this.#isLossTold) return;
    this.#isLossTold = true;
    this.#events.onLinkLost(this.id);
  }

  #onRefused(why: Refusal): void {
    this.#refusal = why;
    const say =
      why === "not-a-member"
        ? `; this node was removed, or is not added yet: started with --join ${this.#address}, it asks to be`
        : "";
    this.#events.onChange(`to ${this.id}`, `link to ${this.id} is refused: ${why}${say}`);
  }

  /** The data lane lives and dies with the control lane; its own story would only say everything twice. */
  #tell(kind: LaneKind, key: string, line: string): void {
    if (kind === "control") this.#events.onChange(key, line);
  }

  #openLanes(): readonly Lane[] {
    const dialled = [...this.#diallers.values()].map((dialler) => dialler.lane);
    const lanes = [...dialled, ...this.#incoming.values(), ...this.#syncs];
    return lanes.filter((lane) => lane !== undefined && !lane.isClosed) as Lane[];
  }
}
