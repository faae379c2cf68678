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
    }
  | {
      readonly type: "failed" | "unknown";
      readonly code: string;
      readonly message: string;
      readonly stream?: string | undefined;
    };

const timeoutMs = 6_000;
const connectMs = 1_000;

export class Hrana {
  readonly #pool: Pool;

  constructor(url: string) {
    this.#pool = new Pool(url, { connections: 256, connect: { timeout: connectMs } });
  }

  /** Runs statements in one pipeline. With several, an error of one is the outcome; those before it did happen. */
  async ask(ask: Ask): Promise<Outcome> {
    const requests: unknown[] = ask.statements.map(({ sql, args = [] }) => ({
      type: "execute",
      stmt: { sql, args: args.map(encodeValue) },
    }));
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

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

type WireValue = { readonly type: string; readonly value?: string | number; base64?: string };
type WireResult = {
  readonly type: "ok" | "error";
  readonly response?: { readonly result?: { readonly rows?: readonly (readonly WireValue[])[] } };
  readonly error?: { readonly code?: string; readonly message: string };
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
  const error = body.results.find((result) => result.type === "error")?.error;
  if (error !== undefined) return { ...refusal(error.code ?? "", error.message), stream };
  const rows = body.results.map((r) => (r.response?.result?.rows ?? []).map(decodeRow));
  return { type: "ok", rows, position: typeof header === "string" ? header : undefined, stream };
}

function refusal(code: string, message: string): Outcome & { type: "failed" | "unknown" } {
  const known = (errorCodes as Record<string, { retry: string }>)[code];
  // By the table of errors, everything but ask-first tells that nothing was done. SQLite's codes do as well.
  const surely = known === undefined ? code.startsWith("SQLITE_") : known.retry !== "ask-first";
  return { type: surely ? "failed" : "unknown", code, message };
}

function broken(error: unknown): Outcome {
  const { code = "", name, message } = error as { code?: string; name: string; message: string };
  const neverSent = code === "ECONNREFUSED" || code === "UND_ERR_CONNECT_TIMEOUT";
  return { type: neverSent ? "failed" : "unknown", code: code || name, message };
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
