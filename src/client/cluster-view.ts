/**
 * The cluster as seen from outside: which nodes there are, who leads, how far each is. Every node is asked for itself,
 * all the time, so that a silent one is known to be silent before a request is lost on it.
 *
 *   up       answered lately, and says so still
 *   silent   has not answered for peerSilentMs; its lag grows with the time, it gets nothing new
 *   down     nobody listens there
 *
 * Nodes are known by URL; those given at the start stay, others come and go with the membership that nodes report. Two
 * URLs may lead to one node: it counts once.
 *
 * Requests to a silent node are broken off: reads at once, for they can be repeated; writes when another node leads in
 * a later term, or after writeSilentMs, and then they are of unknown outcome.
 *
 * Not here: what is sent where (courier.ts), the judgement among readers (choice.ts).
 */

import { messageOf } from "../base/errors.ts";
import type { Cancel, Clock } from "../host/clock.ts";
import { limits } from "../limits.ts";
import { type Candidate, type ReadWish, rank } from "./choice.ts";
import { NodeLink } from "./node-link.ts";
import { parseNodeUrl, type SeenNode } from "./node-view.ts";

export type NodeState = "new" | "up" | "silent" | "down";

/** One node as it is watched. */
export type WatchedNode = {
  readonly url: string;
  readonly link: NodeLink;
  /** Given at the start: stays, whatever the cluster says. */
  readonly isSeed: boolean;
  seen: SeenNode | undefined;
  /** When the last question that was answered had been asked, so that what is known is at least that young. */
  seenMs: number;
  /** When it was last asked. */
  askedMs: number;
  asking: boolean;
  down: boolean;
};

export type ViewOptions = {
  readonly urls: readonly string[];
  readonly clock: Clock;
  /** Connections to each node, for SQL. */
  readonly connections: number;
  /** Names, hosts or `host:port` of nodes that are nearby. Empty: all are. */
  readonly prefer: readonly string[];
  /** A line for people. */
  onEvent(line: string): void;
};

export class ClusterView {
  readonly #options: ViewOptions;
  readonly #clock: Clock;
  readonly #nodeByUrl = new Map<string, WatchedNode>();
  readonly #cancel: Cancel;
  #clusterId: string | undefined;
  /** URLs of nodes of other clusters, each told once. */
  readonly #strangers = new Set<string>();
  /** Wakes those that wait for something to change. */
  /** Of those who wait for a change. No promise that lives as long as an outage: it would keep all who ever waited. */
  readonly #waiting = new Set<() => void>();
  /** Turns with each choice, so that equals take turns. */
  #turn = 0;
  #lastLeader: string | undefined;
  #isClosed = false;

  constructor(options: ViewOptions) {
    this.#options = options;
    this.#clock = options.clock;
    for (const url of options.urls) this.#add(parseNodeUrl(url), true);
    this.#wake();
    this.#cancel = this.#clock.every(limits.watchHurryMs, () => this.#look());
    this.#look();
  }

  get clusterId(): string | undefined {
    return this.#clusterId;
  }

  /** Every node once, by its id where that is known. */
  get nodes(): readonly WatchedNode[] {
    const byName = new Map<string, WatchedNode>();
    for (const node of this.#nodeByUrl.values()) {
      const name = node.seen?.id ?? node.url;
      const other = byName.get(name);
      if (other === undefined || this.#isBetter(node, other)) byName.set(name, node);
    }
    return [...byName.values()];
  }

  /** Takes writes now, as far as is known. */
  leader(): WatchedNode | undefined {
    let best: WatchedNode | undefined;
    for (const node of this.nodes) {
      if (node.seen?.takesWrites !== true || this.stateOf(node) !== "up") continue;
      if (best === undefined || node.seen.term > best.seen!.term) best = node;
    }
    return best;
  }

  /** Nodes that may be read from, the best first. Not those that stay behind by intention. */
  readers(wish: ReadWish): WatchedNode[] {
    const leader = this.leader();
    const candidates: Candidate<WatchedNode>[] = [];
    for (const node of this.nodes) {
      const { seen, link } = node;
      if (seen?.ready !== true || seen.delayed || this.stateOf(node) !== "up") continue;
      candidates.push({
        ...{ node, leads: node === leader, lagMs: this.lagMs(node), load: link.load },
        near: this.#isNear(node),
      });
    }
    const from = candidates.length === 0 ? 0 : this.#turn++ % candidates.length;
    return rank([...candidates.slice(from), ...candidates.slice(0, from)], wish);
  }

  stateOf(node: WatchedNode): NodeState {
    if (node.down) return "down";
    if (node.seen === undefined) return "new";
    return this.#clock.nowMs() - node.seenMs <= limits.peerSilentMs ? "up" : "silent";
  }

  /** How far the node is behind now: what it said, and the time since. 0 on the leader while it answers. */
  lagMs(node: WatchedNode): number | undefined {
    const { seen } = node;
    if (seen?.lagMs === undefined) return undefined;
    if (seen.takesWrites && this.stateOf(node) === "up") return 0;
    return Math.ceil(seen.lagMs + this.#clock.nowMs() - node.seenMs);
  }

  /** An answer came from this state of the node's database. */
  sawApplied(node: WatchedNode, lsn: number): void {
    const { seen } = node;
    if (seen !== undefined && lsn > seen.appliedLsn) node.seen = { ...seen, appliedLsn: lsn };
  }

  /** Something went wrong there: it is not trusted to lead until it has been asked again, which happens now. */
  suspect(node: WatchedNode): void {
    if (node.seen?.takesWrites === true) node.seen = { ...node.seen, takesWrites: false };
    node.askedMs = Number.NEGATIVE_INFINITY;
    this.#ask(node);
  }

  /** Resolves when something has changed, or after `ms`. */
  async change(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        cancel();
        this.#waiting.delete(done);
        resolve();
      };
      const cancel = this.#clock.after(ms, done);
      this.#waiting.add(done);
    });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel();
    this.#wake();
    await Promise.all([...this.#nodeByUrl.values()].map(({ link }) => link.close()));
    this.#nodeByUrl.clear();
  }

  #add(url: string, isSeed: boolean): void {
    if (this.#nodeByUrl.has(url)) return;
    const never = Number.NEGATIVE_INFINITY;
    this.#nodeByUrl.set(url, {
      ...{ url, isSeed, seen: undefined, asking: false, down: false },
      ...{ seenMs: never, askedMs: never },
      link: new NodeLink(url, this.#options.connections, () => this.#clock.nowMs()),
    });
  }

  #look(): void {
    const nowMs = this.#clock.nowMs();
    const leader = this.leader();
    this.#tellLeader(leader);
    const everyMs = leader === undefined ? limits.watchHurryMs : limits.watchMs;
    for (const node of [...this.#nodeByUrl.values()]) {
      if (nowMs - node.askedMs >= everyMs) this.#ask(node);
      const isHeard = nowMs - node.link.heardMs <= limits.peerSilentMs;
      if (node.link.load > 0 && !isHeard && this.stateOf(node) === "silent") {
        this.#giveUp(node, leader);
      }
    }
  }

  #giveUp(node: WatchedNode, leader: WatchedNode | undefined): void {
    const silentMs = this.#clock.nowMs() - node.seenMs;
    const isReplaced = leader !== undefined && leader.seen!.term > node.seen!.term;
    node.link.breakOff(isReplaced || silentMs > limits.writeSilentMs ? "all" : "reads");
  }

  #ask(node: WatchedNode): void {
    if (node.asking) return;
    const askedMs = this.#clock.nowMs();
    node.asking = true;
    node.askedMs = askedMs;
    node.link
      .ask(limits.watchAskMs)
      .then(
        (seen) => this.#answered(node, seen, askedMs),
        (error: unknown) => this.#failed(node, error),
      )
      .finally(() => {
        node.asking = false;
      });
  }

  #answered(node: WatchedNode, seen: SeenNode, askedMs: number): void {
    if (!this.#isOurs(node, seen)) return;
    const before = node.seen;
    node.seen = seen;
    node.seenMs = askedMs;
    node.down = false;
    const hasChanged =
      before?.takesWrites !== seen.takesWrites ||
      before.ready !== seen.ready ||
      before.appliedLsn !== seen.appliedLsn;
    if (seen.takesWrites && node === this.leader()) this.#follow(seen);
    else for (const { url } of before === undefined ? seen.members : []) this.#add(url, false);
    if (hasChanged) this.#wake();
  }

  /** The members are those that the leader knows. */
  #follow({ members }: SeenNode): void {
    for (const { url } of members) this.#add(url, false);
    if (members.length === 0) return;
    const urls = new Set(members.map(({ url }) => url));
    for (const [url, node] of [...this.#nodeByUrl]) {
      if (node.isSeed || urls.has(url)) continue;
      this.#nodeByUrl.delete(url);
      node.link.close().catch(() => {});
    }
  }

  #failed(node: WatchedNode, error: unknown): void {
    // A node that stops refuses questions, and one that is gone refuses connections: both at once. Time-outs are told
    // by the age of the last answer instead.
    const isLate = (error as Error)?.name === "TimeoutError";
    if (!isLate && !node.down) {
      node.down = true;
      this.#options.onEvent(`${node.seen?.id ?? node.url} does not answer: ${messageOf(error)}`);
      this.#wake();
    }
  }

  #isOurs(node: WatchedNode, seen: SeenNode): boolean {
    const { clusterId } = seen;
    if (clusterId === undefined) return true;
    this.#clusterId ??= clusterId;
    if (clusterId === this.#clusterId) return true;
    if (!this.#strangers.has(node.url)) {
      this.#strangers.add(node.url);
      const other = `${clusterId}, not to ${this.#clusterId}`;
      this.#options.onEvent(`${node.url} belongs to cluster ${other}; nothing is sent there`);
    }
    return false;
  }

  #tellLeader(leader: WatchedNode | undefined): void {
    const id = leader?.seen?.id;
    if (id === this.#lastLeader) return;
    this.#lastLeader = id;
    const line = id === undefined ? "nobody leads" : `${id} leads, in term ${leader!.seen!.term}`;
    this.#options.onEvent(line);
  }

  /** Of two ways to one node: the one that works, and then the one that the cluster itself uses. */
  #isBetter(node: WatchedNode, other: WatchedNode): boolean {
    const [ups, otherUps] = [this.stateOf(node) === "up", this.stateOf(other) === "up"];
    if (ups !== otherUps) return ups;
    return other.isSeed && !node.isSeed;
  }

  #isNear({ seen, url }: WatchedNode): boolean {
    const { prefer } = this.#options;
    if (prefer.length === 0) return true;
    const { host, hostname } = new URL(url);
    return prefer.some((name) => name === seen?.id || name === host || name === hostname);
  }

  /** Something has changed. */
  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}
