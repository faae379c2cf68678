/**
 * The program's model of a request, back to Hrana's JSON: for whoever sends one on.
 */

import type { SqlRequest, Stmt, Value } from "./request.ts";

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
  return {
    sql,
    args: args.map(wireValue),
    named_args: namedArgs.map(({ name, value }) => ({ name, value: wireValue(value) })),
    want_rows: wantRows,
  };
}

/** A value for JSON.stringify, which by itself loses the sign of -0.0. */
export function wireValue(value: Value): unknown {
  return Object.is((value as { value?: unknown }).value, -0) ? negativeZero : value;
}

/** Text that stands in the JSON as it is. TypeScript does not know it yet. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };
const negativeZero = { type: "float", value: rawJSON("-0.0") };
