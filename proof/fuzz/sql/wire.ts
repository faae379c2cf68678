/** The cluster's side: one Hrana stream over HTTP on one node, its answers in the common form. */

import type { Pool } from "undici";
import type { SqlValue } from "../../../src/changes/values.ts";
import { type Answer, floatText } from "./answers.ts";
import type { Argument, Request, Send, Statement } from "./list.ts";
import { scriptOf } from "./texts.ts";

type Value = { type: string; value?: string | number | null; base64?: string };
type Failure = { message: string; code: string; extended_code?: string };
type StatementResult = {
  cols: { name: string | null; decltype: string | null }[];
  rows: Value[][];
  affected_row_count: number;
  last_insert_rowid: string | null;
};
type Result = {
  type: "ok" | "error";
  error?: Failure;
  response?: {
    result?: StatementResult & {
      step_results?: (StatementResult | null)[];
      step_errors?: (Failure | null)[];
    };
    is_autocommit?: boolean;
  };
};

const answerTimeoutMs = 30_000;

export class WireStream {
  readonly #pool: Pool;
  #baton: string | undefined;
  /** Position of the last answer: what a copy must have applied to be compared. */
  position: string | undefined;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** The answers to each request; a script has one for all its steps. */
  async run(send: Send): Promise<Answer[][]> {
    const { requests, closes } = send;
    if (requests[0]?.type === "cursor") return [await this.#cursor(requests[0])];
    const sent: unknown[] = requests.map(requestJson);
    if (closes) sent.push({ type: "close" });
    const { text, failure } = await this.#post("/v3/pipeline", { requests: sent });
    if (failure !== undefined) return requests.map(({ steps }) => steps.map(() => failure));
    const answer = JSON.parse(text) as { baton: string | null; results: Result[] };
    this.#baton = answer.baton ?? undefined;
    return requests.map((request, at) => answersOf(request, answer.results[at] as Result));
  }

  async #cursor(request: Request): Promise<Answer[]> {
    const { batch } = requestJson({ ...request, type: "batch" }) as { batch: unknown };
    const { text, failure } = await this.#post("/v3/cursor", { batch });
    if (failure !== undefined) return request.steps.map(() => failure);
    const [head, ...entries] = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    this.#baton = (head as { baton: string | null }).baton ?? undefined;
    return cursorAnswers(request.steps.length, entries as Entry[]);
  }

  async #post(path: string, body: object): Promise<{ text: string; failure?: Answer }> {
    const response = await this.#pool.request({
      path,
      method: "POST",
      body: JSON.stringify({ baton: this.#baton, ...body }),
      headers: { "content-type": "application/json" },
      signal: AbortSignal.timeout(answerTimeoutMs),
    });
    const text = await response.body.text();
    const position = response.headers["paceline-position"];
    if (typeof position === "string") this.position = position;
    if (response.statusCode === 200) return { text };
    this.#baton = undefined;
    const { code = String(response.statusCode), message = text } = JSON.parse(text) as Failure;
    return { text, failure: { type: "error", code, message } };
  }
}

function requestJson(request: Request): unknown {
  const { type, steps } = request;
  const [first] = steps;
  switch (type) {
    case "execute":
      return { type, stmt: statementJson(first!.statement) };
    case "cursor":
    case "batch": {
      const made = steps.map(({ statement, condition }) => {
        const stmt = statementJson(statement);
        return condition === undefined ? { stmt } : { stmt, condition };
      });
      return { type, batch: { steps: made } };
    }
    case "sequence":
      return { type, sql: scriptOf(request) };
    case "describe":
      return { type, sql: first!.statement.sql };
    case "get_autocommit":
      return { type };
  }
}

function statementJson({ sql, args, byName }: Statement): unknown {
  if (args.length === 0) return { sql };
  if (!byName) return { sql, args: args.map(({ value }) => valueJson(value)) };
  // With prefix or without it: both mean the same.
  const nameOf = ({ name = "" }: Argument, at: number) => (at % 2 === 0 ? name : name.slice(1));
  return {
    sql,
    named_args: args.map((arg, at) => ({ name: nameOf(arg, at), value: valueJson(arg.value) })),
  };
}

/** Text that stands in the JSON as it is. The compiler does not know it yet. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON(text: string): number };

function valueJson(value: SqlValue): Value {
  if (value === null) return { type: "null" };
  if (typeof value === "bigint") return { type: "integer", value: String(value) };
  if (typeof value === "string") return { type: "text", value };
  if (typeof value === "number") {
    // JSON.stringify would lose the sign of zero.
    if (Object.is(value, -0)) return { type: "float", value: rawJson("-0.0") };
    return { type: "float", value };
  }
  return { type: "blob", base64: Buffer.from(value).toString("base64") };
}

function answersOf(request: Request, { error, response }: Result): Answer[] {
  if (error !== undefined) {
    const answer = errorOf(error);
    if (request.type !== "batch") return [answer];
    return request.steps.map(() => answer);
  }
  const result = response?.result;
  switch (request.type) {
    case "execute":
      return [rowsOf(result!)];
    case "cursor":
    case "batch":
      return request.steps.map((_, at) => {
        const failure = result?.step_errors?.[at];
        const rows = result?.step_results?.[at];
        if (failure != null) return errorOf(failure);
        return rows == null ? { type: "skipped" } : rowsOf(rows);
      });
    case "sequence":
      return [{ type: "done" }];
    case "describe":
      return [{ type: "describe", cols: columnsOf(result!) }];
    case "get_autocommit":
      return [{ type: "autocommit", is: response?.is_autocommit === true }];
  }
}

type Entry =
  | { type: "step_begin"; step: number; cols: StatementResult["cols"] }
  | { type: "row"; row: Value[] }
  | { type: "step_end"; affected_row_count: number; last_insert_rowid: string | null }
  | { type: "step_error"; step: number; error: Failure }
  | { type: "error"; error: Failure };

function cursorAnswers(count: number, entries: readonly Entry[]): Answer[] {
  const answers: Answer[] = Array.from({ length: count }, () => ({ type: "skipped" }));
  let step = 0;
  let result: StatementResult | undefined;
  for (const entry of entries) {
    if (entry.type === "step_begin") {
      step = entry.step;
      result = { cols: entry.cols, rows: [], affected_row_count: 0, last_insert_rowid: null };
    } else if (entry.type === "row") result?.rows.push(entry.row);
    else if (entry.type === "step_end") answers[step] = rowsOf({ ...result!, ...entry });
    else if (entry.type === "step_error") answers[entry.step] = errorOf(entry.error);
    else if (entry.type === "error") answers.fill(errorOf(entry.error));
  }
  return answers;
}

function errorOf({ code, message, extended_code: extended }: Failure): Answer {
  return { type: "error", code, message, extended };
}

function rowsOf(result: StatementResult): Answer {
  return {
    type: "rows",
    cols: columnsOf(result),
    rows: result.rows.map((row) => row.map(valueText).join("|")),
    affected: result.affected_row_count,
    rowid: result.last_insert_rowid ?? undefined,
  };
}

function columnsOf({ cols }: StatementResult): string[] {
  return cols.map(({ name, decltype }) => `${name}:${decltype}`);
}

function valueText({ type, value, base64 = "" }: Value): string {
  if (type === "null") return "NULL";
  if (type === "integer") return String(value);
  if (type === "float") return floatText(value as number);
  if (type === "text") return JSON.stringify(value);
  return `x'${Buffer.from(base64, "base64").toString("hex")}'`;
}
