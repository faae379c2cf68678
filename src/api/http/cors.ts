/**
 * Lets web pages of any origin use the database endpoints, as libSQL's builds for browsers need. Not the operations
 * (admin/operations.ts refuses foreign pages) and not what nodes ask each other.
 */

import type { FastifyInstance, FastifyRequest } from "fastify";

export function addCors(app: FastifyInstance): void {
  app.addHook("onRequest", async (request, reply) => {
    if (isPrivate(request)) return;
    reply.header("access-control-allow-origin", "*");
    reply.header("access-control-expose-headers", "*");
  });

  app.options("/admin/*", (_request, reply) => reply.callNotFound());
  app.options("/internal/*", (_request, reply) => reply.callNotFound());
  app.options("/*", (request, reply) => {
    // `*` does not include authorization, so what was asked for is named [Fetch standard].
    const asked = request.headers["access-control-request-headers"];
    return reply
      .code(204)
      .header("access-control-allow-methods", "GET, POST, OPTIONS")
      .header("access-control-allow-headers", asked ?? "*")
      .header("access-control-max-age", "86400")
      .send();
  });
}

/** By the route and not by the path: a path has many spellings that lead to the same route. */
function isPrivate(request: FastifyRequest): boolean {
  return /^\/(?:admin|internal)\//.test(request.routeOptions.url ?? "/");
}
