/**
 * The program's model of a request, back to Hrana's JSON: for whoever sends one on.
 */

import type { SqlRequest, Stmt } from "./request.ts";

/** An element of `requests` in the body of a pipeline. */
export function wireRequest(request: SqlRequest): unknown {
  switch (request.type) {
    case "execute":
      return { type: "execute", stmt: wireStmt(request.stmt) };
    case "batch":
      return {
        type: "batch",
        batch: {
          steps: request.steps.map(({ stmt, condition }) => ({ stmt: wireStmt(stmt), condition })),
        },
      };
    default:
      return request;
  }
}

function wireStmt({ sql, args, namedArgs, wantRows }: Stmt): unknown {
  return { sql, args, named_args: namedArgs, want_rows: wantRows };
}
