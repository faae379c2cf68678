/**
 * What Prometheus sees of a router: HTTP as on a node, and the nodes as the router sees them.
 */

import { Counter, Gauge, Registry } from "prom-client";
import { type FinishedRequest, NodeMetrics } from "../api/metrics/node-metrics.ts";
import type { ClusterView } from "../client/cluster-view.ts";

export type RouterNumbers = {
  readonly view: ClusterView;
  streams(): number;
  connections(): number;
  /** Gauges, and counters whose names end in `Total`. */
  counts(): Readonly<Record<string, number>>;
};

const prefix = "paceline_router_";

export class RouterMetrics {
  readonly #view: ClusterView;
  readonly #http: NodeMetrics;
  readonly #registry = new Registry();
  readonly #answers: Counter<"node" | "kind">;
  readonly #up: Gauge<"node">;
  readonly #leads: Gauge<"node">;
  readonly #lagMs: Gauge<"node">;
  readonly #underWay: Gauge<"node">;

  constructor(numbers: RouterNumbers) {
    this.#view = numbers.view;
    this.#http = new NodeMetrics({
      node: () => prefixed(numbers.counts()),
      streams: () => numbers.streams(),
      connections: () => numbers.connections(),
    });
    const registers = [this.#registry];
    this.#answers = new Counter({
      name: `${prefix}answers_total`,
      help: "Units answered, by node and kind: read, write, transaction.",
      ...{ labelNames: ["node", "kind"] as const, registers },
    });
    const gauge = (name: string, help: string): Gauge<"node"> =>
      new Gauge({ name: prefix + name, help, labelNames: ["node"], registers });
    this.#up = gauge("node_up", "1 when the node answers, 0 when it is silent or down.");
    this.#leads = gauge("node_leads", "1 on the node that takes writes.");
    this.#lagMs = gauge("node_lag_ms", "Lag in milliseconds, grown by silence; -1 when unknown.");
    this.#underWay = gauge("node_under_way", "Requests under way to the node.");
  }

  get contentType(): string {
    return this.#http.contentType;
  }

  finished(request: FinishedRequest): void {
    this.#http.finished(request);
  }

  answered(node: string, kind: string): void {
    this.#answers.inc({ node, kind });
  }

  /** The text that Prometheus reads. */
  async text(): Promise<string> {
    for (const gauge of [this.#up, this.#leads, this.#lagMs, this.#underWay]) gauge.reset();
    const leader = this.#view.leader();
    for (const watched of this.#view.nodes) {
      const node = watched.seen?.id ?? watched.url;
      this.#up.set({ node }, this.#view.stateOf(watched) === "up" ? 1 : 0);
      this.#leads.set({ node }, watched === leader ? 1 : 0);
      this.#lagMs.set({ node }, this.#view.lagMs(watched) ?? -1);
      this.#underWay.set({ node }, watched.link.load);
    }
    return `${await this.#http.text()}\n${await this.#registry.metrics()}`;
  }
}

function prefixed(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(counts).map(([name, n]) => [
      `router${name[0]!.toUpperCase()}${name.slice(1)}`,
      n,
    ]),
  );
}
