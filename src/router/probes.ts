/**
 * What load balancers and people ask a router: is it up, does it know a leader, is there a fresh follower, how does it
 * see the cluster. The same paths as on a node, so that whatever looks at nodes can look at a router.
 *
 *   /status   what a node answers, from the leader or whoever is there, and under `router` what this router knows
 */

import type { FastifyInstance } from "fastify";
import { request } from "undici";
import { withNulls } from "../api/admin/probes.ts";
import { sendJson } from "../api/errors.ts";
import { ClientError } from "../base/errors.ts";
import type { ClusterView, WatchedNode } from "../client/cluster-view.ts";
import { limits } from "../limits.ts";

export type RouterProbes = {
  readonly view: ClusterView;
  /** Of Paceline. */
  readonly version: string;
  /** Counts of the router itself. */
  counts(): Readonly<Record<string, number>>;
};

/** A node that takes longer to say how the cluster is, is not asked further. */
const statusMs = 3_000;

export function addRouterProbes(app: FastifyInstance, probes: RouterProbes): void {
  const { view, version } = probes;

  app.get("/", (_request, reply) => reply.type("text/plain").send(welcome(version)));

  app.get("/version", (_request, reply) => reply.type("text/plain").send(`paceline ${version}\n`));

  app.get("/health", (_request, reply) => {
    const leader = view.leader()?.seen?.id;
    const isUp = view.nodes.some((node) => view.stateOf(node) === "up");
    const status = leader !== undefined ? "ok" : isUp ? "no leader" : "no node";
    return sendJson(reply, 200, withNulls({ status, leader }));
  });

  app.get("/leader", (_request, reply) => {
    const leader = view.leader();
    if (leader === undefined) throw new ClientError("NO_LEADER", "no node takes writes now");
    return sendJson(reply, 200, withNulls({ leader: leader.seen?.id, url: leader.url }));
  });

  app.get("/replica", (request, reply) => {
    const { maxLagMs = String(limits.readLagMs) } = request.query as { maxLagMs?: string };
    if (!/^\d{1,12}$/.test(maxLagMs)) {
      throw new ClientError("BAD_REQUEST", "maxLagMs must be a whole number of milliseconds");
    }
    const wish = { maxLagMs: Number(maxLagMs), bounded: true };
    const [first] = view.readers(wish);
    if (first === undefined) {
      throw new ClientError("TOO_STALE", `no node is less than ${maxLagMs} ms behind`);
    }
    return sendJson(reply, 200, withNulls({ node: first.seen?.id, lagMs: view.lagMs(first) }));
  });

  app.get("/status", async (_request, reply) => {
    const router = { version, ...probes.counts(), nodes: view.nodes.map((n) => seenBy(view, n)) };
    return sendJson(reply, 200, withNulls({ ...(await clusterStatus(view)), router }));
  });
}

function seenBy(view: ClusterView, node: WatchedNode): Record<string, unknown> {
  return {
    ...{ id: node.seen?.id, url: node.url, state: view.stateOf(node) },
    ...{ leads: node === view.leader(), ready: node.seen?.ready },
    ...{ appliedLsn: node.seen?.appliedLsn, lagMs: view.lagMs(node), underWay: node.link.load },
  };
}

/** The status of the cluster as a node tells it; what is known here when none does. */
async function clusterStatus(view: ClusterView): Promise<object> {
  const node = view.leader() ?? view.nodes.find((n) => view.stateOf(n) === "up");
  if (node !== undefined) {
    try {
      const signal = AbortSignal.timeout(statusMs);
      const { statusCode, body } = await request(`${node.url}/status`, { signal });
      const status: unknown = await body.json();
      if (statusCode === 200 && typeof status === "object" && status !== null) return status;
    } catch {
      // It has gone since it was last seen.
    }
  }
  const nodes = view.nodes.map((n) => ({
    ...{ id: n.seen?.id, url: n.url, role: undefined, kind: undefined, reachable: false },
    ...{ durableLsn: undefined, committedLsn: undefined, appliedLsn: undefined },
    ...{ lagMs: view.lagMs(n), lagEntries: undefined, lagBytes: undefined, checksum: undefined },
  }));
  return { clusterId: view.clusterId, term: 0, leader: undefined, commitRule: "unknown", nodes };
}

function welcome(version: string): string {
  return `This is the router of a Paceline ${version} cluster: a replicated SQLite database.

Connect with any libSQL client: give it this URL. Writes go to the leader, reads to the followers.

  GET  /status                             the cluster, and how this router sees it
  GET  /health  /leader  /replica?maxLagMs=1000
  GET  /metrics                            for Prometheus
  POST /v2/pipeline                        SQL

A client reads what it wrote. To wait for no more than its own writes, it names its session in the header
paceline-session, or in a cookie of that name.
`;
}
