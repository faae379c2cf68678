/**
 * SQL over HTTP: Hrana 3 as JSON, `POST /v3/pipeline`.
 *
 * A failure anywhere on the way, whether the request was refused, a statement failed or one step of a batch did, is
 * one exception: Refused with the code. Unreachable and Broken (remote.ts) are the connection's own.
 *
 * Not here: repeating anything. Whoever asks knows whether that is safe (import/patient.ts).
 */

import type { Value } from "../../db/sql/request.ts";
import { Failure } from "../terminal.ts";
import { Refused, type Remote, refusedFrom } from "./remote.ts";

export type WireStmt = {
  readonly sql: string;
  readonly args?: readonly Value[];
  readonly want_rows?: boolean;
};

export type WireResult = {
  readonly cols: readonly { readonly name: string | null; readonly decltype?: string | null }[];
  readonly rows: readonly (readonly Value[])[];
  readonly affected_row_count: number;
  readonly last_insert_rowid: string | null;
};

type Cond = { readonly type: string; readonly step?: number; readonly cond?: Cond };
type StreamRequest =
  | { readonly type: "execute"; readonly stmt: WireStmt }
  | { readonly type: "batch"; readonly batch: { readonly steps: readonly unknown[] } }
  | { readonly type: "get_autocommit" | "close" };
type Outcome = { readonly result?: unknown; readonly is_autocommit?: boolean };

export type HranaOptions = {
  /** Header `paceline-consistency`; undefined leaves the node's default. */
  readonly consistency?: string | undefined;
  /** Header `paceline-ack`; undefined asks for what the commit rule gives. */
  readonly ack?: string | undefined;
  /** A setting of the connection that is made before each `transaction`. */
  readonly before?: string | undefined;
  readonly timeoutMs?: number;
};

export class Hrana {
  readonly remote: Remote;
  readonly #options: HranaOptions;
  /** Handle of the open stream; undefined when none is open. */
  #baton: string | undefined;
  /** Position of the last answer that told one, as `lsn@term`. */
  position: string | undefined;

  constructor(remote: Remote, options: HranaOptions = {}) {
    this.remote = remote;
    this.#options = options;
  }

  /** A transaction is open, so the next statement belongs to it. */
  get inTransaction(): boolean {
    return this.#baton !== undefined;
  }

  /** One statement. With `keep`, a transaction that it leaves open goes on with the next call. */
  async execute(stmt: WireStmt, keep = false): Promise<WireResult> {
    const stream = keep || this.inTransaction;
    const [executed, mode] = await this.#pipeline([
      { type: "execute", stmt },
      { type: stream ? "get_autocommit" : "close" },
    ]);
    if (stream && outcomeOf(mode).is_autocommit === true) this.#close();
    return outcomeOf(executed).result as WireResult;
  }

  /**
   * All or nothing: BEGIN IMMEDIATE, the statements, COMMIT. Throws what the first failed statement said, with
   * its number in `statement` of the error.
   */
  async transaction(stmts: readonly WireStmt[]): Promise<readonly WireResult[]> {
    const last = stmts.length;
    const quiet = (sql: string): WireStmt => ({ sql, want_rows: false });
    const ok = (step: number): Cond => ({ type: "ok", step });
    const steps = [
      { stmt: quiet("BEGIN IMMEDIATE") },
      ...stmts.map((stmt, i) => ({ stmt: { ...stmt, want_rows: false }, condition: ok(i) })),
      { stmt: quiet("COMMIT"), condition: ok(last) },
      { stmt: quiet("ROLLBACK"), condition: { type: "not", cond: ok(last + 1) } },
    ];
    const { before } = this.#options;
    const set: StreamRequest[] =
      before === undefined ? [] : [{ type: "execute", stmt: quiet(before) }];
    const answers = await this.#pipeline([
      ...set,
      { type: "batch", batch: { steps } },
      { type: "close" },
    ]);
    const result = outcomeOf(answers[set.length]).result as {
      step_results: readonly (WireResult | null)[];
      step_errors: readonly ({ code?: string; message: string } | null)[];
    };
    // The ROLLBACK at the end runs, and fails, also when BEGIN already failed; it has nothing to tell.
    const errors = result.step_errors.slice(0, last + 2);
    const step = errors.findIndex((error) => error !== null);
    const failed = errors[step];
    if (failed !== null && failed !== undefined) {
      throw new Refused(failed.code ?? "", failed.message, undefined, step - 1);
    }
    if (result.step_results[last + 1] === null) throw new Failure("the transaction did not commit");
    return result.step_results.slice(1, last + 1) as WireResult[];
  }

  /** Rolls back what is open. Never fails: a stream that is gone has been rolled back. */
  async rollback(): Promise<void> {
    if (this.inTransaction) await this.#pipeline([{ type: "close" }]).catch(() => undefined);
    this.#baton = undefined;
  }

  #close(): void {
    const baton = this.#baton;
    this.#baton = undefined;
    const body = JSON.stringify({ baton, requests: [{ type: "close" }] });
    // Nobody waits for it: the stream holds nothing any more, and would end by itself after a while.
    this.remote
      .send("POST", "/v3/pipeline", { body, headers: {}, timeoutMs: 5_000 })
      .catch(() => undefined);
  }

  async #pipeline(requests: readonly StreamRequest[]): Promise<readonly unknown[]> {
    const { consistency, ack, timeoutMs = 60_000 } = this.#options;
    const baton = this.#baton;
    this.#baton = undefined;
    const answer = await this.remote.send("POST", "/v3/pipeline", {
      body: JSON.stringify(baton === undefined ? { requests } : { baton, requests }),
      headers: {
        ...(consistency === undefined ? {} : { "paceline-consistency": consistency }),
        ...(ack === undefined ? {} : { "paceline-ack": ack }),
      },
      timeoutMs,
    });
    if (answer.status !== 200) throw refusedFrom(`${this.remote.url}/v3/pipeline`, answer);
    const body = answer.body as { baton?: string | null; results?: readonly unknown[] };
    if (!Array.isArray(body?.results) || body.results.length !== requests.length) {
      throw new Failure(`${this.remote.url} does not speak Hrana 3`, "check the URL");
    }
    this.#baton = body.baton ?? undefined;
    const position = answer.headers["paceline-position"];
    if (typeof position === "string") this.position = position;
    return body.results;
  }
}

/** The response inside a StreamResult. Throws Refused when it is an error. */
function outcomeOf(result: unknown): Outcome {
  const { type, response, error } = result as {
    type: string;
    response?: Outcome;
    error?: { code?: string; message?: string };
  };
  if (type === "ok" && response !== undefined) return response;
  throw new Refused(error?.code ?? "", error?.message ?? "the node gave no reason", undefined);
}
