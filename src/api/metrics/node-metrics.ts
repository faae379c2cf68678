/**
 * What Prometheus sees of a node. One registry per node, nothing global, so that several nodes fit into one process.
 *
 * The node counts for itself and is asked when somebody looks; only HTTP is counted here. Names of the node's numbers
 * are camelCase; here they become snake_case with a prefix, and counters end in `_total`.
 */

import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** What the API asks when somebody looks. */
export type MetricSources = {
  node(): Readonly<Record<string, number>>;
  streams(): number;
  connections(): number;
};

/** One request that is over. */
export type FinishedRequest = {
  readonly method: string;
  /** Pattern of the route, not the path: paths are without number. */
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
};

const prefix = "paceline_";
/** From a read in memory to a statement at its deadline, in seconds. */
const buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export class NodeMetrics {
  readonly #registry = new Registry();
  readonly #sources: MetricSources;
  readonly #requests: Counter<"method" | "route" | "status">;
  readonly #seconds: Histogram<"route">;
  readonly #gaugeByName = new Map<string, Gauge>();
  readonly #counterByName = new Map<string, Counter>();

  constructor(sources: MetricSources) {
    this.#sources = sources;
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: `${prefix}http_requests_total`,
      help: "HTTP requests answered, by route and status.",
      labelNames: ["method", "route", "status"],
      registers,
    });
    this.#seconds = new Histogram({
      name: `${prefix}http_request_seconds`,
      help: "Time from the headers of a request to the end of its answer.",
      labelNames: ["route"],
      buckets,
      registers,
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  finished({ method, route, status, seconds }: FinishedRequest): void {
    this.#requests.inc({ method, route, status: String(status) });
    this.#seconds.observe({ route }, seconds);
  }

  /** The text that Prometheus reads. */
  text(): Promise<string> {
    this.#gauge("hranaStreams").set(this.#sources.streams());
    this.#gauge("httpConnections").set(this.#sources.connections());
    for (const [name, value] of Object.entries(this.#sources.node())) {
      if (!Number.isFinite(value)) continue;
      if (name.endsWith("Total")) this.#setCounter(name, value);
      else this.#gauge(name).set(value);
    }
    return this.#registry.metrics();
  }

  #gauge(name: string): Gauge {
    const known = this.#gaugeByName.get(name);
    if (known !== undefined) return known;
    const gauge = new Gauge({
      name: prefix + snakeCase(name),
      help: helpOf(name),
      registers: [this.#registry],
    });
    this.#gaugeByName.set(name, gauge);
    return gauge;
  }

  /** The node has the count; ours is brought to it. */
  #setCounter(name: string, value: number): void {
    let counter = this.#counterByName.get(name);
    if (counter === undefined) {
      counter = new Counter({
        name: prefix + snakeCase(name),
        help: helpOf(name),
        registers: [this.#registry],
      });
      this.#counterByName.set(name, counter);
    }
    counter.reset();
    counter.inc(Math.max(0, value));
  }
}

/** Help texts of the node's numbers. One that is missing is shown by its name. */
const helpByName: Readonly<Record<string, string>> = {
  hranaStreams: "Streams that are open between two requests.",
  httpConnections: "Open connections, links between nodes included.",
  term: "Term of the node.",
  leader: "1 on the leader, 0 elsewhere.",
  voters: "Voting members, witnesses included.",
  members: "Members of the cluster.",
  peersUp: "Members that this node has a link to.",
  durableLsn: "Last entry on the disk of this node.",
  committedLsn: "Last entry known to be safe by the commit rule.",
  appliedLsn: "Last entry in the served database.",
  safeLsn: "Last entry known to be on a majority of the voters.",
  inSync: "On the leader, members that have everything but what is on its way.",
  degraded: "1 while copies are missing and a weaker commit rule does.",
  degradedTotal: "Times that this leader became degraded.",
  ackTimeoutsTotal: "Writes that did not get the copies they asked for in time.",
  discarded: "Directories of entries that the cluster lost and this node has kept.",
  lagMs:
    "Milliseconds since this node surely had everything; grows under silence; -1 when unknown.",
  lagEntries:
    "Entries that the leader was last heard to have committed and this node lacks; -1 when unknown.",
  lagBytes: "About how many bytes of the log those entries are; -1 when unknown.",
  applyDelayMs: "On a delayed follower, how long after the leader's commit it applies; else 0.",
  held: "1 while a delayed follower stays where an operator rolled it forward to.",
  logBytes: "Size of the replication log on disk.",
  walFrames: "Frames in the served WAL.",
  databasePages: "Pages of the served database.",
  databaseDamaged: "1 when the served database is damaged and not repaired yet.",
  writeQueueLength: "Units waiting for the writer.",
  uncommittedBytes: "Bytes of entries whose fate is open.",
  writeBatchesTotal: "Group commits by this node as leader.",
  writeUnitsTotal: "Units that wrote, run by this node as leader.",
  entriesProposedTotal: "Entries proposed by this node as leader.",
  writerKillsTotal: "Writer processes killed because a statement overran its deadline.",
  localReadsTotal: "Units read on this node.",
  localWritesTotal: "Units run by this node as leader.",
  forwardedTotal: "Units sent to the leader.",
  retriedTotal: "Units tried again because they were surely not begun.",
  peerSentBytesTotal: "Bytes sent to other nodes over links, page syncs included.",
  children: "Nodes below this one that follow it without being members.",
  pageSyncReceivedBytesTotal: "Bytes of pages received by page sync.",
};

function helpOf(name: string): string {
  return helpByName[name] ?? snakeCase(name).replaceAll("_", " ");
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/[^a-z0-9_]/g, "_");
}
