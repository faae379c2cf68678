/**
 * From the JSON of a Hrana request to the program's own model (db/sql/request.ts). The one gateway: what passes is
 * complete, typed, bounded and refers only to what exists; behind it nothing is checked again.
 *
 * A request list is decoded as a whole before any of it runs, so a malformed one has no effect at all. Stored SQL
 * texts are put in where they are referred to, in the order of the list.
 *
 * Unknown fields are ignored, unknown types are refused [hrana.md §1]. What only SQLite can judge (syntax, number of
 * arguments) is not looked at.
 */

import { ClientError } from "../../base/errors.ts";
import type { Condition, SqlRequest, Stmt } from "../../db/sql/request.ts";
import { limits } from "../../limits.ts";
import { isObject, type JsonObject } from "../json-body.ts";
import type { SqlTexts } from "./sql-texts.ts";
import { decodeText, decodeValue, refused, shown } from "./value.ts";

/** One request of a pipeline. Those on stored texts have taken effect when they are decoded. */
export type StreamRequest =
  | { readonly type: "sql"; readonly request: SqlRequest }
  | { readonly type: "store_sql" | "close_sql" | "close" };

type BatchRequest = Extract<SqlRequest, { type: "batch" }>;
type Step = BatchRequest["steps"][number];

const int32Min = -(2 ** 31);
const int32Max = 2 ** 31 - 1;

/** Decodes the requests of one HTTP body. Its methods throw ClientError BAD_REQUEST that names the place. */
export class RequestDecoder {
  readonly #texts: SqlTexts;
  /** Characters of SQL so far. Stored texts count wherever they are used, as other processes get them in full. */
  #sqlChars = 0;
  /** Highest replication index that a request asked to wait for. */
  #replicationIndex = 0;
  /** The client knows of replication indexes: it named one. */
  knowsIndex = false;

  constructor(texts: SqlTexts) {
    this.#texts = texts;
  }

  get replicationIndex(): number {
    return this.#replicationIndex;
  }

  pipeline(requests: unknown): readonly StreamRequest[] {
    if (!Array.isArray(requests)) throw refused("requests must be an array");
    let closed = false;
    return requests.map((request: unknown, index) =>
      named(`requests[${index}]`, () => {
        if (closed) throw refused("close must be the last request");
        if (!isObject(request)) throw refused("a request must be an object");
        const decoded = this.#streamRequest(request);
        closed = decoded.type === "close";
        return decoded;
      }),
    );
  }

  batch(value: unknown): BatchRequest {
    if (!isObject(value)) throw refused("batch must be an object");
    this.#noteIndex(value);
    const { steps } = value;
    if (!Array.isArray(steps)) throw refused("batch.steps must be an array");
    if (steps.length > limits.batchStepsMax) {
      throw refused(`a batch can have ${limits.batchStepsMax} steps, this one has ${steps.length}`);
    }
    return {
      type: "batch",
      steps: steps.map((step: unknown, index) =>
        named(`steps[${index}]`, () => this.#step(step, index)),
      ),
    };
  }

  stmt(value: unknown): Stmt {
    if (!isObject(value)) throw refused("stmt must be an object");
    this.#noteIndex(value);
    const sql = this.#sql(value);
    const wantRows = value["want_rows"] ?? true;
    if (typeof wantRows !== "boolean") throw refused("want_rows must be a boolean");
    const args = listOf(value, "args").map(decodeValue);
    const namedArgs = listOf(value, "named_args").map((arg) => {
      if (!isObject(arg)) throw refused("a named argument must be an object");
      return { name: decodeText(arg["name"], "name"), value: decodeValue(arg["value"]) };
    });
    return { sql, args, namedArgs, wantRows };
  }

  #streamRequest(request: JsonObject): StreamRequest {
    switch (request["type"]) {
      case "execute":
        return {
          type: "sql",
          request: { type: "execute", stmt: this.stmt(request["stmt"]) },
        };
      case "batch":
        return { type: "sql", request: this.batch(request["batch"]) };
      case "sequence":
      case "describe":
        this.#noteIndex(request);
        return { type: "sql", request: { type: request["type"], sql: this.#sql(request) } };
      case "get_autocommit":
        return { type: "sql", request: { type: "get_autocommit" } };
      case "store_sql":
        this.#texts.store(decodeId(request["sql_id"]), decodeText(request["sql"], "sql"));
        return { type: "store_sql" };
      case "close_sql":
        this.#texts.forget(decodeId(request["sql_id"]));
        return { type: "close_sql" };
      case "close":
        return { type: "close" };
      default:
        throw refused(
          `unknown type of request ${shown(request["type"])}; known are execute, batch, sequence, ` +
            "describe, store_sql, close_sql, get_autocommit, close",
        );
    }
  }

  #step(step: unknown, index: number): Step {
    if (!isObject(step)) throw refused("a step must be an object");
    const condition = step["condition"] ?? undefined;
    return {
      stmt: this.stmt(step["stmt"]),
      condition: condition === undefined ? undefined : decodeCondition(condition, index),
    };
  }

  /** Exactly one of `sql` and `sql_id`. */
  #sql(request: JsonObject): string {
    const text = request["sql"] ?? undefined;
    const id = request["sql_id"] ?? undefined;
    if ((text === undefined) === (id === undefined)) {
      throw refused("exactly one of sql and sql_id must be given");
    }
    const sql = id === undefined ? decodeText(text, "sql") : this.#texts.get(decodeId(id));
    this.#sqlChars += sql.length;
    if (this.#sqlChars > limits.expandedSqlBytesMax) {
      throw new ClientError(
        "BODY_TOO_LARGE",
        `the SQL of one request, stored texts written out, is over the limit of ${limits.expandedSqlBytesMax} bytes`,
      );
    }
    return sql;
  }

  /** Go's client sends back the replication index it saw, as a number; others may send a string. */
  #noteIndex(value: JsonObject): void {
    const index = value["replication_index"] ?? undefined;
    if (index === undefined) return;
    this.knowsIndex = true;
    const lsn = typeof index === "string" && /^\d{1,16}$/.test(index) ? Number(index) : index;
    if (typeof lsn !== "number" || !Number.isSafeInteger(lsn) || lsn < 0) {
      throw refused(`${shown(index)} is not a replication index`);
    }
    this.#replicationIndex = Math.max(this.#replicationIndex, lsn);
  }
}

/** A condition may only refer to earlier steps, so it cannot be circular. Depth is bounded by the JSON's. */
function decodeCondition(value: unknown, index: number): Condition {
  if (!isObject(value)) throw refused("a condition must be an object");
  switch (value["type"]) {
    case "ok":
    case "error": {
      const step = value["step"];
      if (typeof step !== "number" || !Number.isInteger(step) || step < 0 || step >= index) {
        throw refused(`condition refers to step ${shown(step)}, which is not an earlier step`);
      }
      return { type: value["type"], step };
    }
    case "not":
      return { type: "not", cond: decodeCondition(value["cond"], index) };
    case "and":
    case "or":
      return {
        type: value["type"],
        conds: listOf(value, "conds").map((cond) => decodeCondition(cond, index)),
      };
    case "is_autocommit":
      return { type: "is_autocommit" };
    default:
      throw refused(
        `unknown type of condition ${shown(value["type"])}; known are ok, error, not, and, or, ` +
          "is_autocommit",
      );
  }
}

function decodeId(value: unknown): number {
  const valid =
    typeof value === "number" &&
    Number.isInteger(value) &&
    !Object.is(value, -0) &&
    value >= int32Min &&
    value <= int32Max;
  if (!valid) throw refused(`${shown(value)} is not a 32-bit integer`);
  return value;
}

function listOf(value: JsonObject, key: string): readonly unknown[] {
  const list = value[key] ?? [];
  if (!Array.isArray(list)) throw refused(`${key} must be an array`);
  return list;
}

/** Puts the place in front of the message of a refusal. */
function named<T>(place: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    throw new ClientError(error.code, `${place}: ${error.message}`, { cause: error });
  }
}
