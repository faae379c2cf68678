/**
 * What an operator does with a cluster: verify, switch over, add and remove members, change
 * settings. Any node takes them. What is about one node, promoting it or rolling it forward, is asked of that node.
 *
 * A web page that the operator happens to look at must not be able to do these things: browsers send an Origin, and
 * one that is not this server's own is refused [hostile-cases 25].
 */

import { Readable } from "node:stream";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { formatAddress, isUnspecified, readAddress } from "../../base/address.ts";
import { ClientError } from "../../base/errors.ts";
import { discardedName } from "../../node/discarded/discarded-store.ts";
import { isPriority, priorityMax } from "../../raft/rule/priority.ts";
import {
  type MemberKind,
  memberKinds,
  type NodeId,
  nodeId,
  nodeIdPattern,
} from "../../vocabulary.ts";
import type { Backend } from "../backend.ts";
import { sendJson } from "../errors.ts";
import { type JsonObject, parseJsonObject } from "../json-body.ts";
import { withNulls } from "./probes.ts";

export function addOperationRoutes(app: FastifyInstance, backend: Backend): void {
  // With each route and not by the path: a path has many spellings that lead to the same route.
  const ours = { onRequest: refuseForeignPages };

  app.post("/admin/verify", ours, async (_request, reply) =>
    sendJson(reply, 200, withNulls(await backend.verify())),
  );

  app.post("/admin/switchover", ours, async (request, reply) => {
    const isEmpty = !(request.body instanceof Uint8Array) || request.body.byteLength === 0;
    const body = isEmpty ? {} : parseJsonObject(request.body);
    const to = body["to"] ?? undefined;
    const result = await backend.switchover(to === undefined ? undefined : decodeNodeId(to, "to"));
    return sendJson(reply, 200, withNulls(result));
  });

  app.post("/admin/promote", ours, async (request, reply) => {
    const { acceptLoss = false } = parseJsonObject(request.body);
    if (typeof acceptLoss !== "boolean") {
      throw new ClientError("BAD_REQUEST", "acceptLoss must be true or false");
    }
    return sendJson(reply, 200, withNulls(await backend.promote(acceptLoss)));
  });

  app.post("/admin/roll-forward", ours, async (request, reply) => {
    const { to, resume } = parseJsonObject(request.body);
    const isTarget = typeof to === "string" || typeof to === "number";
    if (isTarget === (resume === true)) {
      throw new ClientError(
        "BAD_REQUEST",
        'say either {"to": POSITION or TIME} or {"resume": true}',
      );
    }
    const answer = await backend.rollForward(isTarget ? String(to) : undefined);
    return sendJson(reply, 200, withNulls(answer));
  });

  app.post("/admin/members", ours, async (request, reply) => {
    const body = parseJsonObject(request.body);
    const member = {
      id: decodeNodeId(body["id"], "id"),
      kind: decodeKind(body),
      address: decodeAddress(body["address"]),
    };
    await backend.addMember(member);
    return sendJson(reply, 200, withNulls(member));
  });

  app.post("/admin/members/:id", ours, async (request, reply) => {
    const id = decodeNodeId((request.params as { id?: unknown }).id, "id");
    const { priority } = parseJsonObject(request.body);
    if (priority !== "never" && !isPriority(priority)) {
      throw new ClientError("BAD_REQUEST", `priority must be 0 to ${priorityMax}, or "never"`);
    }
    await backend.setPriority(id, priority);
    return sendJson(reply, 200, withNulls({ id, priority }));
  });

  app.delete("/admin/members/:id", ours, async (request, reply) => {
    const id = decodeNodeId((request.params as { id?: unknown }).id, "id");
    await backend.removeMember(id);
    return sendJson(reply, 200, withNulls({ id, removed: true }));
  });

  app.get("/admin/discarded", ours, async (_request, reply) =>
    sendJson(reply, 200, withNulls({ discarded: backend.discarded() })),
  );

  app.get("/admin/discarded/:name", ours, async (request, reply) => {
    const { name } = request.params as { name: string };
    const contents = discardedName.test(name) ? backend.discardedContents(name) : undefined;
    if (contents !== undefined) {
      return reply.type("application/json; charset=utf-8").send(Readable.from(contents));
    }
    throw new ClientError("NOT_FOUND", `nothing was discarded here under ${name}`);
  });

  app.post("/admin/settings", ours, async (request, reply) =>
    sendJson(reply, 200, withNulls(await backend.configure(parseJsonObject(request.body)))),
  );
}

async function refuseForeignPages(request: FastifyRequest): Promise<void> {
  const { origin, host } = request.headers;
  if (origin === undefined) return;
  const originHost = URL.canParse(origin) ? new URL(origin).host : undefined;
  if (originHost !== undefined && originHost === host) return;
  throw new ClientError("UNAUTHORIZED", `requests from pages of ${origin} are not accepted here`);
}

function decodeNodeId(value: unknown, what: string): NodeId {
  if (typeof value === "string" && nodeIdPattern.test(value)) return nodeId(value);
  throw new ClientError(
    "BAD_REQUEST",
    `${what} must be the name of a node: 1 to 32 of a-z 0-9 _ -`,
  );
}

function decodeKind(body: JsonObject): MemberKind {
  const kind = body["kind"] ?? "voter";
  const known = memberKinds.find((k) => k === kind);
  if (known === undefined) {
    throw new ClientError("BAD_REQUEST", `kind must be one of ${memberKinds.join(", ")}`);
  }
  return known;
}

function decodeAddress(value: unknown): string {
  const address = typeof value === "string" ? readAddress(value) : undefined;
  if (address === undefined || address.port === 0) {
    throw new ClientError(
      "BAD_REQUEST",
      "address must be HOST:PORT, such as 10.0.0.4:7001 or [fd00::4]:7001",
    );
  }
  if (isUnspecified(address.host)) {
    throw new ClientError(
      "BAD_REQUEST",
      `${value} stands for all addresses of a machine, and no node can connect to it; give the address that the ` +
        `other nodes reach, such as 10.0.0.4:${address.port} (a node that joins takes it from --advertise)`,
    );
  }
  return formatAddress(address);
}
