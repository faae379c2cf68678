/**
 * What load balancers and people ask a node: is it up, does it lead, is it fresh, which version, how is the cluster.
 * The answers are statuses first; bodies are for people.
 */

import type { FastifyInstance } from "fastify";
import { ClientError } from "../../base/errors.ts";
import type { Backend } from "../backend.ts";
import { sendError, sendJson } from "../errors.ts";

export type ProbePorts = {
  readonly backend: Backend;
  readonly node: string;
  /** Of Paceline. */
  readonly version: string;
};

export function addProbeRoutes(app: FastifyInstance, { backend, node, version }: ProbePorts): void {
  app.get("/", (request, reply) => {
    if (request.headers.upgrade?.toLowerCase() === "websocket") {
      throw new ClientError(
        "NOT_FOUND",
        "SQL over WebSocket is not served; use http:// instead of ws://",
      );
    }
    return reply.type("text/plain").send(welcome(node, version, roleOf(backend)));
  });

  app.get("/version", (_request, reply) => reply.type("text/plain").send(`paceline ${version}\n`));

  app.get("/health", (_request, reply) => sendJson(reply, 200, JSON.stringify(healthOf(backend))));

  app.get("/leader", (_request, reply) => {
    if (backend.isLeader()) return sendJson(reply, 200, JSON.stringify({ leader: node }));
    return sendError(reply, new ClientError("NOT_LEADER", `node ${node} does not lead`));
  });

  app.get("/replica", (request, reply) => {
    const { maxLagMs } = request.query as { maxLagMs?: unknown };
    const bound = parseLag(maxLagMs);
    if (!backend.ready()) {
      const why = backend.isWitness()
        ? "is a witness: it has no database"
        : "has no database that it may serve yet";
      throw new ClientError("NOT_READY", `node ${node} ${why}`);
    }
    if (bound === undefined && backend.isDelayed()) {
      throw new ClientError("TOO_STALE", `node ${node} is delayed, and shows the past`);
    }
    const lagMs = backend.isLeader() ? 0 : backend.lagMs();
    if (bound !== undefined && (lagMs === undefined || lagMs > bound)) {
      const lag = lagMs === undefined ? "an unknown time" : `${Math.ceil(lagMs)} ms`;
      throw new ClientError("TOO_STALE", `node ${node} is ${lag} behind, asked for ${bound} ms`);
    }
    return sendJson(reply, 200, JSON.stringify({ lagMs: lagMs ?? null }));
  });

  app.get("/node", (_request, reply) => sendJson(reply, 200, withNulls(backend.view())));

  app.get("/status", async (_request, reply) =>
    sendJson(reply, 200, withNulls(await backend.status())),
  );
}

/** JSON in which what is not known is null, so that the fields are always the same. */
export function withNulls(value: unknown): string {
  return JSON.stringify(value, (_key, field: unknown) => (field === undefined ? null : field));
}

function parseLag(text: unknown): number | undefined {
  if (text === undefined) return undefined;
  if (typeof text === "string" && /^\d{1,12}$/.test(text)) return Number(text);
  throw new ClientError("BAD_REQUEST", "maxLagMs must be a whole number of milliseconds");
}

/** A witness serves as soon as it is up: it passes requests on. */
function healthOf(backend: Backend): { status: string; kind?: string } {
  if (backend.isWitness()) return { status: "ok", kind: "witness" };
  return { status: backend.ready() ? "ok" : "starting" };
}

function roleOf(backend: Backend): string {
  if (backend.isWitness())
    return "a witness: it votes and has no database, what you ask it the leader answers";
  return backend.isLeader() ? "the leader" : "a follower";
}

function welcome(node: string, version: string, role: string): string {
  return `This is Paceline ${version}: a replicated SQLite database. Node ${node}, ${role}.

Connect with any libSQL client: give it this URL (http://host:port).

  GET  /status              the cluster and its nodes
  GET  /node                this node alone, for clients and routers
  GET  /health  /leader  /replica?maxLagMs=1000     for load balancers
  GET  /changes?from=42@3   what is committed, row by row; also over WebSocket
  GET  /metrics             for Prometheus
  POST /v2/pipeline         SQL, for example
       {"requests":[{"type":"execute","stmt":{"sql":"select 1"}},{"type":"close"}]}
`;
}
