/**
 * A careful client of one node: Hrana over HTTP, with every outcome sorted as docs/guarantees.md tells clients to.
 *
 *   ok       done
 *   failed   the node said so, or no connection was made: surely not done, now or later
 *   unknown  UNKNOWN_OUTCOME, or no answer: may have happened or may still happen
 */

import { Pool } from "undici";
import { errorCodes } from "../../src/base/errors.ts";

export type Value = string | number | null;
export type Row = readonly Value[];

export type Statement = { readonly sql: string; readonly args?: readonly Value[] };

export type Ask = {
  readonly statements: readonly Statement[];
  /** In one batch, each only if the one before it was done. */
  readonly batch?: boolean;
  /** Of an open stream; "open" opens one and keeps it. */
  readonly stream?: string | "open" | undefined;
  readonly close?: boolean;
  readonly consistency?: string;
  readonly minPosition?: string | undefined;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
};

export type Outcome =
  | {
      readonly type: "ok";
      /** Rows of each statement. */
      readonly rows: readonly (readonly Row[])[];
      readonly position: string | undefined;
      readonly stream: string | undefined;
      /** Of the client that asked. */
      readonly node?: string | undefined;
    }
  | {
      readonly type: "failed" | "unknown";
      readonly code: string;
      readonly message: string;
      /** By the node; else the connection failed. */
      readonly answered: boolean;
      readonly stream?: string | undefined;
      readonly node?: string | undefined;
    };

/**
 * A lie of the harness, to see that the checks can fail:
 *   stale-reads  linearizable reads are asked for as stale ones, as if nodes did not look whether they still lead
 *   lost-write   the first write through a node, and every hundredth after it, is never sent and counts as acknowledged
 */
export type Plant = "stale-reads" | "lost-write";

export type HranaOptions = {
  readonly name?: string;
  readonly plant?: Plant | undefined;
};

const timeoutMs = 6_000;
const connectMs = 1_000;

export class Hrana {
  readonly #pool: Pool;
  readonly #name: string | undefined;
  readonly #plant: Plant | undefined;
  #asked = 0;

  constructor(url: string, { name, plant }: HranaOptions = {}) {
    this.#name = name;
    this.#plant = plant;
    this.#pool = new Pool(url, { connections: 256, connect: { timeout: connectMs } });
  }

  /** Runs statements in one pipeline. With several, an error of one is the outcome; those before it did happen. */
  async ask(ask: Ask): Promise<Outcome> {
    return { ...(await this.#ask(this.#twist(ask))), node: this.#name };
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  /** What is asked instead, when a lie is planted. */
  #twist(ask: Ask): Ask {
    if (this.#plant === "stale-reads" && ask.consistency === "linearizable") {
      return { ...ask, consistency: "stale" };
    }
    if (this.#plant === "lost-write" && ask.statements[0]?.sql.startsWith("INSERT INTO written")) {
      if (this.#asked++ % 100 === 0) return { ...ask, statements: [{ sql: "SELECT 1" }] };
    }
    return ask;
  }

  async #ask(ask: Ask): Promise<Outcome> {
    const stmts = ask.statements.map(({ sql, args = [] }) => ({
      ...{ sql, args: args.map(encodeValue) },
    }));
    const requests: unknown[] = ask.batch
      ? [batchOf(stmts)]
      : stmts.map((stmt) => ({ type: "execute", stmt }));
    if (ask.stream === undefined || ask.close) requests.push({ type: "close" });
    const baton = ask.stream === undefined || ask.stream === "open" ? undefined : ask.stream;
    const deadline = AbortSignal.timeout(ask.timeoutMs ?? timeoutMs);
    try {
      const response = await this.#pool.request({
        path: "/v2/pipeline",
        method: "POST",
        body: JSON.stringify({ baton, requests }),
        headers: {
          "content-type": "application/json",
          ...(ask.consistency === undefined ? {} : { "paceline-consistency": ask.consistency }),
          ...(ask.minPosition === undefined ? {} : { "paceline-min-position": ask.minPosition }),
        },
        signal: ask.signal === undefined ? deadline : AbortSignal.any([deadline, ask.signal]),
      });
      const text = await response.body.text();
      return sort(text, response.statusCode, response.headers["paceline-position"]);
    } catch (error) {
      return broken(error);
    }
  }
}

function batchOf(stmts: readonly unknown[]): unknown {
  const steps = stmts.map((stmt, i) =>
    i === 0 ? { stmt } : { stmt, condition: { type: "ok", step: i - 1 } },
  );
  return { type: "batch", batch: { steps } };
}

type WireValue = { readonly type: string; readonly value?: string | number; base64?: string };
type WireRows = { readonly rows?: readonly (readonly WireValue[])[] };
type WireError = { readonly code?: string; readonly message: string };
type WireBatch = {
  readonly step_results?: readonly (WireRows | null)[];
  readonly step_errors?: readonly (WireError | null)[];
};
type WireResult = {
  readonly type: "ok" | "error";
  readonly response?: { readonly result?: WireRows & WireBatch };
  readonly error?: WireError;
};

function sort(text: string, status: number, header: string | string[] | undefined): Outcome {
  const body = JSON.parse(text) as {
    baton?: string | null;
    results?: readonly WireResult[];
    code?: string;
    message?: string;
  };
  const stream = body.baton ?? undefined;
  if (body.results === undefined) {
    return { ...refusal(body.code ?? `HTTP_${status}`, body.message ?? text), stream };
  }
  const error = body.results.map(errorOf).find((found) => found !== undefined);
  if (error !== undefined) return { ...refusal(error.code ?? "", error.message), stream };
  const rows = body.results.flatMap(({ response }) => {
    const steps = response?.result?.step_results ?? [response?.result];
    return steps.map((step) => (step?.rows ?? []).map(decodeRow));
  });
  return { type: "ok", rows, position: typeof header === "string" ? header : undefined, stream };
}

function errorOf({ error, response }: WireResult): WireError | undefined {
  return error ?? response?.result?.step_errors?.find((found) => found !== null) ?? undefined;
}

function refusal(code: string, message: string): Outcome & { type: "failed" | "unknown" } {
  const known = (errorCodes as Record<string, { retry: string }>)[code];
  // By the table of errors, everything but ask-first tells that nothing was done. SQLite's codes do as well.
  const surely = known === undefined ? code.startsWith("SQLITE_") : known.retry !== "ask-first";
  return { type: surely ? "failed" : "unknown", code, message, answered: true };
}

function broken(error: unknown): Outcome {
  const { code, name, message } = error as { code?: unknown; name: string; message: string };
  const neverSent = code === "ECONNREFUSED" || code === "UND_ERR_CONNECT_TIMEOUT";
  const type = neverSent ? "failed" : "unknown";
  // An aborted request has a number for a code.
  return {
    type,
    code: typeof code === "string" && code !== "" ? code : name,
    message,
    answered: false,
  };
}

function encodeValue(value: Value): unknown {
  if (value === null) return { type: "null" };
  if (typeof value === "string") return { type: "text", value };
  return { type: "integer", value: String(value) };
}

function decodeRow(row: readonly WireValue[]): Row {
  return row.map(({ type, value }) =>
    type === "null" ? null : type === "integer" ? Number(value) : (value ?? null),
  );
}
